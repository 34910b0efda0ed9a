//! Operations of attacks and checks on whole tensors, in one pass over each tensor's memory, on all threads.

use super::kernel::{Real, tasks};
use super::storage::with;
use crate::ops::{Bounds, Stray, first_stray, prediction, tangent_root};
use candle_core::{Device, Result, Tensor, bail};

/// Minimum count of numbers that one task handles.
pub(super) const CHUNK: usize = 1 << 12;

/// Count of numbers that one task handles, for rows of `size` numbers.
pub(super) fn chunk(size: usize) -> usize {
    (CHUNK / size + 1) * size
}

/// For each row of `size` numbers, whether all are 0.
pub(super) fn zero_rows<T: Real>(rows: &[T], size: usize) -> Vec<bool> {
    let zero = |row: &[T]| row.iter().all(|x| *x == T::ZERO);
    let parts = rows.chunks(chunk(size));
    tasks::map(rows.len(), parts, |rows| rows.chunks_exact(size).map(zero).collect::<Vec<_>>()).concat()
}

/// As [`crate::step_within`], for tensors of the same shape and type.
pub(super) fn step_within<T: Real>(
    pixels: &Tensor,
    direction: &Tensor,
    lengths: &Tensor,
    (low, high): Bounds<'_>,
) -> Result<Tensor> {
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
                    let mut moved = vec![T::ZERO; p.len()];
                    tasks::each(p.len(), moved.chunks_mut(CHUNK), |part, moved| {
                        for (j, moved) in moved.iter_mut().enumerate() {
                            *moved = one(part * CHUNK + j);
                        }
                    });
                    Ok(moved)
                })
            })
        })
    })?;
    Tensor::from_vec(moved, pixels.shape(), &Device::Cpu)
}

/// As [`crate::stray`].
pub(crate) fn stray<T: Real>(values: &[T], low: f64, high: f64) -> Option<Stray> {
    // Finite bounds exclude numbers that are not finite.
    let bounds = low.max(f64::MIN)..=high.min(f64::MAX);
    let fits = |x: f64| bounds.contains(&x);
    // No early exit, so that the loop runs in registers: nearly always, all numbers fit.
    let all = |chunk: &[T]| chunk.iter().fold(true, |all, x| all & fits(x.to_f64()));
    if tasks::map(values.len(), values.chunks(CHUNK), all).into_iter().all(|all| all) {
        return None;
    }
    first_stray(values.len(), |position| values[position].to_f64(), [low, high])
}

/// As [`crate::largest_differences`], for rows of `size` numbers.
pub(super) fn largest_differences<T: Real>(a: &[T], b: &[T], size: usize) -> Vec<f64> {
    let largest = |(a, b): (&[T], &[T])| {
        let differences = a.iter().zip(b).map(|(a, b)| (*a - *b).to_f64().abs());
        differences.fold(0.0, f64::max)
    };
    pairs(a, b, size, largest)
}

/// As [`crate::distances`], for rows of `size` numbers.
pub(super) fn distances<T: Real>(a: &[T], b: &[T], size: usize) -> Vec<f64> {
    let length = |(a, b): (&[T], &[T])| {
        let differences = a.iter().zip(b).map(|(a, b)| (*a - *b).to_f64());
        let squares = differences.fold(0.0, |sum, difference| sum + difference * difference);
        T::from_f64(squares.sqrt()).to_f64()
    };
    pairs(a, b, size, length)
}

/// The results of `f` for the corresponding rows of two tensors.
fn pairs<T: Real>(a: &[T], b: &[T], size: usize, f: impl Fn((&[T], &[T])) -> f64 + Sync) -> Vec<f64> {
    let parts = a.chunks(chunk(size)).zip(b.chunks(chunk(size)));
    let rows = |(a, b): (&[T], &[T])| -> Vec<f64> {
        a.chunks_exact(size).zip(b.chunks_exact(size)).map(&f).collect()
    };
    tasks::map(a.len(), parts, rows).concat()
}

/// As [`crate::predictions`], for rows of `classes` logits.
pub(crate) fn predictions<T: Real>(logits: &[T], classes: usize) -> Vec<Option<u32>> {
    logits.chunks_exact(classes).map(|row| prediction(row.iter().map(|x| x.to_f64()))).collect()
}

/// As [`crate::levels`], for rows of `d` numbers. Each row is searched separately.
pub(super) fn levels(weights: &[f64], ends: &[f64], heights: &[f64], d: usize) -> Vec<f64> {
    let level = |((weights, ends), height): ((&[f64], &[f64]), &f64)| {
        let mut level = 0.0;
        loop {
            let (mut spent, mut slope) = (0.0, 0.0);
            for (weight, end) in weights.iter().zip(ends) {
                let passed = *end <= level;
                spent += if passed { weight * end } else { 0.0 };
                slope += if passed { 0.0 } else { *weight };
            }
            let next = tangent_root(*height, spent, slope);
            // False for a NaN.
            if next > level {
                level = next;
            } else {
                return level;
            }
        }
    };
    let rows = weights.chunks_exact(d).zip(ends.chunks_exact(d)).zip(heights);
    // About ten passes over each row.
    tasks::map(10 * weights.len(), rows, level)
}
