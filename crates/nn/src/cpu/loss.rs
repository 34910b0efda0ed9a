//! Cross-entropy and log odds, a row at a time, with exponentials in double precision.

use std::marker::PhantomData;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor};

use super::kernel::{Real, tasks};
use super::ops::chunk;
use super::storage::{slice, with};

/// As [`crate::cross_entropy`].
pub(super) fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    apply::<CrossEntropyOp>(logits, labels)
}

/// As [`crate::log_odds`], for 32 or 64 bits.
pub(super) fn log_odds(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    apply::<LogOdds>(logits, labels)
}

fn apply<L: RowLoss>(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let (logits, labels) = (logits.contiguous()?, labels.to_vec());
    match logits.dtype() {
        DType::F64 => logits.apply_op1(ByRows::<f64, L> { labels, of: PhantomData }),
        _ => logits.apply_op1(ByRows::<f32, L> { labels, of: PhantomData }),
    }
}

/// A loss that is computed separately for each row of logits.
trait RowLoss: Send + Sync + 'static {
    const NAME: &'static str;

    /// The loss of a row with this label.
    fn value<T: Real>(row: &[T], label: usize) -> f64;

    /// Writes the derivative with respect to each logit, times `gradient`, to `out`.
    fn derivative<T: Real>(row: &[T], label: usize, gradient: f64, out: &mut [T]);
}

/// The losses `[n]` of the rows of logits `[n, classes]`, as an operation of candle.
struct ByRows<T, L> {
    labels: Vec<u32>,
    of: PhantomData<(T, L)>,
}

impl<T: Real, L: RowLoss> CustomOp1 for ByRows<T, L> {
    fn name(&self) -> &'static str {
        L::NAME
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (logits, classes) = (slice::<T>(logits, layout)?, layout.dims()[1]);
        let size = chunk(classes);
        let parts = logits.chunks(size).zip(self.labels.chunks(size / classes));
        let losses = tasks::map(logits.len(), parts, |(rows, labels)| -> Vec<T> {
            let rows = rows.chunks_exact(classes).zip(labels);
            rows.map(|(row, label)| T::from_f64(L::value(row, *label as usize))).collect()
        });
        let losses = losses.concat();
        let n = losses.len();
        Ok((T::to_cpu_storage_owned(losses), n.into()))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let classes = logits.dim(1)?;
        let of_logits = with::<T, _>(logits, |logits| {
            with::<T, _>(gradient, |gradient| {
                let mut out = vec![T::ZERO; logits.len()];
                let size = chunk(classes);
                let parts = out.chunks_mut(size).zip(logits.chunks(size));
                tasks::each(logits.len(), parts, |part, (out, logits)| {
                    let first = part * size / classes;
                    let rows = out.chunks_exact_mut(classes).zip(logits.chunks_exact(classes));
                    for ((out, row), (gradient, label)) in
                        rows.zip(gradient[first..].iter().zip(&self.labels[first..]))
                    {
                        L::derivative(row, *label as usize, gradient.to_f64(), out);
                    }
                });
                Ok(out)
            })
        })?;
        Ok(Some(Tensor::from_vec(of_logits, logits.shape(), &Device::Cpu)?))
    }
}

struct CrossEntropyOp;

/// The largest logit, and the sum of exponentials of all logits minus it. A NaN makes the sum NaN.
fn sum_of_exponentials<T: Real>(row: &[T]) -> (f64, f64) {
    let largest = row.iter().map(|x| x.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    (largest, row.iter().map(|x| (x.to_f64() - largest).exp()).sum())
}

impl RowLoss for CrossEntropyOp {
    const NAME: &'static str = "cross-entropy";

    fn value<T: Real>(row: &[T], label: usize) -> f64 {
        let (largest, sum) = sum_of_exponentials(row);
        sum.ln() + (largest - row[label].to_f64())
    }

    fn derivative<T: Real>(row: &[T], label: usize, gradient: f64, out: &mut [T]) {
        let (largest, sum) = sum_of_exponentials(row);
        for (class, (out, x)) in out.iter_mut().zip(row).enumerate() {
            let one = f64::from(class == label);
            let share = (x.to_f64() - largest).exp() / sum;
            *out = T::from_f64(gradient * (share - one));
        }
    }
}

struct LogOdds;

/// The largest of the other logits, and the sum of `exp(x - largest)` over the other logits `x`. A NaN among them
/// makes the sum NaN.
fn others<T: Real>(row: &[T], label: usize) -> (f64, f64) {
    let others = || row.iter().enumerate().filter(|(class, _)| *class != label).map(|(_, x)| x.to_f64());
    let largest = others().fold(f64::NEG_INFINITY, f64::max);
    // If all are negative infinity or NaN, 0 is subtracted.
    let shift = if largest == f64::NEG_INFINITY { 0.0 } else { largest };
    (shift, others().map(|x| (x - shift).exp()).sum())
}

impl RowLoss for LogOdds {
    const NAME: &'static str = "log-odds";

    fn value<T: Real>(row: &[T], label: usize) -> f64 {
        let own = row[label].to_f64();
        let (shift, sum) = others(row, label);
        if row.len() == 1 { -own } else { sum.ln() + (shift - own) }
    }

    fn derivative<T: Real>(row: &[T], label: usize, gradient: f64, out: &mut [T]) {
        let (shift, sum) = others(row, label);
        // If the label's logit is NaN, all derivatives are NaN.
        let whole = if row[label].to_f64().is_nan() { f64::NAN } else { gradient };
        for (class, (out, x)) in out.iter_mut().zip(row).enumerate() {
            let slope = match class == label {
                true if sum.is_nan() => f64::NAN,
                true => -1.0,
                false if sum == 0.0 => 0.0,
                false => (x.to_f64() - shift).exp() / sum,
            };
            *out = T::from_f64(whole * slope);
        }
    }
}
