//! Models.

use std::fmt::Debug;
use std::path::Path;

use temper_nn::Network;

use crate::Result;

/// A network architecture that pipelines choose by name.
pub trait Model: Debug + Send + Sync {
    /// The layer graph for images of shape `input` (channels, height, width) and `classes` classes. The error
    /// names the layer that does not fit the images.
    fn build(&self, input: [usize; 3], classes: usize) -> Result<Network>;

    /// The file with the network's initial weights, if the model names one; `None` if they are random.
    fn weights(&self) -> Option<&Path> {
        None
    }
}
