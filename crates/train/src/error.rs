//! Errors of training.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of training.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The loss is no longer a number.
    #[error(
        "the loss became {loss} in epoch {epoch}, batch {batch} of {batches} (samples {ids}); training stops, and the weights of that step are not kept\n  a smaller learning rate is the usual cure (it was {rate})"
    )]
    Diverged {
        /// The loss.
        loss: f64,
        /// Epoch, from 1.
        epoch: usize,
        /// Batch, from 1.
        batch: usize,
        /// Number of batches of an epoch.
        batches: usize,
        /// The batch's first samples.
        ids: String,
        /// Learning rate.
        rate: f64,
    },
    /// An error in the middle of an epoch.
    #[error("epoch {epoch}, batch {batch} of {batches}: {error}")]
    Step {
        /// Epoch, from 1.
        epoch: usize,
        /// Batch, from 1.
        batch: usize,
        /// Number of batches of an epoch.
        batches: usize,
        /// The error.
        error: Box<Error>,
    },
    /// Weights that are no longer numbers although the loss still was.
    #[error(
        "weight `{weight}` is not finite after epoch {epoch}; training stops, and that epoch is not kept\n  a smaller learning rate is the usual cure (it was {rate})"
    )]
    NotFinite {
        /// The weight.
        weight: String,
        /// Epoch, from 1.
        epoch: usize,
        /// Learning rate.
        rate: f64,
    },
    /// An epoch in which no image could be decoded.
    #[error("none of the {n} images of epoch {epoch} can be decoded; the first: {first}")]
    NothingLeft {
        /// Epoch, from 1.
        epoch: usize,
        /// The number of images of the epoch.
        n: usize,
        /// The error of one of them.
        first: String,
    },
    /// An epsilon policy that returned an invalid result.
    #[error("epsilon policy `{policy}` returned {what}")]
    Policy {
        /// The policy.
        policy: String,
        /// What was wrong.
        what: String,
    },
    /// A file of a run that cannot be used.
    #[error("{}: {what}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Neither checkpoint can be used.
    #[error("{newer}\n  and the one before it: {older}\n  start anew with --force or --out DIR")]
    NoCheckpoint {
        /// What is wrong with the newest.
        newer: Box<Error>,
        /// What is wrong with the one before.
        older: Box<Error>,
    },
    /// A file of a run that cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file of a run that cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// An error of a plugin, a network or data.
    #[error(transparent)]
    Core(#[from] temper_core::Error),
    /// Data that cannot be read.
    #[error(transparent)]
    Data(#[from] temper_data::Error),
    /// A network that cannot be run.
    #[error(transparent)]
    Network(#[from] temper_core::nn::Error),
    /// An error of candle.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl From<temper_weights::Error> for Error {
    fn from(error: temper_weights::Error) -> Self {
        use temper_weights::Error as Of;
        match error {
            Of::Io { file, source } => Self::Read { file, source },
            Of::Malformed { file, fault } => Self::File { file, what: fault.to_string() },
        }
    }
}

impl From<temper_files::Error> for Error {
    fn from(error: temper_files::Error) -> Self {
        use temper_files::Error as Of;
        match error {
            Of::Io { file, source } => Self::Read { file, source },
            Of::Write { file, source } => Self::Write { file, source },
            Of::Malformed { file, what, .. } | Of::Line { file, what, .. } => Self::File { file, what },
        }
    }
}
