//! Errors of this crate.

use std::path::PathBuf;

use temper_files::tame;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error about data.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set is not on this machine.
    #[error("no {what} found\n  looked in: {}\n  {how}", looked.join("\n             "))]
    Missing {
        /// The name of the data set.
        what: String,
        /// The folders that were searched, in order.
        looked: Vec<String>,
        /// How to obtain it.
        how: String,
    },
    /// An invalid file.
    #[error("{}: {}{}", file.display(), tame(what), at.map_or_else(String::new, |at| format!(" (at byte {at})")))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Offset of the error in the (unpacked) file.
        at: Option<u64>,
        /// What is wrong, and what was expected.
        what: String,
    },
    /// An invalid line of a file.
    #[error("{}:{line}: {}", file.display(), tame(what))]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        what: String,
    },
    /// An image that cannot be decoded.
    #[error("{}: {what}\n  replace or remove the file, or set the data set's `skip_unreadable = true`, which leaves such images out and lists them", file.display())]
    Unreadable {
        /// The image.
        file: PathBuf,
        /// The reason.
        what: String,
    },
    /// An image that cannot be decoded, of a source that skips such images.
    #[error("{}: {what}", file.display())]
    Skipped {
        /// The image.
        file: PathBuf,
        /// The reason.
        what: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// An image with more or fewer values than its shape requires.
    #[error("image {index} has {got} values, its shape {shape:?} says {}", shape.iter().product::<usize>())]
    Values {
        /// Its index in the whole data set.
        index: usize,
        /// Its number of values.
        got: usize,
        /// Channels, height, width.
        shape: [usize; 3],
    },
    /// Images of different shapes in one batch.
    #[error("image {index} is {} x {} x {} (channels x height x width), the first one is {} x {} x {}", got[0], got[1], got[2], expected[0], expected[1], expected[2])]
    Shape {
        /// The image with the other shape.
        index: usize,
        /// Its channels, height, width.
        got: [usize; 3],
        /// The shape of the first image.
        expected: [usize; 3],
    },
    /// A label that is not a class.
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
