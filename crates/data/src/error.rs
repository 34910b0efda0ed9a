//! What can be wrong with data.

use std::path::PathBuf;

use temper_files::tame;

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
    #[error("{}: {}{}", file.display(), tame(what), at.map_or_else(String::new, |at| format!(" (at byte {at})")))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Offset of the fault in the (unpacked) file.
        at: Option<u64>,
        /// The fault, and what was expected.
        what: String,
    },
    /// A line of a file that is not what it should be.
    #[error("{}:{line}: {}", file.display(), tame(what))]
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
    /// A file that cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
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

impl From<temper_files::Error> for Error {
    fn from(error: temper_files::Error) -> Self {
        use temper_files::Error as Of;
        match error {
            Of::Io { file, source } => Self::Io { file, source },
            Of::Write { file, source } => Self::Write { file, source },
            Of::Malformed { file, at, what } => Self::Malformed { file, at, what },
            Of::Line { file, line, what } => Self::Line { file, line, what },
        }
    }
}
