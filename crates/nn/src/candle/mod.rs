//! The backend for any device, in candle's own operations: NCHW, one tensor per node, weights in candle's graph.
//!
//! It runs on devices for which we have no kernels, and is the reference with which our kernels are compared.

pub(crate) mod conv;
mod function;
pub(crate) mod loss;
mod network;
pub(crate) mod ops;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Tensor, Var};

use self::network::WeightSource;
use crate::backend::{Backend, ClassIndices, Snapshot};
use crate::classifier::{BatchNorm, Classifier, MOMENTUM, unbiased};
use crate::error::Result;
use crate::gradients::Gradient;
use crate::graph::Network;
use crate::ops::{Bounds, Stray};
use crate::sgd::Sgd;

/// The backend of candle's operations.
#[derive(Debug)]
pub(crate) struct Candle;

impl Backend for Candle {
    fn refuses(&self, dtype: DType) -> Option<&'static str> {
        match dtype {
            DType::F32 | DType::F64 => None,
            _ => Some("on this device networks do not run in 16 bits yet; use \"f32\""),
        }
    }

    fn freeze(&self, classifier: &Classifier) -> Result<Arc<dyn Snapshot>> {
        let copy = |(name, weight): (String, Tensor)| Ok((name, weight.copy()?));
        let weights = classifier.weights().into_iter().map(copy).collect::<Result<_>>()?;
        Ok(Arc::new(Copied { network: classifier.network().clone(), weights }))
    }

    fn train(
        &self,
        classifier: &Classifier,
        pixels: &Tensor,
        trains: bool,
        norm: BatchNorm,
    ) -> Result<Tensor> {
        let tracked = Tracked { classifier, trains, norm };
        Ok(network::logits(classifier.network(), &tracked, pixels)?)
    }

    fn descend(
        &self,
        sgd: &Sgd,
        weight: &Var,
        gradient: &Gradient,
        velocity: Option<&Tensor>,
    ) -> Result<Tensor> {
        let gradient = gradient.tensor()?;
        let old = weight.as_detached_tensor();
        let decayed = if sgd.decay > 0.0 { (gradient + (&old * sgd.decay)?)? } else { gradient };
        let moved = match velocity {
            Some(velocity) => ((velocity * sgd.momentum)? + &decayed)?,
            None => decayed.clone(),
        };
        let direction = if sgd.nesterov { (decayed + (&moved * sgd.momentum)?)? } else { moved.clone() };
        weight.set(&(old - (direction * sgd.rate)?)?)?;
        Ok(moved.detach())
    }

    fn cross_entropy(&self, logits: &Tensor, labels: &ClassIndices<'_>) -> Result<Tensor> {
        Ok(loss::cross_entropy(logits, labels.tensor)?)
    }

    fn log_odds(&self, logits: &Tensor, labels: &ClassIndices<'_>) -> Result<Tensor> {
        Ok(loss::log_odds(logits, labels.tensor)?)
    }

    fn step_within(
        &self,
        pixels: &Tensor,
        direction: &Tensor,
        lengths: &Tensor,
        (low, high): Bounds<'_>,
    ) -> Result<Tensor> {
        let moved = (pixels + direction.broadcast_mul(lengths)?)?;
        Ok(moved.maximum(low)?.minimum(high)?)
    }

    fn zero_rows(&self, rows: &Tensor) -> Result<Vec<bool>> {
        Ok(ops::zero_rows(rows)?)
    }

    fn stray(&self, values: &Tensor, low: f64, high: f64) -> Result<Option<Stray>> {
        Ok(ops::stray(values, low, high)?)
    }

    fn largest_differences(&self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
        Ok(ops::largest_differences(a, b)?)
    }

    fn distances(&self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
        Ok(ops::distances(a, b)?)
    }

    fn levels(&self, weights: &Tensor, ends: &Tensor, heights: &[f64]) -> Result<Vec<f64>> {
        Ok(ops::levels(weights, ends, heights)?)
    }

    fn predictions(&self, logits: &Tensor) -> Result<Vec<Option<u32>>> {
        Ok(ops::predictions(logits)?)
    }
}

/// A network with a copy of a classifier's weights, by name. Training does not change the copy.
#[derive(Debug)]
struct Copied {
    network: Network,
    weights: BTreeMap<String, Tensor>,
}

impl Snapshot for Copied {
    fn logits(&self, pixels: &Tensor) -> Result<Tensor> {
        Ok(network::logits(&self.network, self, pixels)?)
    }
}

impl WeightSource for Copied {
    fn weight(&self, layer: &str, part: &str) -> Tensor {
        self.weights[&format!("{layer}.{part}")].clone()
    }

    fn moments(&self, layer: &str, _x: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        Ok((self.weight(layer, "running_mean"), self.weight(layer, "running_var")))
    }
}

/// A classifier's weights during one training pass.
struct Tracked<'a> {
    classifier: &'a Classifier,
    trains: bool,
    norm: BatchNorm,
}

impl Tracked<'_> {
    /// Moves batch norm's running statistics towards the moments of a batch with `rows` values per channel. All
    /// numbers stay on the device.
    fn move_statistics(
        &self,
        layer: &str,
        rows: usize,
        mean: &Tensor,
        variance: &Tensor,
    ) -> candle_core::Result<()> {
        for (part, batch, factor) in [("running_mean", mean, 1.0), ("running_var", variance, unbiased(rows))]
        {
            let var = self.classifier.weight(layer, part);
            let old = var.as_detached_tensor().to_dtype(DType::F64)?;
            let batch = batch.detach().to_dtype(DType::F64)?;
            let moved = ((old * (1.0 - MOMENTUM))? + (batch * (MOMENTUM * factor))?)?;
            var.set(&moved.to_dtype(var.dtype())?)?;
        }
        Ok(())
    }
}

impl WeightSource for Tracked<'_> {
    fn weight(&self, layer: &str, part: &str) -> Tensor {
        let var = self.classifier.weight(layer, part);
        if self.trains { var.as_tensor().clone() } else { var.as_detached_tensor() }
    }

    fn moments(&self, layer: &str, x: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        if self.norm == BatchNorm::Frozen {
            let running = |part| self.classifier.weight(layer, part).as_detached_tensor();
            return Ok((running("running_mean"), running("running_var")));
        }
        let (mean, variance) = network::moments(x)?;
        if self.norm == BatchNorm::Update {
            self.move_statistics(layer, x.elem_count() / x.dim(1)?, &mean, &variance)?;
        }
        Ok((mean, variance))
    }
}
