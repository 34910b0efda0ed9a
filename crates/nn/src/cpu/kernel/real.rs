//! The two number types of the kernels.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Sub, SubAssign};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Result, bail};

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
    /// The numbers of a tensor's storage, to be changed in place.
    fn slice_mut(storage: &mut CpuStorage) -> Result<&mut [Self]>;
}

macro_rules! real {
    ($t:ty, $variant:ident, $dispatch:path) => {
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
            fn slice_mut(storage: &mut CpuStorage) -> Result<&mut [Self]> {
                match storage {
                    CpuStorage::$variant(values) => Ok(values),
                    other => bail!("expected {}, got {:?}", stringify!($t), other.dtype()),
                }
            }
        }
    };
}
real!(f32, F32, dispatch_f32);
real!(f64, F64, dispatch_plain);
