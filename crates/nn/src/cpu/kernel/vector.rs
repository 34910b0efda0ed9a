//! Registers of lanes, and the selection of the kind that the processor has.
//!
//! A kernel is written once, over [`Vector`], and compiled for each kind of register: AVX-512, AVX2 with FMA, and
//! plain arrays. [`dispatch`] checks the processor's features and runs the best version. All kinds do the same
//! operations in the same order; those with fused multiply-add return the same bits.

mod registers;

pub use registers::{Registers, limit, registers};

use super::Real;

/// Number of columns of a panel. A matrix product computes this many at once, and the number of stored channels is
/// a multiple of it.
pub const PANEL: usize = 16;

/// A register of numbers.
pub trait Vector: Copy {
    /// The type of its numbers.
    type Lane: Real;
    /// Number of lanes; divides [`PANEL`].
    const LANES: usize;
    /// Number of rows of a matrix product's tile that leave registers for its operands.
    const ROWS: usize;
    /// One row of a panel.
    type PanelRow: PanelRow<Lane = Self::Lane>;

    /// One number in every lane.
    fn splat(x: Self::Lane) -> Self;
    /// Reads `LANES` numbers.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` numbers.
    unsafe fn load(from: *const Self::Lane) -> Self;
    /// Writes `LANES` numbers.
    ///
    /// # Safety
    /// `to` must be valid for writes of `LANES` numbers.
    unsafe fn store(self, to: *mut Self::Lane);
    /// Writes `LANES` numbers past the caches if the processor can: for numbers that are not read soon.
    /// [`Self::fence`] must follow before any thread reads them.
    ///
    /// # Safety
    /// `to` must be valid for writes of `LANES` numbers, at an address that is a multiple of their size, or of
    /// the size of a cache line.
    #[inline(always)]
    unsafe fn stream(self, to: *mut Self::Lane) {
        // SAFETY: the caller's promise.
        unsafe { self.store(to) }
    }
    /// Completes the writes of [`Self::stream`] on this thread.
    #[inline(always)]
    fn fence() {}
    /// Transposes a block of 16 x 16: lines of `from` are `stride` numbers apart, lines of `to` 16.
    ///
    /// # Safety
    /// Both blocks must be valid: `from` for reads, `to` for writes.
    #[inline(always)]
    unsafe fn transpose(from: *const Self::Lane, stride: usize, to: *mut Self::Lane) {
        for i in 0..PANEL {
            for j in 0..PANEL {
                // SAFETY: the caller's promise.
                unsafe { *to.add(j * PANEL + i) = *from.add(i * stride + j) };
            }
        }
    }
    /// Prefetches the cache line at this address, which need not be valid.
    #[inline(always)]
    fn prefetch(_at: *const Self::Lane) {}
    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self - other`.
    fn sub(self, other: Self) -> Self;
    /// `self * other`.
    fn mul(self, other: Self) -> Self;
    /// `self * a + b`, rounded once where the processor can.
    fn fma(self, a: Self, b: Self) -> Self;
    /// `max(self, 0)`; a NaN stays.
    fn relu(self) -> Self;
    /// Bit `i` is 1 if lane `i` is above 0.
    fn signs(self) -> u16;
    /// Sets the lanes whose bit is 0 to 0.
    fn keep(self, bits: u16) -> Self;
    /// The larger of `self` and `best` in each lane, with its mark. If both are equal, it is `best`; a NaN stays.
    fn larger(self, mark: Self, best: (Self, Self)) -> (Self, Self);
    /// Writes whole numbers from 0 to 255 as bytes.
    ///
    /// # Safety
    /// `to` must be valid for writes of `LANES` bytes.
    unsafe fn store_bytes(self, to: *mut u8);
    /// Bit `i` is 1 if byte `i` of `LANES` equals `to`.
    ///
    /// # Safety
    /// `bytes` must be valid for reads of `LANES` bytes.
    unsafe fn equal(bytes: *const u8, to: u8) -> u16;
}

/// One row of a panel, in registers.
pub trait PanelRow: Copy {
    /// The type of its numbers.
    type Lane: Real;
    /// All 0.
    fn zero() -> Self;
    /// Reads [`PANEL`] numbers.
    ///
    /// # Safety
    /// `from` must be valid for reads of [`PANEL`] numbers.
    unsafe fn load(from: *const Self::Lane) -> Self;
    /// Writes [`PANEL`] numbers.
    ///
    /// # Safety
    /// `to` must be valid for writes of [`PANEL`] numbers.
    unsafe fn store(self, to: *mut Self::Lane);
    /// As [`Vector::stream`].
    ///
    /// # Safety
    /// `to` must be valid for writes of [`PANEL`] numbers, at an address that is a multiple of their size, or of
    /// the size of a cache line.
    unsafe fn stream(self, to: *mut Self::Lane);
    /// `row * x + self`.
    fn grow(self, x: Self::Lane, row: Self) -> Self;
}

impl<V: Vector, const N: usize> PanelRow for [V; N] {
    type Lane = V::Lane;
    #[inline(always)]
    fn zero() -> Self {
        [V::splat(V::Lane::ZERO); N]
    }
    #[inline(always)]
    unsafe fn load(from: *const V::Lane) -> Self {
        const { assert!(N * V::LANES == PANEL) }
        let mut row = Self::zero();
        for (i, v) in row.iter_mut().enumerate() {
            // SAFETY: the caller's promise, for each part.
            *v = unsafe { V::load(from.add(i * V::LANES)) };
        }
        row
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut V::Lane) {
        const { assert!(N * V::LANES == PANEL) }
        for (i, v) in self.into_iter().enumerate() {
            // SAFETY: the caller's promise, for each part.
            unsafe { v.store(to.add(i * V::LANES)) }
        }
    }
    #[inline(always)]
    unsafe fn stream(self, to: *mut V::Lane) {
        for (i, v) in self.into_iter().enumerate() {
            // SAFETY: the caller's promise, for each part.
            unsafe { v.stream(to.add(i * V::LANES)) }
        }
    }
    #[inline(always)]
    fn grow(self, x: V::Lane, row: Self) -> Self {
        let x = V::splat(x);
        let mut sums = self;
        for i in 0..N {
            sums[i] = x.fma(row[i], self[i]);
        }
        sums
    }
}

/// A computation that is written over [`Vector`].
pub trait Kernel<T> {
    /// The type of its result.
    type Output;
    /// Runs the computation. Every implementation, and every function that it calls, must be `#[inline(always)]`:
    /// the registers' instructions exist only inside the function that was compiled for them.
    fn run<V: Vector<Lane = T>>(self) -> Self::Output;
}

