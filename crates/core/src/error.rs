//! What can go wrong between plugins and the pipeline.

/// Result of plugins.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between plugins and the pipeline.
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
    /// An attack that broke the rules; its result is not used.
    #[error("attack `{attack}` returned {what}; its result is not used")]
    Faulty {
        /// The attack.
        attack: String,
        /// What was wrong with it.
        what: String,
    },
    /// A plugin that refuses its parameters or its input.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// A plugin's own message: lower case, no full stop, what is wrong and what was expected.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }
}
