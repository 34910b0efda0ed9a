//! What can be wrong with a network.

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with a network or with the tensors given to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer that cannot be placed where the model wants it.
    #[error("layer `{layer}` does not fit its input of {input} (channels x height x width): {why}")]
    Fit {
        /// Name of the layer.
        layer: String,
        /// Its input, as `c x h x w`.
        input: String,
        /// What does not fit.
        why: String,
    },
    /// Weights that are not those of the network.
    #[error("weights do not belong to this network:{0}")]
    Weights(String),
    /// Pixels of another shape than the network takes.
    #[error("the network takes pixels of shape [n, {}, {}, {}] with n at least 1, got {got:?}", expected[0], expected[1], expected[2])]
    Pixels {
        /// Channels, height, width that the network takes.
        expected: [usize; 3],
        /// Shape that was given.
        got: Vec<usize>,
    },
    /// Logits of another shape than the network has.
    #[error("the function around the network returned logits of shape {got:?}, not {expected:?}")]
    Logits {
        /// Samples, classes.
        expected: [usize; 2],
        /// Shape that was returned.
        got: Vec<usize>,
    },
    /// An error of candle.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// `c x h x w`, for messages.
pub(crate) fn dims([c, h, w]: [usize; 3]) -> String {
    format!("{c} x {h} x {w}")
}
