//! Models.

use std::fmt::Debug;

use temper_nn::Network;

use crate::Result;

/// A network architecture that pipelines choose by name.
pub trait Model: Debug + Send + Sync {
    /// The layer graph for pixels of shape `input` (channels, height, width) and this many classes. An error says which
    /// layer does not fit the images.
    fn build(&self, input: [usize; 3], classes: usize) -> Result<Network>;
}