/// Runs `kernel` with the best registers of this processor.
#[inline]
pub fn dispatch<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    T::dispatch(kernel)
}

/// Plain arrays. With `FMA`, multiply and add are fused, which is slow if the processor has no such instruction.
#[derive(Clone, Copy)]
pub(super) struct Plain<T, const FMA: bool>([T; 8]);

impl<T: Real, const FMA: bool> Vector for Plain<T, FMA> {
    type Lane = T;
    const LANES: usize = 8;
    const ROWS: usize = 4;
    type PanelRow = [Self; 2];
    #[inline(always)]
    fn splat(x: T) -> Self {
        Self([x; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller promises eight numbers, and arrays of them are no more strictly aligned than
        // one.
        Self(unsafe { *from.cast::<[T; 8]>() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: as in `load`.
        unsafe { *to.cast::<[T; 8]>() = self.0 }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let mut out = self.0;
        for i in 0..8 {
            out[i] += other.0[i];
        }
        Self(out)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let mut out = self.0;
        for i in 0..8 {
            out[i] -= other.0[i];
        }
        Self(out)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let mut out = self.0;
        for i in 0..8 {
            out[i] *= other.0[i];
        }
        Self(out)
    }
    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        // A loop, not a closure: code that is not inlined into the function with the processor's features calls a
        // function of the C library for each number.
        let mut out = self.0;
        for i in 0..8 {
            out[i] = match FMA {
                true => out[i].fused(a.0[i], b.0[i]),
                false => out[i] * a.0[i] + b.0[i],
            };
        }
        Self(out)
    }
    #[inline(always)]
    fn relu(self) -> Self {
        let mut out = self.0;
        for x in &mut out {
            *x = if *x < T::ZERO { T::ZERO } else { *x };
        }
        Self(out)
    }
    #[inline(always)]
    fn signs(self) -> u16 {
        self.0.iter().enumerate().fold(0, |bits, (i, x)| bits | u16::from(*x > T::ZERO) << i)
    }
    #[inline(always)]
    fn keep(self, bits: u16) -> Self {
        let mut out = self.0;
        for (i, x) in out.iter_mut().enumerate() {
            *x = if bits >> i & 1 == 1 { *x } else { T::ZERO };
        }
        Self(out)
    }
    #[inline(always)]
    fn larger(self, mark: Self, mut best: (Self, Self)) -> (Self, Self) {
        for i in 0..8 {
            #[allow(clippy::eq_op)]
            if self.0[i] > best.0.0[i] || self.0[i] != self.0[i] {
                (best.0.0[i], best.1.0[i]) = (self.0[i], mark.0[i]);
            }
        }
        best
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        // SAFETY: the caller promises room for eight.
        unsafe { *to.cast::<[u8; 8]>() = self.0.map(|x| x.to_f64() as u8) }
    }
    #[inline(always)]
    unsafe fn equal(bytes: *const u8, to: u8) -> u16 {
        // SAFETY: the caller promises eight.
        let bytes = unsafe { *bytes.cast::<[u8; 8]>() };
        bytes.iter().enumerate().fold(0, |bits, (i, byte)| bits | u16::from(*byte == to) << i)
    }
}

/// Runs `kernel` with plain arrays, and with fused operations where the processor has them.
#[inline]
pub(super) fn dispatch_plain<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx2() {
        #[target_feature(enable = "avx2,fma")]
        fn fused<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
            kernel.run::<Plain<T, true>>()
        }
        // SAFETY: the processor has the features that the function is compiled for, as just asked.
        return unsafe { fused(kernel) };
    }
    kernel.run::<Plain<T, false>>()
}

/// As [`dispatch`], for `f32`.
#[inline]
pub(super) fn dispatch_f32<K: Kernel<f32>>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx512() {
            // SAFETY: the processor has the features that the function is compiled for, as just asked.
            return unsafe { x86::avx512(kernel) };
        }
        if x86::has_avx2() {
            // SAFETY: as above.
            return unsafe { x86::avx2(kernel) };
        }
    }
    kernel.run::<Plain<f32, false>>()
}

#[cfg(target_arch = "x86_64")]
mod x86;

/// Runs a kernel with every kind of registers that this processor has, and passes each result to `see`: for tests.
#[cfg(test)]
pub(crate) fn each<K: Kernel<f32>>(mut kernel: impl FnMut() -> K, mut see: impl FnMut(&str, K::Output)) {
    see("plain", kernel().run::<Plain<f32, false>>());
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx2() {
            // SAFETY: the processor has the features, as just asked.
            see("avx2", unsafe { x86::avx2(kernel()) });
        }
        if x86::has_avx512() {
            // SAFETY: as above.
            see("avx512", unsafe { x86::avx512(kernel()) });
        }
    }
}
