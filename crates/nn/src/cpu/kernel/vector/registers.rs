//! The registers that the processor has, and those that kernels may use.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{Kernel, Vector, dispatch};

/// Kinds of registers, from the narrowest to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Registers {
    /// Arrays, without fused multiply-add.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 (F and VL).
    Avx512,
}

/// The widest kind that [`dispatch`] may use, as a number.
static WIDEST: AtomicU8 = AtomicU8::new(Registers::Avx512 as u8);

/// Whether kernels may use these registers, if the processor has them.
pub(super) fn allowed(registers: Registers) -> bool {
    registers as u8 <= WIDEST.load(Ordering::Relaxed)
}

/// Limits the kernels of the whole process to registers no wider than these, to measure one processor as if it were
/// another. Returns `false` and changes nothing if the processor does not have them.
pub fn limit(widest: Registers) -> bool {
    let before = WIDEST.swap(widest as u8, Ordering::Relaxed);
    let has = registers() == widest;
    if !has {
        WIDEST.store(before, Ordering::Relaxed);
    }
    has
}

/// The registers that [`dispatch`] uses for `f32`.
pub fn registers() -> Registers {
    struct Name;
    impl Kernel<f32> for Name {
        type Output = Registers;
        #[inline(always)]
        fn run<V: Vector<Lane = f32>>(self) -> Registers {
            match (V::LANES, V::ROWS) {
                (16, _) => Registers::Avx512,
                (8, 6) => Registers::Avx2,
                _ => Registers::Portable,
            }
        }
    }
    dispatch(Name)
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2 and FMA",
            Self::Avx512 => "AVX-512",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_limited_to_those_that_the_processor_has() {
        let widest = registers();
        for wanted in [Registers::Avx2, Registers::Avx512] {
            let before = registers();
            let has = wanted <= widest;
            assert_eq!((limit(wanted), registers()), (has, if has { wanted } else { before }));
        }
        assert_eq!(registers(), widest);
    }
}
