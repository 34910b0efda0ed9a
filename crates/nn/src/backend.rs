//! The operations that a device must support, and the backend that implements them there.
//!
//! Only this module distinguishes kinds of devices. A new backend needs a folder beside `cpu` and `candle` with an
//! `impl Backend`, and a line in [`at`].

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

/// The backend of a kind of device. The device need not be open.
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

/// The operations of networks, losses and attacks on a kind of device. The callers have checked all shapes; tensors
/// may be views.
pub(crate) trait Backend: Debug + Send + Sync {
    /// The reason why networks cannot compute in this number type here; `None` if they can.
    fn refuses(&self, dtype: DType) -> Option<&'static str>;

    /// Returns a snapshot of a classifier in evaluation mode. Later changes of the weights do not affect the
    /// snapshot.
    fn freeze(&self, classifier: &Classifier) -> Result<Arc<dyn Snapshot>>;

    /// Logits `[n, classes]` of contiguous pixels `[n, c, h, w]` in training mode, as described in
    /// [`Classifier::train`]. The weights' gradients go to the classifier's collector, or through candle's graph.
    fn train(
        &self,
        classifier: &Classifier,
        pixels: &Tensor,
        trains: bool,
        norm: BatchNorm,
    ) -> Result<Tensor>;

    /// One step of the optimiser on one weight, as described in [`Sgd::step`].
    fn descend(
        &self,
        sgd: &Sgd,
        weight: &Var,
        gradient: &Gradient,
        velocity: Option<&Tensor>,
    ) -> Result<Tensor>;

    /// Cross-entropy `[n]` of logits `[n, classes]` with labels `[n]`. Every label is a valid class.
    fn cross_entropy(&self, logits: &Tensor, labels: &ClassIndices<'_>) -> Result<Tensor>;

    /// Log odds `[n]` of logits `[n, classes]` against labels `[n]`. Every label is a valid class.
    fn log_odds(&self, logits: &Tensor, labels: &ClassIndices<'_>) -> Result<Tensor>;

    /// `min(max(pixels + lengths * direction, low), high)`.
    fn step_within(
        &self,
        pixels: &Tensor,
        direction: &Tensor,
        lengths: &Tensor,
        bounds: Bounds<'_>,
    ) -> Result<Tensor>;

    /// For each row of `[n, ..]`, whether all its numbers are 0. Each row has at least one number.
    fn zero_rows(&self, rows: &Tensor) -> Result<Vec<bool>>;

    /// The first number that is not finite; if all are finite, the first number outside `[low, high]`.
    fn stray(&self, values: &Tensor, low: f64, high: f64) -> Result<Option<Stray>>;

    /// For each row, the largest absolute difference between two tensors of the same shape `[n, ..]`; `[n]`.
    fn largest_differences(&self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>>;

    /// For each row, the Euclidean norm of the difference, summed in double precision; `[n]`.
    fn distances(&self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>>;

    /// As [`crate::levels`], for f64 tensors `[n, d]` with at least one number.
    fn levels(&self, weights: &Tensor, ends: &Tensor, heights: &[f64]) -> Result<Vec<f64>>;

    /// For each row of `[n, classes]`, the class of the largest logit, or the first such class if several are
    /// equal; `None` if the row contains a NaN.
    fn predictions(&self, logits: &Tensor) -> Result<Vec<Option<u32>>>;
}

/// A frozen network on its device.
pub(crate) trait Snapshot: Debug + Send + Sync {
    /// Logits `[n, classes]` of contiguous pixels `[n, c, h, w]`, differentiable with respect to the pixels.
    fn logits(&self, pixels: &Tensor) -> Result<Tensor>;
}

/// Labels as a `u32` tensor `[n]`, and their values, which were read on the host for the check.
pub(crate) struct ClassIndices<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) read: Vec<u32>,
}

#[cfg(test)]
mod tests;
