//! What attacks and losses do to whole tensors, in one pass over memory each, where candle's operations take several.

use candle_core::{CpuStorage, CustomOp1, D, DType, Device, Layout, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::error::Result;
use crate::kernel::Real;
use crate::storage::{slice, with};

/// Numbers that one task handles at least.
pub(crate) const CHUNK: usize = 1 << 12;

/// Cross-entropy of each row of logits `[n, classes]` with its label, `[n]` of `u32`; `[n]`. Exponentials are taken in double
/// precision on a CPU. A label that is no class is an error.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let known = known_labels(logits, labels)?;
    if !logits.device().is_cpu() {
        return Ok(portable(logits, labels)?);
    }
    let (logits, labels) = (logits.contiguous()?, known);
    Ok(match logits.dtype() {
        DType::F64 => logits.apply_op1(CrossEntropy::<f64> { labels, real: std::marker::PhantomData })?,
        _ => logits.apply_op1(CrossEntropy::<f32> { labels, real: std::marker::PhantomData })?,
    })
}

/// Labels `[n]` of logits `[n, classes]`; an error where one is no class.
pub(crate) fn known_labels(logits: &Tensor, labels: &Tensor) -> Result<Vec<u32>> {
    let (n, classes) = logits.dims2()?;
    let known: Vec<u32> = labels.to_vec1()?;
    if known.len() != n || classes == 0 || known.iter().any(|label| *label as usize >= classes) {
        return Err(
            candle_core::Error::Msg(format!("labels {known:?} for {n} rows of {classes} logits")).into()
        );
    }
    Ok(known)
}

/// Which rows of a tensor `[n, ..]` are 0 everywhere, `[n]`. A NaN is not 0. On a CPU a row is read up to its first other number.
pub fn zero_rows(rows: &Tensor) -> Result<Vec<bool>> {
    let n = rows.dim(0)?;
    let size = rows.elem_count() / n.max(1);
    if size == 0 {
        return Ok(vec![true; n]);
    }
    let found = match (rows.device().is_cpu(), rows.dtype()) {
        (true, DType::F32) => with::<f32, _>(rows, |rows| Ok(zeros(rows, size)))?,
        (true, DType::F64) => with::<f64, _>(rows, |rows| Ok(zeros(rows, size)))?,
        _ => zero_rows_portable(rows)?,
    };
    Ok(found)
}

fn zeros<T: Real>(rows: &[T], size: usize) -> Vec<bool> {
    let zero = |row: &[T]| row.iter().all(|x| *x == T::ZERO);
    rows.par_chunks_exact(size).with_min_len(CHUNK / size + 1).map(zero).collect()
}

/// The same in candle's operations: where anything differs from 0, a NaN too.
fn zero_rows_portable(rows: &Tensor) -> candle_core::Result<Vec<bool>> {
    let others = rows.ne(0.0)?.flatten_from(1)?.to_dtype(DType::F32)?.sum(1)?.to_vec1::<f32>()?;
    Ok(others.iter().map(|count| *count == 0.0).collect())
}

/// Cross-entropy in candle's operations, for devices that our kernels do not know.
fn portable(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
    // What is taken from all logits alike has no gradient.
    let largest = logits.max_keepdim(D::Minus1)?.detach();
    let shifted = logits.broadcast_sub(&largest)?;
    let sums = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let taken = shifted.gather(&labels.unsqueeze(1)?, 1)?;
    (sums - taken)?.squeeze(1)
}

struct CrossEntropy<T> {
    labels: Vec<u32>,
    real: std::marker::PhantomData<T>,
}

