//! Errors of reading a file of weights.

use std::path::PathBuf;

use temper_files::tame;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of reading a file of weights.
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
    /// The content of the file is invalid.
    #[error("{}: {fault}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        fault: Box<Fault>,
    },
}

impl From<temper_files::Error> for Error {
    fn from(error: temper_files::Error) -> Self {
        use temper_files::Error as Of;
        match error {
            Of::Io { file, source } | Of::Write { file, source } => Self::Io { file, source },
            Of::Malformed { file, what, .. } | Of::Line { file, what, .. } => {
                Self::Malformed { file, fault: Box::new(Fault::new(what)) }
            }
        }
    }
}

/// A fault of a file: what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{}", tame(what), self.place(), self.help())]
pub struct Fault {
    /// The fault, and what was expected.
    pub what: String,
    /// Offset of the fault in bytes, in the file or in its entry.
    pub at: Option<u64>,
    /// The entry of an archive in which the fault lies.
    pub entry: Option<String>,
    /// What to do.
    pub help: Option<&'static str>,
}

/// A result whose error does not name the file yet.
pub(crate) type Found<T> = std::result::Result<T, Fault>;

impl Fault {
    /// A fault of the file as a whole.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), at: None, entry: None, help: None }
    }

    /// The same, at this byte.
    pub(crate) fn at(self, at: u64) -> Self {
        Self { at: Some(at), ..self }
    }

    /// The same, in this entry of an archive.
    pub(crate) fn within(self, entry: &str) -> Self {
        Self { entry: Some(entry.into()), ..self }
    }

    /// The same, with what to do.
    pub(crate) fn advising(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }

    fn place(&self) -> String {
        match (self.at, &self.entry) {
            (None, None) => String::new(),
            (Some(at), None) => format!(" (at byte {at})"),
            (None, Some(entry)) => format!(" (in its entry `{}`)", tame(entry)),
            (Some(at), Some(entry)) => format!(" (at byte {at} of its entry `{}`)", tame(entry)),
        }
    }

    fn help(&self) -> String {
        self.help.map_or_else(String::new, |help| format!("\n  {help}"))
    }
}
