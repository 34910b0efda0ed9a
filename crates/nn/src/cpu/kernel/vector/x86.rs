//! The registers of `x86_64` processors.
//!
//! The methods are safe to call because these types never leave this crate, and are named only by kernels that run
//! inside [`avx2`] and [`avx512`], which require the features.

use std::arch::x86_64::{
    __m256, __m512, _CMP_GT_OQ, _CMP_UNORD_Q, _MM_HINT_T0, _mm_cmpeq_epi8, _mm_loadl_epi64, _mm_loadu_si128,
    _mm_movemask_epi8, _mm_packus_epi16, _mm_packus_epi32, _mm_prefetch, _mm_set1_epi8, _mm_sfence,
    _mm_storel_epi64, _mm_storeu_si128, _mm256_add_ps, _mm256_and_ps, _mm256_and_si256, _mm256_blendv_ps,
    _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cmpeq_epi32, _mm256_cvtps_epi32,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_max_ps, _mm256_movemask_ps, _mm256_mul_ps,
    _mm256_or_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps, _mm256_stream_ps,
    _mm256_sub_ps, _mm512_add_ps, _mm512_castpd_ps, _mm512_castps_pd, _mm512_cmp_ps_mask,
    _mm512_cvtepi32_epi8, _mm512_cvtps_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_blend_ps,
    _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_stream_ps, _mm512_sub_ps, _mm512_unpackhi_pd,
    _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

use super::registers::allowed;
use super::{Kernel, Registers, Vector};

pub(super) fn has_avx2() -> bool {
    allowed(Registers::Avx2) && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

pub(super) fn has_avx512() -> bool {
    allowed(Registers::Avx512)
        && has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn avx2<K: Kernel<f32>>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

#[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
pub(super) fn avx512<K: Kernel<f32>>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// A register's numbers at any address. The processor's load intrinsics check their addresses in builds with debug
/// assertions, at several times the cost of the load.
#[repr(C, packed)]
struct Anywhere<R>(R);

/// Reads a register.
///
/// # Safety
/// `from` must be valid for a read of the register's numbers.
#[inline(always)]
unsafe fn anywhere<R: Copy>(from: *const f32) -> R {
    // SAFETY: the caller's promise; a packed struct needs no alignment.
    unsafe { (*from.cast::<Anywhere<R>>()).0 }
}

/// Writes a register.
///
/// # Safety
/// `to` must be valid for a write of the register's numbers.
#[inline(always)]
unsafe fn put_anywhere<R>(to: *mut f32, numbers: R) {
    // SAFETY: as in `anywhere`.
    unsafe { (*to.cast::<Anywhere<R>>()).0 = numbers }
}

/// Eight lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

// SAFETY of every block below: the features are there, as the module's head says; pointers are the caller's
// promise.

impl Vector for Avx2 {
    type Lane = f32;
    const LANES: usize = 8;
    const ROWS: usize = 6;
    type PanelRow = [Self; 2];
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(unsafe { _mm256_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { anywhere(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { put_anywhere(to, self.0) }
    }
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32) {
        debug_assert!(to.addr().is_multiple_of(size_of::<__m256>()));
        unsafe { _mm256_stream_ps(to, self.0) }
    }
    #[inline(always)]
    fn fence() {
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        Self(unsafe { _mm256_fmadd_ps(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn relu(self) -> Self {
        // If an operand is NaN, the instruction returns the second one.
        Self(unsafe { _mm256_max_ps(_mm256_setzero_ps(), self.0) })
    }
    #[inline(always)]
    fn signs(self) -> u16 {
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, _mm256_setzero_ps())) as u16 }
    }
    #[inline(always)]
    fn keep(self, bits: u16) -> Self {
        unsafe {
            let lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_and_si256(_mm256_set1_epi32(i32::from(bits)), lanes);
            Self(_mm256_and_ps(self.0, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lanes))))
        }
    }
    #[inline(always)]
    fn larger(self, mark: Self, best: (Self, Self)) -> (Self, Self) {
        unsafe {
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, best.0.0);
            let wins = _mm256_or_ps(above, _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
            (Self(_mm256_blendv_ps(best.0.0, self.0, wins)), Self(_mm256_blendv_ps(best.1.0, mark.0, wins)))
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        unsafe {
            let whole = _mm256_cvtps_epi32(self.0);
            let (low, high) = (_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
            let words = _mm_packus_epi32(low, high);
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words));
        }
    }
    #[inline(always)]
    unsafe fn equal(bytes: *const u8, to: u8) -> u16 {
        unsafe {
            let equal = _mm_cmpeq_epi8(_mm_loadl_epi64(bytes.cast()), _mm_set1_epi8(to.cast_signed()));
            (_mm_movemask_epi8(equal) & 0xFF) as u16
        }
    }
}

impl Vector for Avx512 {
    type Lane = f32;
    const LANES: usize = 16;
    const ROWS: usize = 14;
    type PanelRow = [Self; 1];
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { anywhere(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { put_anywhere(to, self.0) }
    }
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32) {
        debug_assert!(to.addr().is_multiple_of(size_of::<__m512>()));
        unsafe { _mm512_stream_ps(to, self.0) }
    }
    #[inline(always)]
    fn fence() {
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32) {
        unsafe {
            let mut a = [_mm512_setzero_ps(); 16];
            let mut b = a;
            for i in 0..16 {
                a[i] = _mm512_loadu_ps(from.add(i * stride));
            }
            // Pairs of lines, then pairs of pairs: 4 x 4 blocks, each within a quarter of a register.
            for i in (0..16).step_by(2) {
                b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
                b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
            }
            for i in (0..16).step_by(4) {
                for k in 0..2 {
                    let (x, y) = (_mm512_castps_pd(b[i + k]), _mm512_castps_pd(b[i + 2 + k]));
                    a[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                    a[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                }
            }
            // Moves the quarters to their places.
            for k in 0..4 {
                b[k] = _mm512_shuffle_f32x4::<0x88>(a[k], a[k + 4]);
                b[k + 4] = _mm512_shuffle_f32x4::<0xdd>(a[k], a[k + 4]);
                b[k + 8] = _mm512_shuffle_f32x4::<0x88>(a[k + 8], a[k + 12]);
                b[k + 12] = _mm512_shuffle_f32x4::<0xdd>(a[k + 8], a[k + 12]);
            }
            for k in 0..4 {
                _mm512_storeu_ps(to.add(k * 16), _mm512_shuffle_f32x4::<0x88>(b[k], b[k + 8]));
                _mm512_storeu_ps(to.add((k + 8) * 16), _mm512_shuffle_f32x4::<0xdd>(b[k], b[k + 8]));
                _mm512_storeu_ps(to.add((k + 4) * 16), _mm512_shuffle_f32x4::<0x88>(b[k + 4], b[k + 12]));
                _mm512_storeu_ps(to.add((k + 12) * 16), _mm512_shuffle_f32x4::<0xdd>(b[k + 4], b[k + 12]));
            }
        }
    }
    #[inline(always)]
    fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn relu(self) -> Self {
        // If an operand is NaN, the instruction returns the second one.
        Self(unsafe { _mm512_max_ps(_mm512_setzero_ps(), self.0) })
    }
    #[inline(always)]
    fn signs(self) -> u16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps()) }
    }
    #[inline(always)]
    fn keep(self, bits: u16) -> Self {
        Self(unsafe { _mm512_maskz_mov_ps(bits, self.0) })
    }
    #[inline(always)]
    fn larger(self, mark: Self, best: (Self, Self)) -> (Self, Self) {
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, best.0.0);
            let wins = above | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            (
                Self(_mm512_mask_blend_ps(wins, best.0.0, self.0)),
                Self(_mm512_mask_blend_ps(wins, best.1.0, mark.0)),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(self.0))) }
    }
    #[inline(always)]
    unsafe fn equal(bytes: *const u8, to: u8) -> u16 {
        unsafe {
            let equal = _mm_cmpeq_epi8(_mm_loadu_si128(bytes.cast()), _mm_set1_epi8(to.cast_signed()));
            _mm_movemask_epi8(equal) as u16
        }
    }
}