/// The largest logit, and the sum of exponentials of all less that. A NaN makes the sum one.
fn sum_of_exponentials<T: Real>(row: &[T]) -> (f64, f64) {
    let largest = row.iter().map(|x| x.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    (largest, row.iter().map(|x| (x.to_f64() - largest).exp()).sum())
}

impl<T: Real> CustomOp1 for CrossEntropy<T> {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
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

    fn bwd(&self, logits: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
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

/// `min(max(pixels + lengths * direction, low), high)`, for tensors `[n, c, h, w]` and one length a sample, `[n, 1, 1, 1]`: a step of
/// an attack in l-inf. A NaN stays.
pub fn step_within(
    pixels: &Tensor,
    direction: &Tensor,
    lengths: &Tensor,
    (low, high): (&Tensor, &Tensor),
) -> Result<Tensor> {
    let all = [pixels, direction, lengths, low, high];
    if all.iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32) {
        let same = [direction, low, high].iter().all(|t| t.dims() == pixels.dims());
        if same && pixels.elem_count() > 0 && lengths.dims() == [pixels.dim(0)?, 1, 1, 1] {
            return Ok(step::<f32>(pixels, direction, lengths, (low, high))?);
        }
    }
    let moved = (pixels + direction.broadcast_mul(lengths)?)?;
    Ok(moved.maximum(low)?.minimum(high)?)
}

fn step<T: Real>(
    pixels: &Tensor,
    direction: &Tensor,
    lengths: &Tensor,
    (low, high): (&Tensor, &Tensor),
) -> candle_core::Result<Tensor> {
    let size = pixels.elem_count() / lengths.elem_count();
    let lengths = lengths.flatten_all()?.to_vec1::<T>()?;
    let moved = with::<T, _>(pixels, |p| {
        with::<T, _>(direction, |d| {
            with::<T, _>(low, |low| {
                with::<T, _>(high, |high| {
                    if [d, low, high].iter().any(|values| values.len() != p.len()) {
                        bail!("a step of tensors of different sizes");
                    }
                    let one = |i: usize| {
                        let x = p[i] + d[i] * lengths[i / size];
                        let x = if x < low[i] { low[i] } else { x };
                        if x > high[i] { high[i] } else { x }
                    };
                    Ok((0..p.len()).into_par_iter().with_min_len(CHUNK).map(one).collect::<Vec<T>>())
                })
            })
        })
    })?;
    Tensor::from_vec(moved, pixels.shape(), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_is_what_its_definition_says_and_so_is_its_gradient() {
        let logits = [[1.0, -2.0, 700.0], [0.5, 0.5, 0.5], [-800.0, -801.0, -799.5]];
        let labels = Tensor::new(&[0u32, 2, 1], &Device::Cpu).unwrap();
        let var = candle_core::Var::new(&logits, &Device::Cpu).unwrap();
        let losses = cross_entropy(&var, &labels).unwrap();
        let want = [699.0, 3f64.ln(), (1.0 + (1f64).exp() + (1.5f64).exp()).ln()];
        for (got, want) in losses.to_vec1::<f64>().unwrap().into_iter().zip(want) {
            assert!((got - want).abs() < 1e-12, "{got} for {want}");
        }
        let weights = Tensor::new(&[1.0, 2.0, -1.0], &Device::Cpu).unwrap();
        let gradients = (losses * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let got = gradients.get(&var).unwrap().to_vec2::<f64>().unwrap();
        let sum = 1.0 + 1f64.exp() + 1.5f64.exp();
        let shares = [1f64.exp() / sum, 1.0 / sum, 1.5f64.exp() / sum];
        let third = 2.0 / 3.0;
        let want = [[-1.0, 0.0, 1.0], [third, third, third - 2.0], [-shares[0], 1.0 - shares[1], -shares[2]]];
        for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
            assert!((got - want).abs() < 1e-12, "{got} for {want}");
        }
    }

    #[test]
    fn our_kernel_and_candles_operations_agree_on_values_and_gradients() {
        // Of equal logits each has its own gradient; and a row of large ones whose loss is tiny.
        let logits = [[1.0, -2.0, 7.0], [0.5, 0.5, 0.5], [3.0, 3.0, -90.0], [1e6, 1e6 - 20.0, 0.0]];
        let labels = Tensor::new(&[0u32, 2, 1, 0], &Device::Cpu).unwrap();
        let weights = Tensor::new(&[1.0, 2.0, -1.0, 0.5], &Device::Cpu).unwrap();
        let run = |loss: &dyn Fn(&Tensor) -> Tensor| {
            let var = candle_core::Var::new(&logits, &Device::Cpu).unwrap();
            let losses = loss(&var);
            let weighted = (&losses * &weights).unwrap();
            let gradients = weighted.sum_all().unwrap().backward().unwrap();
            let gradient = gradients.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            [losses.to_vec1::<f64>().unwrap(), gradient].concat()
        };
        let ours = run(&|logits| cross_entropy(logits, &labels).unwrap());
        let candles = run(&|logits| portable(logits, &labels).unwrap());
        assert_eq!(ours.len(), 4 + 12);
        for (ours, candles) in ours.iter().zip(&candles) {
            assert!((ours - candles).abs() < 1e-12, "{ours} or {candles}");
        }
        assert!(ours[3] > 2e-9 && (ours[3] - (-20f64).exp()).abs() < 1e-15, "{}", ours[3]);
    }

    #[test]
    fn a_nan_among_the_logits_is_a_nan_and_a_label_that_is_none_an_error() {
        let logits = Tensor::new(&[[1f32, f32::NAN], [0.0, 1.0]], &Device::Cpu).unwrap();
        let labels = |labels: [u32; 2]| Tensor::new(&labels, &Device::Cpu).unwrap();
        let losses = cross_entropy(&logits, &labels([0, 1])).unwrap().to_vec1::<f32>().unwrap();
        assert!(losses[0].is_nan() && losses[1].is_finite());
        assert!(cross_entropy(&logits, &labels([0, 2])).is_err());
        let nothing = Tensor::zeros((2, 0), DType::F32, &Device::Cpu).unwrap();
        assert!(cross_entropy(&nothing, &labels([0, 0])).is_err());
    }

    #[test]
    fn rows_of_nothing_but_zeros_are_found_and_a_nan_is_none() {
        let rows = [[0.0, 0.0], [0.0, 1e-45], [0.0, f32::NAN], [-0.0, 0.0], [f32::NEG_INFINITY, 0.0]];
        let want = [true, false, false, true, false];
        let rows = Tensor::new(&rows, &Device::Cpu).unwrap().reshape((5, 1, 1, 2)).unwrap();
        assert_eq!(zero_rows(&rows).unwrap(), want);
        assert_eq!(zero_rows_portable(&rows).unwrap(), want);
        let double = rows.to_dtype(DType::F64).unwrap();
        assert_eq!(zero_rows(&double).unwrap(), want);
        assert_eq!(zero_rows(&Tensor::zeros((2, 0), DType::F32, &Device::Cpu).unwrap()).unwrap(), [true; 2]);
    }

    #[test]
    fn a_step_in_one_pass_has_the_bits_of_several() {
        let numbers = |seed: u64| {
            let value =
                |i: u64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ seed) >> 40) as f32 / (1 << 24) as f32;
            Tensor::from_vec((1..=2 * 3 * 5 * 7).map(value).collect(), (2, 3, 5, 7), &Device::Cpu).unwrap()
        };
        let (pixels, direction) = (numbers(1), (numbers(2) - 0.5).unwrap());
        let lengths = Tensor::new(&[0.3f32, 0.01], &Device::Cpu).unwrap().reshape((2, 1, 1, 1)).unwrap();
        let (low, high) = ((&pixels - 0.05).unwrap(), (&pixels + 0.02).unwrap());
        let once = step_within(&pixels, &direction, &lengths, (&low, &high)).unwrap();
        let moved = (&pixels + direction.broadcast_mul(&lengths).unwrap()).unwrap();
        let many = moved.maximum(&low).unwrap().minimum(&high).unwrap();
        let bits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(bits(&once), bits(&many));
        assert!(bits(&once) != bits(&moved) && bits(&once) != bits(&low));
        // Lengths of another shape go by candle's rules: here one a column of 7.
        let columns = Tensor::new(&[0.3f32, 0.01], &Device::Cpu).unwrap().reshape((1, 1, 1, 2)).unwrap();
        assert!(step_within(&pixels, &direction, &columns, (&low, &high)).is_err());
    }
}
