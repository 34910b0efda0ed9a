//! The two number types that kernels run in.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Sub, SubAssign};

use super::buffer::Element;
use super::vector::{Kernel, dispatch_f32, dispatch_plain};

/// `f32` for work, `f64` for tests against finite differences.
pub trait Real:
    candle_core::WithDType
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
    + Default
    + Element
{
    /// 0.
    const ZERO: Self;
    /// Below every number.
    const LOWEST: Self;
    /// `self * a + b`, rounded once.
    fn fused(self, a: Self, b: Self) -> Self;
    /// Runs a kernel with the best registers of this processor.
    fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output;
}

macro_rules! real {
    ($t:ty, $dispatch:path) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const LOWEST: Self = <$t>::NEG_INFINITY;
            #[inline(always)]
            fn fused(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
            #[inline]
            fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output {
                $dispatch(kernel)
            }
        }
    };
}
real!(f32, dispatch_f32);
real!(f64, dispatch_plain);
