//! Our kernels on the CPU: a network is one operation of candle from pixels to logits, in 32 or 64 bits.
//!
//! `schedule` turns a plan into two straight-line programs, forward and backward; `memory` places their values in
//! memory. `program` runs them with folded and packed weights, `training` with a classifier's own weights. The
//! candle backend handles inputs that the kernels do not support: 16-bit tensors, and gradients from candle's
//! operations.

mod arrangement;
pub mod kernel;
mod loss;
mod memory;
pub(crate) mod ops;
mod program;
mod schedule;
mod sgd;
pub(crate) mod storage;
mod training;

use std::sync::Arc;

use candle_core::{DType, Tensor, Var};

use self::kernel::{Buffer, Real};
use self::storage::with;
use crate::backend::{Backend, ClassIndices, Snapshot};
use crate::candle::Candle;
use crate::classifier::{BatchNorm, Classifier};
use crate::error::Result;
use crate::gradients::{Gradient, Numbers};
use crate::graph::FILLING;
use crate::ops::{Bounds, Stray};
use crate::sgd::Sgd;

// The graph counts sizes of values in whole panels.
const _: () = assert!(kernel::vector::PANEL == FILLING);

/// The CPU backend.
#[derive(Debug)]
pub(crate) struct Cpu;

/// Calls a kernel with the numbers of one tensor, or of two tensors of the same type. Evaluates `$else` if the
/// numbers have neither 32 nor 64 bits.
macro_rules! by_type {
    ($tensor:expr, |$x:ident| $body:expr, $else:expr) => {
        match $tensor.dtype() {
            DType::F32 => Ok(with::<f32, _>($tensor, |$x| Ok($body))?),
            DType::F64 => Ok(with::<f64, _>($tensor, |$x| Ok($body))?),
            _ => $else,
        }
    };
    ($a:expr, $b:expr, |$x:ident, $y:ident| $body:expr, $else:expr) => {
        match $a.dtype() {
            DType::F32 => Ok(with::<f32, _>($a, |$x| with::<f32, _>($b, |$y| Ok($body)))?),
            DType::F64 => Ok(with::<f64, _>($a, |$x| with::<f64, _>($b, |$y| Ok($body)))?),
            _ => $else,
        }
    };
}

impl Backend for Cpu {
    fn refuses(&self, dtype: DType) -> Option<&'static str> {
        match dtype {
            DType::F32 | DType::F64 => None,
            _ => Some("a CPU computes no faster with 16 bits: our kernels count in 32; use \"f32\""),
        }
    }

    fn freeze(&self, classifier: &Classifier) -> Result<Arc<dyn Snapshot>> {
        Ok(match classifier.dtype() {
            DType::F64 => Arc::new(program::Compiled::<f64>::new(classifier)?),
            _ => Arc::new(program::Compiled::<f32>::new(classifier)?),
        })
    }

    fn train(
        &self,
        classifier: &Classifier,
        pixels: &Tensor,
        trains: bool,
        norm: BatchNorm,
    ) -> Result<Tensor> {
        match classifier.dtype() {
            DType::F64 => training::logits::<f64>(classifier, pixels, trains, norm),
            _ => training::logits::<f32>(classifier, pixels, trains, norm),
        }
    }

    fn descend(
        &self,
        sgd: &Sgd,
        weight: &Var,
        gradient: &Gradient,
        velocity: Option<&Tensor>,
    ) -> Result<Tensor> {
        if let Some(numbers) = gradient.numbers::<Buffer<f32>>() {
            return Ok(sgd::descend(sgd, weight, numbers, velocity)?);
        }
        match gradient.numbers::<Buffer<f64>>() {
            Some(numbers) => Ok(sgd::descend(sgd, weight, numbers, velocity)?),
            None => Candle.descend(sgd, weight, gradient, velocity),
        }
    }

    fn cross_entropy(&self, logits: &Tensor, labels: &ClassIndices<'_>) -> Result<Tensor> {
        Ok(loss::cross_entropy(logits, &labels.read)?)
    }

    fn log_odds(&self, logits: &Tensor, labels: &ClassIndices<'_>) -> Result<Tensor> {
        match logits.dtype() {
            DType::F32 | DType::F64 => Ok(loss::log_odds(logits, &labels.read)?),
            _ => Candle.log_odds(logits, labels),
        }
    }

    fn step_within(
        &self,
        pixels: &Tensor,
        direction: &Tensor,
        lengths: &Tensor,
        bounds: Bounds<'_>,
    ) -> Result<Tensor> {
        let others = [direction, bounds.0, bounds.1];
        let same = others.iter().all(|t| t.dims() == pixels.dims());
        let single = others.iter().chain(&[pixels, lengths]).all(|t| t.dtype() == DType::F32);
        if single && same && pixels.elem_count() > 0 && lengths.dims() == [pixels.dim(0)?, 1, 1, 1] {
            return Ok(ops::step_within::<f32>(pixels, direction, lengths, bounds)?);
        }
        Candle.step_within(pixels, direction, lengths, bounds)
    }

    fn zero_rows(&self, rows: &Tensor) -> Result<Vec<bool>> {
        let size = rows.elem_count() / rows.dim(0)?;
        by_type!(rows, |rows| ops::zero_rows(rows, size), Candle.zero_rows(rows))
    }

    fn stray(&self, values: &Tensor, low: f64, high: f64) -> Result<Option<Stray>> {
        by_type!(values, |values| ops::stray(values, low, high), Candle.stray(values, low, high))
    }

    fn largest_differences(&self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
        let size = a.elem_count() / a.dim(0)?;
        by_type!(a, b, |x, y| ops::largest_differences(x, y, size), Candle.largest_differences(a, b))
    }

    fn distances(&self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
        let size = a.elem_count() / a.dim(0)?;
        by_type!(a, b, |x, y| ops::distances(x, y, size), Candle.distances(a, b))
    }

    fn levels(&self, weights: &Tensor, ends: &Tensor, heights: &[f64]) -> Result<Vec<f64>> {
        let d = weights.dim(1)?;
        Ok(with::<f64, _>(weights, |weights| {
            with::<f64, _>(ends, |ends| Ok(ops::levels(weights, ends, heights, d)))
        })?)
    }

    fn predictions(&self, logits: &Tensor) -> Result<Vec<Option<u32>>> {
        let classes = logits.dim(1)?;
        by_type!(logits, |logits| ops::predictions(logits, classes), Candle.predictions(logits))
    }
}

/// Gradients from the kernels.
impl<T: Real> Numbers for Buffer<T> {
    fn tensor(&self, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_slice(self, shape, &candle_core::Device::Cpu)?)
    }

    fn add(&mut self, more: &dyn Numbers) -> Result<bool> {
        let Some(more) = (more as &dyn std::any::Any).downcast_ref::<Self>() else { return Ok(false) };
        for (to, more) in self.iter_mut().zip(&**more) {
            *to += *more;
        }
        Ok(true)
    }

    fn scale(&mut self, factor: f64) -> Result<()> {
        for number in self.iter_mut() {
            *number *= T::from_f64(factor);
        }
        Ok(())
    }
}
