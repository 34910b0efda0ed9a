//! Errors of reading and writing files.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of reading or writing a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The content of the file is invalid.
    #[error("{}: {}{}", file.display(), tame(what), at.map_or_else(String::new, |at| format!(" (at byte {at})")))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Offset of the fault in bytes.
        at: Option<u64>,
        /// The fault, and what was expected.
        what: String,
    },
    /// A line of the file is invalid.
    #[error("{}:{line}: {}", file.display(), tame(what))]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault, and what was expected.
        what: String,
    },
}

/// Maximum length of a message in characters; people read no further.
const LONG: usize = 2000;

/// Shortens a message about a file and replaces its control characters: the message may quote the file, and a
/// terminal would obey them.
pub fn tame(what: &str) -> String {
    let tame = |letter: char| match letter {
        '\n' | '\t' => letter,
        _ if letter.is_control() => '\u{fffd}',
        _ => letter,
    };
    let mut short: String = what.chars().take(LONG).map(tame).collect();
    if what.len() > LONG && what.chars().nth(LONG).is_some() {
        short.push_str(" ...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_neither_floods_a_terminal_nor_rules_it() {
        let said = |what: String| Error::Line { file: "f".into(), line: 3, what }.to_string();
        assert_eq!(said("`a\u{1b}[2J\u{7f}`\n  known: ä".into()), "f:3: `a\u{fffd}[2J\u{fffd}`\n  known: ä");
        assert_eq!(said("ä".repeat(LONG)).chars().count(), 5 + LONG);
        let long = said("ä".repeat(1 << 20));
        assert!(long.ends_with("ää ...") && long.chars().count() == 5 + LONG + 4, "{}", long.len());
    }
}
