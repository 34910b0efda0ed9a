//! Functions of each number alone, and products of two values.

use super::pointwise::finish_all;
use super::{Buffer, Finish, Real, tasks};
use crate::graph::Function;

/// Multiply-adds that take as long as a function of one number.
const COST: usize = 8;
/// Numbers that one task handles.
const CHUNK: usize = 1 << 13;

/// `finish` of what `f` writes. Values are cut into tasks of whole rows of `row` numbers; `f` gets the number of a
/// task's first row, and memory for its rows.
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

/// `finish` of a function of the `channels` true numbers of each `stored` ones. What fills up a panel stays 0.
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

/// `finish` of the gradient of [`function()`], given what it read.
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

/// `finish` of `times` where `x` is above 0, and of `slopes * times` elsewhere, with one slope for each stored channel.
/// With `x` for `times` it is the function; with the gradient of its output for `times`, the gradient of its input.
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

/// `finish` of `x * factor`. A sample of `x` has `size` numbers in rows of `stored` ones, a row for each position. A
/// sample of `factor` has as many, or one row, which multiplies every position.
///
/// # Panics
/// If lengths differ.
pub fn multiply<T: Real>((size, stored): (usize, usize), x: &[T], factor: &[T], finish: Finish<'_, T>) {
    assert_eq!(x.len(), finish.out.len());
    // One position's factors multiply the whole sample.
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

/// `finish` of the gradient of the factor of [`multiply`], given the other factor.
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
