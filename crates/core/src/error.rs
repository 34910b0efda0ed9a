//! Errors of plugins and of the code that calls them.

/// Result of plugins.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a plugin or of the code that calls it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Data that cannot be read.
    #[error(transparent)]
    Data(#[from] temper_data::Error),
    /// A network that cannot be built or run.
    #[error(transparent)]
    Network(#[from] temper_nn::Error),
    /// An error of candle.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// An attack whose result is invalid and not used.
    #[error("attack `{attack}` returned {what}; its result is not used")]
    Faulty {
        /// The attack.
        attack: String,
        /// What is wrong with its result.
        what: String,
    },
    /// An attack that requested more access to a victim than it declares to need.
    #[error("this victim gives {granted}, not {asked}")]
    Denied {
        /// The requested access.
        asked: crate::Access,
        /// The access that the victim grants.
        granted: crate::Access,
    },
    /// The work was cancelled between two passes.
    #[error("cancelled")]
    Cancelled,
    /// A plugin that refuses its parameters or its input.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// A plugin's own message: lower case, no full stop; states what is wrong and what was expected.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }
}
