//! Names from files and options, as messages show them.

/// A name whose control characters are escaped: a name of a folder or a class may hold what a terminal obeys.
pub fn escaped(name: &str) -> String {
    let letter = |letter: char| match letter.is_control() {
        true => letter.escape_debug().to_string(),
        false => letter.to_string(),
    };
    name.chars().map(letter).collect()
}

/// The same in back ticks.
pub fn shown(name: &str) -> String {
    format!("`{}`", escaped(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_other_letters_are_not() {
        assert_eq!(shown("Straße 🐈 'x'"), "`Straße 🐈 'x'`");
        assert_eq!(shown("a\u{1b}[31m\nb"), "`a\\u{1b}[31m\\nb`");
    }
}
