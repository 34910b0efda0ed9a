//! Elementwise functions, and products of two values.

use super::pointwise::finish_all;
use super::{Buffer, Finish, Real, tasks};
use crate::graph::Function;

/// Multiply-adds that take as long as a function of one number does.
const COST: usize = 8;
/// Count of numbers that one task handles.
const CHUNK: usize = 1 << 13;

/// Applies `finish` to the numbers that `f` writes. Values are split into tasks of whole rows of `row` numbers. `f`
/// receives the index of a task's first row, and memory for its rows.
fn by_rows<T: Real>(row: usize, finish: Finish<'_, T>, f: impl Fn(usize, &mut [T]) + Sync) {
    let chunk = (CHUNK / row).max(1) * row;
    let all = finish.out.len();
    let starts: Vec<usize> = (0..all).step_by(chunk).collect();
    let parts = finish.parts(starts.iter().map(|start| chunk.min(all - start)));
    tasks::each(all * COST, starts.into_iter().zip(parts), |_, (start, finish)| {
        let mut numbers = Buffer::take(finish.out.len());
        f(start / row, &mut numbers);
        finish_all(&numbers, finish);
    });
}

/// Applies a function to the `channels` true numbers of each `stored` ones, then `finish`. Numbers that fill up a
/// panel stay 0.
///
/// # Panics
/// If lengths differ.
pub fn function<T: Real>(
    function: Function,
    (channels, stored): (usize, usize),
    x: &[T],
    finish: Finish<'_, T>,
) {
    assert_eq!(x.len(), finish.out.len());
    by_rows(stored, finish, |row, out| {
        for (out, x) in out.chunks_exact_mut(stored).zip(x[row * stored..].chunks_exact(stored)) {
            for (out, x) in out.iter_mut().zip(&x[..channels]) {
                *out = T::from_f64(function.value(x.to_f64()));
            }
            out[channels..].fill(T::ZERO);
        }
    });
}

/// Computes the gradient of [`function()`] from its input and the gradient of its output, then applies `finish`.
///
/// # Panics
/// If lengths differ.
pub fn function_gradient<T: Real>(
    function: Function,
    (channels, stored): (usize, usize),
    x: &[T],
    dy: &[T],
    finish: Finish<'_, T>,
) {
    assert!(x.len() == finish.out.len() && dy.len() == x.len());
    by_rows(stored, finish, |row, out| {
        let rows = x[row * stored..].chunks_exact(stored).zip(dy[row * stored..].chunks_exact(stored));
        for (out, (x, dy)) in out.chunks_exact_mut(stored).zip(rows) {
            for (out, (x, dy)) in out.iter_mut().zip(x.iter().zip(dy)).take(channels) {
                *out = *dy * T::from_f64(function.derivative(x.to_f64()));
            }
            out[channels..].fill(T::ZERO);
        }
    });
}

/// Computes `times` where `x` is above 0, and `slopes * times` elsewhere, with one slope for each stored channel,
/// then applies `finish`. With `x` as `times`, this is the function; with the gradient of its output as `times`, it
/// is the gradient of its input.
///
/// # Panics
/// If lengths differ.
pub fn prelu<T: Real>(slopes: &[T], x: &[T], times: &[T], finish: Finish<'_, T>) {
    let stored = slopes.len();
    assert!(x.len() == finish.out.len() && times.len() == x.len());
    by_rows(stored, finish, |row, out| {
        let rows = x[row * stored..].chunks_exact(stored).zip(times[row * stored..].chunks_exact(stored));
        for (out, (x, times)) in out.chunks_exact_mut(stored).zip(rows) {
            for (out, ((x, times), slope)) in out.iter_mut().zip(x.iter().zip(times).zip(slopes)) {
                *out = if *x > T::ZERO { *times } else { *slope * *times };
            }
        }
    });
}

/// The gradient of the slopes of [`prelu`], one for each stored channel, from its input and the gradient of its output.
pub fn slope_gradients<T: Real>(stored: usize, x: &[T], dy: &[T]) -> Buffer<T> {
    let mut sums = vec![0.0; stored];
    for (x, dy) in x.chunks_exact(stored).zip(dy.chunks_exact(stored)) {
        for (sum, (x, dy)) in sums.iter_mut().zip(x.iter().zip(dy)) {
            // A NaN is not above 0, and stays.
            *sum += if *x > T::ZERO { 0.0 } else { x.to_f64() * dy.to_f64() };
        }
    }
    let mut gradients = Buffer::take(stored);
    for (gradient, sum) in gradients.iter_mut().zip(sums) {
        *gradient = T::from_f64(sum);
    }
    gradients
}

/// Computes `x * factor`, then applies `finish`. A sample of `x` has `size` numbers in rows of `stored` numbers,
/// one row for each position. A sample of `factor` has the same size, or a single row, which multiplies every
/// position.
///
/// # Panics
/// If lengths differ.
pub fn multiply<T: Real>((size, stored): (usize, usize), x: &[T], factor: &[T], finish: Finish<'_, T>) {
    assert_eq!(x.len(), finish.out.len());
    // Otherwise, the factors of a single position multiply the whole sample.
    let each = factor.len() == x.len();
    by_rows(stored, finish, |row, out| {
        let rows = out.chunks_exact_mut(stored).zip(x[row * stored..].chunks_exact(stored));
        for (i, (out, x)) in rows.enumerate() {
            let at = if each { row + i } else { (row + i) * stored / size } * stored;
            for (out, (x, factor)) in out.iter_mut().zip(x.iter().zip(&factor[at..])) {
                *out = *x * *factor;
            }
        }
    });
}

/// Computes the gradient of the factor of [`multiply`] from the other factor and the gradient of the product, then
/// applies `finish`.
pub fn factor_gradient<T: Real>((size, stored): (usize, usize), x: &[T], dy: &[T], finish: Finish<'_, T>) {
    if finish.out.len() == x.len() {
        return multiply((size, stored), dy, x, finish);
    }
    by_rows(stored, finish, |sample, out| {
        for (i, out) in out.chunks_exact_mut(stored).enumerate() {
            out.fill(T::ZERO);
            let range = (sample + i) * size..(sample + i + 1) * size;
            for (x, dy) in x[range.clone()].chunks_exact(stored).zip(dy[range].chunks_exact(stored)) {
                for (out, (x, dy)) in out.iter_mut().zip(x.iter().zip(dy)) {
                    *out += *x * *dy;
                }
            }
        }
    });
}
