//! Names from files and options, as messages show them.

/// Whether a letter is a control character, or shows as nothing or out of its place: what no name should hold.
pub fn is_odd(letter: char) -> bool {
    let unseen = matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    letter.is_control() || unseen
}

/// A name whose odd letters are escaped: a name of a folder or a class may hold what a terminal obeys.
pub fn escaped(name: &str) -> String {
    let letter = |letter: char| match is_odd(letter) {
        true => letter.escape_unicode().to_string(),
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
    fn odd_letters_are_escaped_and_others_are_not() {
        assert_eq!(shown("Straße 🐈 'x'"), "`Straße 🐈 'x'`");
        assert_eq!(shown("a\u{1b}[31m\nb\u{202e}"), "`a\\u{1b}[31m\\u{a}b\\u{202e}`");
    }
}
