//! The ways in which contenders run: our registers, and modes of `PyTorch`.

use temper_nn::kernel::vector::{Registers, limit};

use crate::works::{Part, Work};

/// Registers that our kernels take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Simd {
    /// Plain arrays, as on a processor that has neither
    Portable,
    /// AVX2 and FMA
    Avx2,
    /// AVX-512
    Avx512,
}

impl Simd {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Simd::Portable => "portable",
            Simd::Avx2 => "avx2",
            Simd::Avx512 => "avx512",
        }
    }

    /// Makes the kernels of this process use these registers; returns an error if the processor lacks them.
    pub(crate) fn force(self) -> anyhow::Result<()> {
        let registers = match self {
            Simd::Portable => Registers::Portable,
            Simd::Avx2 => Registers::Avx2,
            Simd::Avx512 => Registers::Avx512,
        };
        anyhow::ensure!(limit(registers), "--simd {}: this processor does not have {registers}", self.name());
        Ok(())
    }
}

/// A mode of `PyTorch`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// `eager` or `compile`.
    pub(crate) engine: &'static str,
    /// Automatic mixed precision.
    pub(crate) bf16: bool,
    pub(crate) layout: &'static str,
}

impl Mode {
    /// Modes in which a work is measured. `AutoAttack` is measured only in eager mode: its batches shrink with
    /// every image that breaks, and a graph is compiled again for each size. Mixed precision is measured only
    /// for steps: it changes the results of attacks and of training.
    pub(crate) fn all(work: Work, bf16: bool) -> Vec<Self> {
        let engines = if work.part == Part::Autoattack { &["eager"][..] } else { &["eager", "compile"] };
        let precisions = if bf16 && work.is_step() { &[false, true][..] } else { &[false] };
        let mut modes = vec![];
        for engine in engines {
            for bf16 in precisions {
                for layout in ["contiguous", "channels_last"] {
                    modes.push(Self { engine, bf16: *bf16, layout });
                }
            }
        }
        modes
    }
}

/// Whether the processor has instructions that multiply 16-bit numbers (bf16).
pub(crate) fn has_bf16() -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = flags.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    line.split_whitespace().any(|flag| matches!(flag, "avx512_bf16" | "amx_bf16"))
}
