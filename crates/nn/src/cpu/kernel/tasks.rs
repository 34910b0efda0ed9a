//! Work cut into tasks for all threads.
//!
//! All kernels share one parallel loop, [`numbered`], which calls a function through a pointer. With a separate
//! loop for each kernel and number type, the crate had 252 compiled copies of rayon's `join`.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

/// Multiply-adds, or numbers read and written, below which work stays on one thread. It estimates the work that one
/// thread does in the microseconds that it takes to wake another thread.
const SMALL: usize = 1 << 15;

/// Calls `f` with each part and its index, on all threads. `cost` is the number of multiply-adds of all parts
/// together, or of numbers that they read and write: small work stays on this thread.
pub(crate) fn each<P: Send>(cost: usize, parts: impl IntoIterator<Item = P>, f: impl Fn(usize, P) + Sync) {
    let parts = parts.into_iter();
    if is_small(cost) {
        return parts.enumerate().for_each(|(i, part)| f(i, part));
    }
    let parts: Vec<Mutex<Option<P>>> = parts.map(|part| Mutex::new(Some(part))).collect();
    numbered(parts.len(), &|i| {
        let part = parts[i].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(part) = part {
            f(i, part);
        }
    });
}

/// The results of `f` for all parts, in order. `cost` is as for [`each`].
pub(crate) fn map<P: Send, R: Send>(
    cost: usize,
    parts: impl IntoIterator<Item = P>,
    f: impl Fn(P) -> R + Sync,
) -> Vec<R> {
    let parts = parts.into_iter();
    if is_small(cost) {
        return parts.map(f).collect();
    }
    let parts: Vec<P> = parts.collect();
    let mut results: Vec<Option<R>> = parts.iter().map(|_| None).collect();
    each(cost, parts.into_iter().zip(&mut results), |_, (part, result)| *result = Some(f(part)));
    results.into_iter().flatten().collect()
}

/// Runs `f` on a thread of the pool, so that the parallel loops in `f` start without waking a thread each time.
/// `cost` is as for [`each`].
pub(crate) fn within<R: Send>(cost: usize, f: impl FnOnce() -> R + Send) -> R {
    if is_small(cost) { f() } else { rayon::scope(|_| f()) }
}

fn is_small(cost: usize) -> bool {
    cost < SMALL
}

/// Calls `f` with every number from 0 to `n - 1`, on all threads.
fn numbered(n: usize, f: &(dyn Fn(usize) + Sync)) {
    (0..n).into_par_iter().for_each(f);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_handled_once_and_results_keep_their_order() {
        for cost in [0, SMALL] {
            let mut out = vec![0; 1000];
            each(cost, out.chunks_mut(7), |i, part| part.iter_mut().for_each(|x| *x += i + 1));
            let want: Vec<usize> = (0..1000).map(|i| i / 7 + 1).collect();
            assert_eq!(out, want);
            let sums = map(cost, out.chunks(7), |part| part.iter().sum::<usize>());
            assert_eq!(sums, want.chunks(7).map(|part| part.iter().sum::<usize>()).collect::<Vec<_>>());
            assert_eq!(within(cost, || map(cost, [1, 2, 3], |x| x * x)), [1, 4, 9]);
        }
    }
}
