//! Memory of kernels: aligned to cache lines, and reused, since new memory costs a page fault every 4 KiB.

use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Bytes in a cache line, and in the widest register.
pub(super) const LINE: usize = 64;

/// An element of buffers: a number, or a byte of a tape.
pub trait Element: Copy + Debug + Default + 'static {
    /// Memory that no [`Buffer`] currently holds.
    fn pool() -> &'static Mutex<Vec<Vec<Self>>>;
}

macro_rules! element {
    ($($t:ty),+) => {$(
        impl Element for $t {
            fn pool() -> &'static Mutex<Vec<Vec<Self>>> {
                static POOL: Mutex<Vec<Vec<$t>>> = Mutex::new(vec![]);
                &POOL
            }
        }
    )+};
}
element!(f32, f64, u8);

/// Elements that begin at the start of a cache line, so that no register load touches two lines. The next buffer
/// reuses the memory of a dropped one.
#[derive(Debug)]
pub struct Buffer<T: Element> {
    data: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Element> Buffer<T> {
    /// A buffer of `len` elements, with old values.
    pub fn take(len: usize) -> Self {
        let line = LINE / size_of::<T>();
        // Sizes grow in steps of an eighth, so that batches of many sizes share few buffers.
        let step = ((len + line).next_power_of_two() / 8).max(line);
        let room = (len + line).next_multiple_of(step);
        let fits = |data: &Vec<T>| data.len() >= room && data.len() <= 2 * room;
        let mut pool = T::pool().lock().unwrap_or_else(PoisonError::into_inner);
        let best = pool.iter().enumerate().filter(|(_, data)| fits(data)).min_by_key(|(_, data)| data.len());
        let old = best.map(|(i, _)| i).map(|i| pool.swap_remove(i));
        drop(pool);
        let data = old.unwrap_or_else(|| vec![T::default(); room]);
        // If the offset is unknown (under Miri), the buffer is not aligned.
        let start = data.as_ptr().align_offset(LINE).min(line);
        Self { data, start, len }
    }

    /// Keeps only the first `len` elements.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// A buffer of `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::take(len);
        buffer.fill(T::default());
        buffer
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        T::pool().lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.data));
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.data[self.start..self.start + self.len]
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[self.start..self.start + self.len]
    }
}

/// Splits `data` into planes of `plane` numbers, and each plane into pieces of `piece` numbers. Returns for every
/// piece its part of all planes, so that tasks that write a part of each plane share no memory.
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
