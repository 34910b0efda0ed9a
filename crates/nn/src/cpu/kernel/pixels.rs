//! The gradient of pixels, that is, of the first convolution's input, which has one to four channels.
//!
//! For so few channels, panels of 16 columns would be mostly filling. The product therefore has the kernel's taps
//! as rows and the positions as columns. Every tap's line of sums is added to the positions that the tap reads.

use super::conv::PATCHES;
use super::gemm::{PatchRows, Product};
use super::pointwise::finish_all;
use super::vector::{Kernel, PANEL, Vector, dispatch};
use super::{Buffer, Conv, Finish, Real};

/// Torch's weight `[out, in, kh, kw]` as `[kernel row, kernel column, channel][stored out]`, each output
/// channel times `scale`.
pub(super) fn taps<T: Real>(shape: &Conv, weight: &[T], scale: Option<&[T]>) -> Vec<T> {
    let [_, n] = shape.group();
    let mut taps = vec![T::ZERO; shape.patch() * n];
    for (p, tap) in taps.chunks_exact_mut(n).enumerate() {
        for (o, value) in tap.iter_mut().enumerate() {
            if let Some(i) = shape.weight_index(0, o, p) {
                *value = weight[i] * scale.map_or(T::from_f64(1.0), |s| s[o]);
            }
        }
    }
    taps
}

/// `finish(dx)` of one sample, from the gradient `dy` of the convolution's output.
pub(super) fn gradient<T: Real>(shape: &Conv, taps: &[T], dy: &[T], finish: Finish<'_, T>) {
    let ([c, h, w], [tall, wide]) = (shape.input, shape.axes);
    let [_, rows, columns] = shape.output();
    let ([_, n], count) = (shape.group(), shape.patch());
    // The image with its padding, channel by channel.
    let (height, width) = (tall.padded(h), wide.padded(w));
    let block = (PATCHES / (count * columns * size_of::<T>())).clamp(1, rows);
    let most = (block * columns).next_multiple_of(PANEL);
    let mut scratch = Buffer::take(c * height * width + most * n + count * most + finish.out.len());
    let (planes, rest) = scratch.split_at_mut(c * height * width);
    let (panels, rest) = rest.split_at_mut(most * n);
    let (sums, dx) = rest.split_at_mut(count * most);
    planes.fill(T::ZERO);
    for (i, dy) in dy.chunks(block * columns * n).enumerate() {
        let positions = dy.len() / n;
        let filled = positions.next_multiple_of(PANEL);
        let (panels, sums) = (&mut panels[..filled * n], &mut sums[..count * filled]);
        into_columns(dy, n, panels);
        dispatch(Product { rows: PatchRows::whole(taps, n), m: count, panels, k: n, out: sums });
        for (tap, sums) in sums.chunks_exact(filled).enumerate() {
            let (channel, kx, ky) = (tap % c, tap / c % wide.kernel, tap / c / wide.kernel);
            for (row, line) in sums[..positions].chunks_exact(columns).enumerate() {
                let y = (i * block + row) * tall.stride + ky * tall.dilation;
                let to = &mut planes[(channel * height + y) * width + kx * wide.dilation..];
                add(line, to, wide.stride);
            }
        }
    }
    for (channel, plane) in planes.chunks_exact(height * width).enumerate() {
        for y in 0..h {
            let line = &plane[(y + tall.before) * width + wide.before..][..w];
            for (x, value) in line.iter().enumerate() {
                dx[(y * w + x) * c + channel] = *value;
            }
        }
    }
    finish_all(dx, finish);
}

/// Adds a line of sums to every `stride`th number.
fn add<T: Real>(line: &[T], to: &mut [T], stride: usize) {
    if stride == 1 {
        for (to, sum) in to.iter_mut().zip(line) {
            *to += *sum;
        }
    } else {
        for (to, sum) in to.iter_mut().step_by(stride).zip(line) {
            *to += *sum;
        }
    }
}

/// Converts `[positions, n]` to panels of 16 positions, `[n][16]` each, filled up with zeros.
fn into_columns<T: Real>(dy: &[T], n: usize, panels: &mut [T]) {
    let whole = dy.len() / (PANEL * n) * PANEL * n;
    dispatch(Transpose { dy: &dy[..whole], n, panels: &mut panels[..whole] });
    for (i, value) in panels[whole..].iter_mut().enumerate() {
        let (channel, position) = (i / PANEL, i % PANEL);
        *value = dy[whole..].get(position * n + channel).copied().unwrap_or(T::ZERO);
    }
}

/// Transposes whole panels.
struct Transpose<'a, T> {
    dy: &'a [T],
    n: usize,
    panels: &'a mut [T],
}

impl<T: Real> Kernel<T> for Transpose<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { dy, n, panels } = self;
        assert!(n.is_multiple_of(PANEL) && dy.len() == panels.len() && dy.len().is_multiple_of(PANEL * n));
        for panel in (0..dy.len()).step_by(PANEL * n) {
            for first in (0..n).step_by(PANEL) {
                // SAFETY: a panel is 16 lines of `n` numbers, and as many numbers in `panels`.
                unsafe {
                    let (from, to) = (dy.as_ptr().add(panel + first), panels.as_mut_ptr().add(panel));
                    V::transpose(from, n, to.add(first * PANEL));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vector::each;
    use super::*;

    struct Whole<'a>(&'a [f32], usize, Vec<f32>);
    impl Kernel<f32> for Whole<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<V: Vector<Lane = f32>>(mut self) -> Vec<f32> {
            Transpose { dy: self.0, n: self.1, panels: &mut self.2 }.run::<V>();
            self.2
        }
    }

    #[test]
    fn columns_are_transposed_in_all_registers_and_filled_with_zeros() {
        let (positions, n) = (37, 32);
        let dy: Vec<f32> = (0..positions * n).map(|i| i as f32).collect();
        let want = |positions: usize| -> Vec<f32> {
            let at = |i: usize| (i / (PANEL * n) * PANEL + i % PANEL, i % (PANEL * n) / PANEL);
            let value = |(p, c): (usize, usize)| if p < positions { dy[p * n + c] } else { 0.0 };
            (0..positions.next_multiple_of(PANEL) * n).map(|i| value(at(i))).collect()
        };
        let mut panels = vec![f32::NAN; 48 * n];
        into_columns(&dy, n, &mut panels);
        assert_eq!(panels, want(positions));
        each(
            || Whole(&dy[..32 * n], n, vec![f32::NAN; 32 * n]),
            |name, got| assert_eq!(got, want(32), "{name}"),
        );
    }
}
