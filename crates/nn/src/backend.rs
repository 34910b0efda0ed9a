//! What a device must be able to do, and which backend does it there.
//!
//! This is the one place that asks what a device is. A further backend is a folder beside `cpu` and `candle`
//! with an `impl Backend`, and a line in [`at`].

use std::fmt::Debug;
use std::sync::Arc;

use candle_core::{DType, Device, DeviceLocation, Tensor, Var};

use crate::candle::Candle;
use crate::classifier::{BatchNorm, Classifier};
use crate::cpu::Cpu;
use crate::error::Result;
use crate::gradients::Gradient;
use crate::ops::{Bounds, Stray};
use crate::sgd::Sgd;

/// The backend of a kind of device, which need not be open.
pub(crate) fn at(location: DeviceLocation) -> &'static dyn Backend {
    match location {
        DeviceLocation::Cpu => &Cpu,
        DeviceLocation::Cuda { .. } | DeviceLocation::Metal { .. } => &Candle,
    }
}

/// The backend of a device.
pub(crate) fn of(device: &Device) -> &'static dyn Backend {
    at(device.location())
}

/// How networks, losses and attacks compute on a kind of device. Shapes have been checked before; tensors may
/// be views.
pub(crate) trait Backend: Debug + Send + Sync {
    /// Why networks do not compute in numbers of this type here; `None` if they do.
    fn refuses(&self, dtype: DType) -> Option<&'static str>;

    /// A snapshot of a classifier in evaluation mode. Later changes of its weights do not reach it.
    fn freeze(&self, classifier: &Classifier) -> Result<Arc<dyn Snapshot>>;

    /// Logits `[n, classes]` of contiguous pixels `[n, c, h, w]` in training mode, as [`Classifier::train`]
    /// says. The weights' gradients reach the classifier's collector, or candle's graph.
    fn train(
        &self,
        classifier: &Classifier,
        pixels: &Tensor,
        trains: bool,
        norm: BatchNorm,
    ) -> Result<Tensor>;

    /// One step of the optimiser on one weight, as [`Sgd::step`] says.
    fn descend(
        &self,
        sgd: &Sgd,
        weight: &Var,
        gradient: &Gradient,
        velocity: Option<&Tensor>,
    ) -> Result<Tensor>;

    /// Cross-entropy `[n]` of logits `[n, classes]` with labels `[n]` that are all classes.
    fn cross_entropy(&self, logits: &Tensor, labels: &ClassIndices<'_>) -> Result<Tensor>;

    /// Log odds `[n]` of logits `[n, classes]` against labels `[n]` that are all classes.
    fn log_odds(&self, logits: &Tensor, labels: &ClassIndices<'_>) -> Result<Tensor>;

    /// `min(max(pixels + lengths * direction, low), high)`.
    fn step_within(
        &self,
        pixels: &Tensor,
        direction: &Tensor,
        lengths: &Tensor,
        bounds: Bounds<'_>,
    ) -> Result<Tensor>;

    /// Which rows of `[n, ..]`, of at least one number each, are 0 everywhere.
    fn zero_rows(&self, rows: &Tensor) -> Result<Vec<bool>>;

    /// The first number that is not finite, or else the first one outside `[low, high]`.
    fn stray(&self, values: &Tensor, low: f64, high: f64) -> Result<Option<Stray>>;

    /// The largest absolute difference in each row of two tensors of one shape `[n, ..]`, `[n]`.
    fn largest_differences(&self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>>;

    /// The Euclidean length of the difference of each row, `[n]`, summed in double precision.
    fn distances(&self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>>;

    /// As [`crate::levels`], of tensors `[n, d]` of f64 with at least one number.
    fn levels(&self, weights: &Tensor, ends: &Tensor, heights: &[f64]) -> Result<Vec<f64>>;

    /// The class of the largest logit of each row of `[n, classes]`, the first of equals; none for a row with
    /// a NaN.
    fn predictions(&self, logits: &Tensor) -> Result<Vec<Option<u32>>>;
}

/// A frozen network on its device.
pub(crate) trait Snapshot: Debug + Send + Sync {
    /// Logits `[n, classes]` of contiguous pixels `[n, c, h, w]`, differentiable with respect to the pixels.
    fn logits(&self, pixels: &Tensor) -> Result<Tensor>;
}

/// Labels as a tensor `[n]` of `u32`, and as read on the host to check them.
pub(crate) struct ClassIndices<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) read: Vec<u32>,
}

#[cfg(test)]
mod tests;
