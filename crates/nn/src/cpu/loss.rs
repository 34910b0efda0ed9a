//! Cross-entropy and log odds, a row at a time, with exponentials in double precision.

use std::marker::PhantomData;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::kernel::Real;
use super::ops::CHUNK;
use super::storage::{slice, with};

/// As [`crate::cross_entropy`].
pub(super) fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let (logits, labels) = (logits.contiguous()?, labels.to_vec());
    match logits.dtype() {
        DType::F64 => logits.apply_op1(CrossEntropyOp::<f64> { labels, real: PhantomData }),
        _ => logits.apply_op1(CrossEntropyOp::<f32> { labels, real: PhantomData }),
    }
}

/// As [`crate::log_odds`], of 32 or 64 bits.
pub(super) fn log_odds(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let (logits, labels) = (logits.contiguous()?, labels.to_vec());
    match logits.dtype() {
        DType::F64 => logits.apply_op1(LogOdds::<f64> { labels, real: PhantomData }),
        _ => logits.apply_op1(LogOdds::<f32> { labels, real: PhantomData }),
    }
}

struct CrossEntropyOp<T> {
    labels: Vec<u32>,
    real: PhantomData<T>,
}

/// The largest logit, and the sum of exponentials of all less that. A NaN makes the sum one.
fn sum_of_exponentials<T: Real>(row: &[T]) -> (f64, f64) {
    let largest = row.iter().map(|x| x.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    (largest, row.iter().map(|x| (x.to_f64() - largest).exp()).sum())
}

impl<T: Real> CustomOp1 for CrossEntropyOp<T> {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (logits, classes) = (slice::<T>(logits, layout)?, layout.dims()[1]);
        let rows = logits.par_chunks_exact(classes).zip(&self.labels).with_min_len(CHUNK / classes + 1);
        let losses: Vec<T> = rows
            .map(|(row, label)| {
                let (largest, sum) = sum_of_exponentials(row);
                T::from_f64(sum.ln() + (largest - row[*label as usize].to_f64()))
            })
            .collect();
        let n = losses.len();
        Ok((T::to_cpu_storage_owned(losses), n.into()))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let classes = logits.dim(1)?;
        let of_logits = with::<T, _>(logits, |logits| {
            with::<T, _>(gradient, |gradient| {
                let mut out = vec![T::ZERO; logits.len()];
                let rows = out.par_chunks_exact_mut(classes).zip(logits.par_chunks_exact(classes));
                rows.zip(gradient).zip(&self.labels).with_min_len(CHUNK / classes + 1).for_each(
                    |(((out, row), gradient), label)| {
                        let (largest, sum) = sum_of_exponentials(row);
                        for (class, (out, x)) in out.iter_mut().zip(row).enumerate() {
                            let one = f64::from(class == *label as usize);
                            let share = (x.to_f64() - largest).exp() / sum;
                            *out = T::from_f64(gradient.to_f64() * (share - one));
                        }
                    },
                );
                Ok(out)
            })
        })?;
        Ok(Some(Tensor::from_vec(of_logits, logits.shape(), &Device::Cpu)?))
    }
}

struct LogOdds<T> {
    labels: Vec<u32>,
    real: PhantomData<T>,
}

/// The largest of the other logits, and the sum of their exponentials less that. A NaN among them makes the
/// sum one.
fn others<T: Real>(row: &[T], label: usize) -> (f64, f64) {
    let others = || row.iter().enumerate().filter(|(class, _)| *class != label).map(|(_, x)| x.to_f64());
    let largest = others().fold(f64::NEG_INFINITY, f64::max);
    // Where all are infinitely low, or not numbers, there is nothing to take off.
    let shift = if largest == f64::NEG_INFINITY { 0.0 } else { largest };
    (shift, others().map(|x| (x - shift).exp()).sum())
}

impl<T: Real> CustomOp1 for LogOdds<T> {
    fn name(&self) -> &'static str {
        "log-odds"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (logits, classes) = (slice::<T>(logits, layout)?, layout.dims()[1]);
        let rows = logits.par_chunks_exact(classes).zip(&self.labels).with_min_len(CHUNK / classes + 1);
        let odds: Vec<T> = rows
            .map(|(row, label)| {
                let own = row[*label as usize].to_f64();
                let (shift, sum) = others(row, *label as usize);
                T::from_f64(if classes == 1 { -own } else { sum.ln() + (shift - own) })
            })
            .collect();
        let n = odds.len();
        Ok((T::to_cpu_storage_owned(odds), n.into()))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let classes = logits.dim(1)?;
        let of_logits = with::<T, _>(logits, |logits| {
            with::<T, _>(gradient, |gradient| {
                let mut out = vec![T::ZERO; logits.len()];
                let rows = out.par_chunks_exact_mut(classes).zip(logits.par_chunks_exact(classes));
                rows.zip(gradient).zip(&self.labels).with_min_len(CHUNK / classes + 1).for_each(
                    |(((out, row), gradient), label)| {
                        let label = *label as usize;
                        let (shift, sum) = others(row, label);
                        // A label's logit that is no number leaves none to the others either.
                        let whole = if row[label].to_f64().is_nan() { f64::NAN } else { gradient.to_f64() };
                        for (class, (out, x)) in out.iter_mut().zip(row).enumerate() {
                            let slope = match class == label {
                                true if sum.is_nan() => f64::NAN,
                                true => -1.0,
                                false if sum == 0.0 => 0.0,
                                false => (x.to_f64() - shift).exp() / sum,
                            };
                            *out = T::from_f64(whole * slope);
                        }
                    },
                );
                Ok(out)
            })
        })?;
        Ok(Some(Tensor::from_vec(of_logits, logits.shape(), &Device::Cpu)?))
    }
}
