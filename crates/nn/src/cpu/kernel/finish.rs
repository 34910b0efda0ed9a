//! Operations on sums between a kernel's registers and its output.

use super::Real;
use super::vector::{PANEL, PanelRow, Vector};

/// An additional summand of a sum.
#[derive(Debug, Clone, Copy)]
pub enum Addend<'a, T> {
    /// No summand.
    None,
    /// The current content of the output.
    Output,
    /// Another value of the output's shape.
    Value(&'a [T]),
}

/// The output of sums, and the operations on them: `out = open * relu(sums + bias + addend)`. There is one bit per
/// number of `out`, in the same order. `bias`, bits and `relu` with `signs` need whole panels of channels.
#[derive(Debug)]
pub struct Finish<'a, T> {
    /// The output: rows of channels.
    pub out: &'a mut [T],
    /// One number per channel.
    pub bias: Option<&'a [T]>,
    /// The additional summand.
    pub addend: Addend<'a, T>,
    /// Whether the result is `max(sum, 0)`.
    pub relu: bool,
    /// Receives one bit per sum, if `relu`: whether the sum was above 0.
    pub signs: Option<&'a mut [u8]>,
    /// The result is zero where a bit is 0: the gradient of a `ReLU` whose `signs` these were.
    pub open: Option<&'a [u8]>,
}

impl<'a, T: Real> Finish<'a, T> {
    /// Stores sums unchanged.
    pub fn plain(out: &'a mut [T]) -> Self {
        Self { out, bias: None, addend: Addend::None, relu: false, signs: None, open: None }
    }

    /// Whether sums are stored unchanged.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.bias.is_none() && matches!(self.addend, Addend::None) && !self.relu && self.open.is_none()
    }

    /// Splits it into parts of these lengths, which must be multiples of 16 if there are bits.
    pub(crate) fn parts(self, lengths: impl Iterator<Item = usize>) -> Vec<Self> {
        let Self { mut out, bias, addend, relu, mut signs, open } = self;
        if let Addend::Value(value) = addend {
            assert_eq!(value.len(), out.len());
        }
        assert!(signs.as_ref().is_none_or(|signs| signs.len() * 8 == out.len()));
        assert!(open.is_none_or(|open| open.len() * 8 == out.len()));
        let mut start = 0;
        let mut parts = vec![];
        for length in lengths {
            let range = start..start + length;
            let bits = range.start / 8..range.end / 8;
            let head;
            (head, out) = std::mem::take(&mut out).split_at_mut(length);
            let mut head_signs = None;
            if let Some(rest) = signs.take() {
                let (head, rest) = rest.split_at_mut(bits.len());
                (head_signs, signs) = (Some(head), Some(rest));
            }
            start = range.end;
            parts.push(Self {
                out: head,
                bias,
                addend: match addend {
                    Addend::Value(value) => Addend::Value(&value[range]),
                    other => other,
                },
                relu,
                signs: head_signs,
                open: open.map(|open| &open[bits]),
            });
        }
        parts
    }

    /// Prefetches the cache lines of the numbers that will be put at `at`.
    #[inline(always)]
    pub(super) fn prefetch<V: Vector<Lane = T>>(&self, at: usize) {
        V::prefetch(self.out.as_ptr().wrapping_add(at));
        if let Addend::Value(value) = self.addend {
            V::prefetch(value.as_ptr().wrapping_add(at));
        }
    }

    /// Puts one register of sums at `at` of the output, for channels from `channel` on.
    ///
    /// # Safety
    /// `at + LANES` must be within `out`, `channel + LANES` within `bias`, and every other slice as long as `out`
    /// (bits: an eighth of it).
    #[inline(always)]
    pub(super) unsafe fn put<V: Vector<Lane = T>>(&mut self, at: usize, channel: usize, sums: V) {
        debug_assert!(at + V::LANES <= self.out.len());
        let mut v = sums;
        // SAFETY: as the caller promises, in every block.
        unsafe {
            if let Some(bias) = self.bias {
                debug_assert!(channel + V::LANES <= bias.len());
                v = v.add(V::load(bias.as_ptr().add(channel)));
            }
            match self.addend {
                Addend::None => {}
                Addend::Output => v = v.add(V::load(self.out.as_ptr().add(at))),
                Addend::Value(value) => {
                    debug_assert!(at + V::LANES <= value.len());
                    v = v.add(V::load(value.as_ptr().add(at)));
                }
            }
            if self.relu {
                if let Some(signs) = &mut self.signs {
                    let bits = v.signs();
                    debug_assert!((at + V::LANES) / 8 <= signs.len());
                    let to = signs.as_mut_ptr().add(at / 8);
                    match V::LANES {
                        16 => to.cast::<u16>().write_unaligned(bits.to_le()),
                        _ => *to = bits as u8,
                    }
                }
                v = v.relu();
            }
            if let Some(open) = self.open {
                debug_assert!((at + V::LANES) / 8 <= open.len());
                let from = open.as_ptr().add(at / 8);
                v = v.keep(match V::LANES {
                    16 => u16::from_le(from.cast::<u16>().read_unaligned()),
                    _ => u16::from(*from),
                });
            }
            v.store(self.out.as_mut_ptr().add(at));
        }
    }

    /// Puts the first `width` columns of a panel.
    #[inline(always)]
    pub(super) fn row<V: Vector<Lane = T>>(
        &mut self,
        at: usize,
        channel: usize,
        width: usize,
        sums: V::PanelRow,
    ) {
        if width == PANEL {
            assert!(at + PANEL <= self.out.len() && self.bias.is_none_or(|b| channel + PANEL <= b.len()));
        }
        if width == PANEL && self.is_plain() {
            // SAFETY: there are `PANEL` numbers, as just checked.
            return unsafe { sums.store(self.out.as_mut_ptr().add(at)) };
        }
        let mut line = [T::ZERO; PANEL];
        // SAFETY: a line is `PANEL` numbers.
        unsafe { sums.store(line.as_mut_ptr()) };
        if width == PANEL {
            for part in (0..PANEL).step_by(V::LANES) {
                // SAFETY: within the output and the bias, as just checked; the rest is as long as `parts`
                // checks.
                unsafe { self.put(at + part, channel + part, V::load(line.as_ptr().add(part))) };
            }
            return;
        }
        assert!(self.signs.is_none() && self.open.is_none(), "bits of a part of a panel");
        for (j, sum) in line[..width].iter().enumerate() {
            let mut v = *sum;
            if let Some(bias) = self.bias {
                v += bias[channel + j];
            }
            match self.addend {
                Addend::None => {}
                Addend::Output => v += self.out[at + j],
                Addend::Value(value) => v += value[at + j],
            }
            self.out[at + j] = if self.relu && v < T::ZERO { T::ZERO } else { v };
        }
    }
}
