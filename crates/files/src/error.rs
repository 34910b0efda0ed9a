//! What can be wrong with files.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {}{}", file.display(), tame(what), at.map_or_else(String::new, |at| format!(" (at byte {at})")))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Offset of the fault in bytes.
        at: Option<u64>,
        /// The fault, and what was expected.
        what: String,
    },
    /// A line of it is not what it should be.
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

/// Letters of a message beyond which nobody reads on.
const LONG: usize = 2000;

/// A message about a file, which may repeat what stands there: short, and without characters that a terminal would
/// obey.
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
