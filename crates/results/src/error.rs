//! What can be wrong with the files of a run.

use std::path::PathBuf;

/// What can be wrong with a file of a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] temper_files::Error),
    /// It is not what it should be.
    #[error(
        "{}:{}:{}: {}\n  it is damaged, or another version of temper wrote it",
        file.display(),
        fault.line(),
        fault.column(),
        short(fault)
    )]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The fault. It is no `source`, whose text would stand twice in a chain of causes.
        fault: serde_json::Error,
    },
    /// A line of it is not what it should be.
    #[error("{}, line {line}: {}", file.display(), short(fault))]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault.
        fault: serde_json::Error,
    },
    /// It does not hold what it should.
    #[error("{}: {what}", file.display())]
    Unfit {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// What serde says, without the place. It may repeat what stands in a file.
fn short(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    whole.strip_suffix(&*place).unwrap_or(&whole).chars().take(500).collect()
}

/// What can be wrong with a file of records.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// It cannot be read or written.
    #[error("cannot {what} {}: {source}", file.display())]
    Io {
        /// Read or write.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Lines that cannot be of an evaluation's images and attacks.
    #[error("{}: the records of the evaluation `{evaluation}` {what}\n  remove the file to judge anew", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// The evaluation.
        evaluation: String,
        /// The fault.
        what: String,
    },
    /// A line that does not hold records.
    #[error(
        "{}:{line}: {what}\n  it is damaged, or another version of temper wrote it: remove the file to judge anew",
        file.display()
    )]
    Malformed {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// The fault.
        what: String,
    },
}
