//! Errors of writing event files.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of writing an event file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file, or its folder, cannot be written.
    #[error(
        "cannot write events to {}: {source}\n  make the folder writable, or free space on its disk",
        file.display()
    )]
    Write {
        /// The file or folder.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// An event file that temper wrote earlier cannot be removed.
    #[error(
        "cannot remove the earlier event file {}: {source}\n  close the programs that read it, or remove it by hand",
        file.display()
    )]
    Remove {
        /// The earlier file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A value cannot be written. The file is as it was before.
    #[error("{}: `{tag}`: {what}", file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// The tag of the value.
        tag: String,
        /// The fault, what was expected, and what to do.
        what: String,
    },
}
