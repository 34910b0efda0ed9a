//! Escaping of names from files and options in messages.

/// Whether a character is a control character, invisible, or changes the direction of text. No name should
/// contain it.
pub fn is_odd(letter: char) -> bool {
    let unseen = matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    letter.is_control() || unseen
}

/// A name with such characters escaped, because a terminal would interpret them.
pub fn escaped(name: &str) -> String {
    let letter = |letter: char| match is_odd(letter) {
        true => letter.escape_unicode().to_string(),
        false => letter.to_string(),
    };
    name.chars().map(letter).collect()
}

/// The same in backticks.
pub fn shown(name: &str) -> String {
    format!("`{}`", escaped(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_letters_are_escaped_and_others_are_not() {
        assert_eq!(shown("Straße 🐈 'x'"), "`Straße 🐈 'x'`");
        assert_eq!(shown("a\u{1b}[31m\nb\u{202e}"), "`a\\u{1b}[31m\\u{a}b\\u{202e}`");
    }
}
