//! What can be wrong with data.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with data.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set is not on this machine.
    #[error("no {what} found\n  looked in: {}\n  {how}", looked.join("\n             "))]
    Missing {
        /// What was looked for.
        what: String,
        /// Where, in order.
        looked: Vec<String>,
        /// How to get it.
        how: String,
    },
    /// A file that is not what it should be.
    #[error("{}: {}{}", file.display(), shown(what), at.map_or_else(String::new, |at| format!(" (at byte {at})")))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Offset of the fault in the (unpacked) file.
        at: Option<u64>,
        /// The fault, and what was expected.
        what: String,
    },
    /// A line of a file that is not what it should be.
    #[error("{}:{line}: {}", file.display(), shown(what))]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault, and what was expected.
        what: String,
    },
    /// An image that cannot be decoded.
    #[error("{}: {what}\n  replace or remove the file, or set the data set's `skip_unreadable = true`, which leaves such images out and lists them", file.display())]
    Unreadable {
        /// The image.
        file: PathBuf,
        /// Why it cannot.
        what: String,
    },
    /// An image that cannot be decoded, of a source that leaves such images out.
    #[error("{}: {what}", file.display())]
    Skipped {
        /// The image.
        file: PathBuf,
        /// Why it cannot.
        what: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Images of different shapes in one batch.
    #[error("image {index} is {} x {} x {} (channels x height x width), the first one is {} x {} x {}", got[0], got[1], got[2], expected[0], expected[1], expected[2])]
    Shape {
        /// The odd image.
        index: usize,
        /// Its channels, height, width.
        got: [usize; 3],
        /// Those of the first image.
        expected: [usize; 3],
    },
    /// A label that no class has.
    #[error("image {index} has label {label}, but there are {classes} classes")]
    Label {
        /// The image.
        index: usize,
        /// Its label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
}

/// Letters of a message beyond which nobody reads on.
const LONG: usize = 2000;

/// A message about a file, which may repeat what stands there: short, and without characters that a terminal would
/// obey.
fn shown(what: &str) -> String {
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
