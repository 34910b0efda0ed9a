//! Memory of kernels: aligned to cache lines, and used again. Fresh memory costs a page fault every 4 KiB, which was a quarter
//! of a training step.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use super::Real;

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;

/// Numbers that begin with a cache line, so that no register's load touches two. Dropped, its memory serves the next.
#[derive(Debug)]
pub struct Buffer<T: Real> {
    data: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Real> Buffer<T> {
    /// Old numbers.
    pub fn take(len: usize) -> Self {
        let line = LINE / size_of::<T>();
        let fits = |data: &Vec<T>| data.len() >= len + line && data.len() <= 2 * len + 4096;
        let mut pool = T::pool().lock().unwrap_or_else(PoisonError::into_inner);
        let best = pool.iter().enumerate().filter(|(_, data)| fits(data)).min_by_key(|(_, data)| data.len());
        let old = best.map(|(i, _)| i).map(|i| pool.swap_remove(i));
        drop(pool);
        let data = old.unwrap_or_else(|| vec![T::ZERO; len + line]);
        // An offset that cannot be told (under Miri) costs speed, and nothing else.
        let start = data.as_ptr().align_offset(LINE).min(line);
        Self { data, start, len }
    }

    /// Zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::take(len);
        buffer.fill(T::ZERO);
        buffer
    }
}

impl<T: Real> Drop for Buffer<T> {
    fn drop(&mut self) {
        T::pool().lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.data));
    }
}

impl<T: Real> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.data[self.start..self.start + self.len]
    }
}

impl<T: Real> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[self.start..self.start + self.len]
    }
}

/// Cuts `data` into planes of `plane` numbers, and each plane into pieces of `piece`; gives for every piece its part of all
/// planes. Tasks that write a part of each plane then share nothing.
pub(super) fn across<T>(data: &mut [T], plane: usize, piece: usize) -> Vec<Vec<&mut [T]>> {
    let pieces = plane.div_ceil(piece);
    let planes = data.len() / plane;
    let mut all: Vec<Vec<&mut [T]>> = (0..pieces).map(|_| Vec::with_capacity(planes)).collect();
    for plane in data.chunks_exact_mut(plane) {
        for (piece, all) in plane.chunks_mut(piece).zip(&mut all) {
            all.push(piece);
        }
    }
    all
}
