//! The network that attacks call: evaluation mode, batch norm on its running statistics, weights packed once.

use std::sync::Arc;

use candle_core::Tensor;

use crate::backend::Snapshot;
use crate::classifier::Classifier;
use crate::error::Result;
use crate::graph::Network;

/// A snapshot of a classifier in evaluation mode, differentiable with respect to the pixels alone. Clones
/// share it.
#[derive(Debug, Clone)]
pub struct Frozen {
    network: Network,
    snapshot: Arc<dyn Snapshot>,
}

impl Frozen {
    /// Packs the weights that `classifier` has now. Later changes of it do not reach the snapshot.
    pub fn new(classifier: &Classifier) -> Result<Self> {
        let snapshot = classifier.backend().freeze(classifier)?;
        Ok(Self { network: classifier.network().clone(), snapshot })
    }

    /// The graph.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]`. Pixels of another shape, and none at all, are an
    /// error.
    pub fn logits(&self, pixels: &Tensor) -> Result<Tensor> {
        Classifier::check(&self.network, pixels)?;
        self.snapshot.logits(&pixels.contiguous()?)
    }
}
