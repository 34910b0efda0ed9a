//! The network that attacks call: evaluation mode, batch norm on its running statistics, weights packed once.

use std::fmt;
use std::sync::Arc;

use candle_core::Tensor;

use crate::backend::Snapshot;
use crate::classifier::Classifier;
use crate::error::{Error, Result};
use crate::graph::Network;

/// A snapshot of a classifier in evaluation mode, differentiable with respect to the pixels alone. Clones share the
/// snapshot.
#[derive(Debug, Clone)]
pub struct Frozen {
    network: Network,
    snapshot: Arc<dyn Snapshot>,
}

impl Frozen {
    /// Packs the current weights of `classifier`. Later changes of the classifier do not affect the snapshot.
    pub fn new(classifier: &Classifier) -> Result<Self> {
        let snapshot = classifier.backend().freeze(classifier)?;
        Ok(Self { network: classifier.network().clone(), snapshot })
    }

    /// Wraps the network in a function: a defence that is not a layer, such as noise, rounding of pixels or a mean
    /// of several passes. `defence` receives the network and pixels `[n, c, h, w]`, and returns logits
    /// `[n, classes]`. It computes with candle's operations, through which gradients reach the pixels.
    #[must_use]
    pub fn inside(&self, defence: impl Fn(&Self, &Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Self {
        let snapshot = Arc::new(Defended { inner: self.clone(), defence });
        Self { network: self.network.clone(), snapshot }
    }

    /// The graph.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]`. Pixels of another shape and an empty batch are errors.
    pub fn logits(&self, pixels: &Tensor) -> Result<Tensor> {
        Classifier::check(&self.network, pixels)?;
        self.snapshot.logits(&pixels.contiguous()?)
    }
}

/// A network inside a function.
struct Defended<F> {
    inner: Frozen,
    defence: F,
}

impl<F> fmt::Debug for Defended<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Defended").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<F: Fn(&Frozen, &Tensor) -> Result<Tensor> + Send + Sync> Snapshot for Defended<F> {
    fn logits(&self, pixels: &Tensor) -> Result<Tensor> {
        let logits = (self.defence)(&self.inner, pixels)?;
        let expected = [pixels.dim(0)?, self.inner.network.classes()];
        match logits.dims() == expected {
            true => Ok(logits),
            false => Err(Error::Logits { expected, got: logits.dims().to_vec() }),
        }
    }
}
