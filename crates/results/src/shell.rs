//! Commands of temper as text for a shell.

/// `temper` with these arguments, quoted where necessary.
pub fn command(words: &[String]) -> String {
    let words = words.iter().map(|word| quoted(word));
    std::iter::once("temper".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word, quoted if a shell would change it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_would_change_are_quoted() {
        let words = ["run", "a b.toml", "--set", "train.epochs=3", "it's", ""].map(String::from);
        assert_eq!(command(&words), r"temper run 'a b.toml' --set train.epochs=3 'it'\''s' ''");
    }
}
