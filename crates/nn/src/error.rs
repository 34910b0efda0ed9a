//! The errors of this crate.

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in a network or in the tensors given to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer does not fit its input.
    #[error("layer `{layer}` does not fit its input of {input} (channels x height x width): {why}")]
    Fit {
        /// Name of the layer.
        layer: String,
        /// Its input, as `c x h x w`.
        input: String,
        /// Why it does not fit.
        why: String,
    },
    /// The weights do not match the parameters of the network.
    #[error("weights do not belong to this network:{0}")]
    Weights(String),
    /// The pixels do not have the input shape of the network.
    #[error("the network takes pixels of shape [n, {}, {}, {}] with n at least 1, got {got:?}", expected[0], expected[1], expected[2])]
    Pixels {
        /// Channels, height, width of the network's input.
        expected: [usize; 3],
        /// Shape that was given.
        got: Vec<usize>,
    },
    /// A function around the network returned logits of the wrong shape.
    #[error("the function around the network returned logits of shape {got:?}, not {expected:?}")]
    Logits {
        /// Samples, classes.
        expected: [usize; 2],
        /// Shape that was returned.
        got: Vec<usize>,
    },
    /// An error from candle.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// `c x h x w`, for messages.
pub(crate) fn dims([c, h, w]: [usize; 3]) -> String {
    format!("{c} x {h} x {w}")
}
