//! Depth-wise convolutions (Howard et al., "`MobileNets`", 2017): output channel `i` reads only input channel `i`.
//! Channels are neighbours in memory, so a register holds several of them, and no patches are gathered.

use super::pointwise::finish_all;
use super::vector::{Kernel, Vector, dispatch};
use super::winograd::Shapes;
use super::{Buffer, Conv, Finish, Real, stored, tasks};
use crate::graph::{Axis, ConvShape};

/// Output columns that are summed at once, so that a weight is read once for all of them.
const COLUMNS: usize = 4;

/// Torch's weight `[c, 1, kh, kw]`, each channel times its scale, as `[kh, kw, stored c]`.
pub(super) fn taps<T: Real>(shape: &ConvShape, weight: &[T], scale: Option<&[T]>) -> Vec<T> {
    let (channels, taps) = (shape.channels, shape.axes[0].kernel * shape.axes[1].kernel);
    let mut all = vec![T::ZERO; taps * stored(channels)];
    for (channel, weight) in weight.chunks_exact(taps).enumerate() {
        for (tap, weight) in weight.iter().enumerate() {
            let scale = scale.map_or(T::from_f64(1.0), |scale| scale[channel]);
            all[tap * stored(channels) + channel] = *weight * scale;
        }
    }
    all
}

/// The depth-wise convolution that computes the input gradient from the output's gradient, with the taps in the
/// [`opposite`] order. `None` with strides, and with padding beyond the kernel: [`spread`] then computes the
/// gradient.
pub(super) fn transposed(shape: &Conv) -> Option<Conv> {
    let [_, rows, columns] = shape.output();
    let flip = |axis: &Axis| {
        let beyond = axis.extent() - 1;
        let (before, after) = (beyond.checked_sub(axis.before)?, beyond.checked_sub(axis.after)?);
        (axis.stride == 1).then_some(Axis { before, after, ..*axis })
    };
    let axes = [flip(&shape.axes[0])?, flip(&shape.axes[1])?];
    let shape = ConvShape { input: [shape.channels, rows, columns], axes, ..shape.shape };
    Some(Conv { shape, pixels: false })
}

/// Taps in the opposite order.
pub(super) fn opposite<T: Real>(taps: &[T], stored: usize) -> Vec<T> {
    taps.rchunks_exact(stored).flatten().copied().collect()
}

/// Computes output rows from `row` on, counted through the batch, on this thread.
pub(super) fn rows<T: Real>(shape: &Conv, taps: &[T], x: &[T], row: usize, finish: Finish<'_, T>) {
    dispatch(Lines { shape: *shape, taps, x, row, finish });
}

struct Lines<'a, 'f, T> {
    shape: Conv,
    taps: &'a [T],
    x: &'a [T],
    row: usize,
    finish: Finish<'f, T>,
}

impl<T: Real> Kernel<T> for Lines<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { shape, taps, x, row: first, mut finish } = self;
        let Shapes { input: [c, h, w], output: [n, rows, columns] } = shape.shapes();
        let [tall, wide] = shape.axes;
        let count = finish.out.len() / (n * columns);
        assert!(n == c && taps.len() == tall.kernel * wide.kernel * c);
        assert!(finish.out.len() == count * n * columns && x.len().is_multiple_of(c * h * w));
        assert!((first + count).div_ceil(rows) * c * h * w <= x.len());
        assert!(finish.bias.is_none_or(|bias| bias.len() == n));
        for i in 0..count {
            let (sample, y) = ((first + i) / rows, (first + i) % rows * tall.stride);
            let image = &x[sample * c * h * w..][..c * h * w];
            // Kernel rows that fall on the image.
            let from = tall.before.saturating_sub(y).div_ceil(tall.dilation).min(tall.kernel);
            let to = (h + tall.before).saturating_sub(y).div_ceil(tall.dilation).min(tall.kernel).max(from);
            let mut column = 0;
            while column < columns {
                let x0 = column * wide.stride;
                let last = (column + COLUMNS - 1) * wide.stride + wide.extent();
                let whole = x0 >= wide.before && last <= w + wide.before && column + COLUMNS <= columns;
                for channel in (0..c).step_by(V::LANES) {
                    let mut sums = [V::splat(T::ZERO); COLUMNS];
                    for ky in from..to {
                        let line = (y + ky * tall.dilation - tall.before) * w;
                        for kx in 0..wide.kernel {
                            let tap = (ky * wide.kernel + kx) * c + channel;
                            // Left of the image, the difference wraps around and is too large as well.
                            let at = (x0 + kx * wide.dilation).wrapping_sub(wide.before);
                            if !whole && at >= w {
                                continue;
                            }
                            let position = (line + at) * c + channel;
                            // SAFETY: a tap has the lanes from `channel` on, and so has every position of the
                            // image: `line` is a row of it, and so are the columns of a whole block.
                            unsafe {
                                let weight = V::load(taps.as_ptr().add(tap));
                                for (k, sum) in
                                    sums.iter_mut().enumerate().take(if whole { COLUMNS } else { 1 })
                                {
                                    let x = V::load(image.as_ptr().add(position + k * wide.stride * c));
                                    *sum = weight.fma(x, *sum);
                                }
                            }
                        }
                    }
                    let done = if whole { COLUMNS } else { 1 };
                    for (k, sum) in sums.into_iter().take(done).enumerate() {
                        let at = (i * columns + column + k) * n + channel;
                        // SAFETY: the output has so many rows, columns and channels, the bias the channels.
                        unsafe { finish.put(at, channel, sum) };
                    }
                }
                column += if whole { COLUMNS } else { 1 };
            }
        }
    }
}

/// Computes the input gradient of one sample tap by tap, then applies `finish`: for shapes without [`transposed`].
pub(super) fn spread<T: Real>(shape: &Conv, taps: &[T], dy: &[T], finish: Finish<'_, T>) {
    let mut dx = Buffer::zeros(finish.out.len());
    let c = shape.shapes().input[0];
    each_tap(shape, |tap, output, input| {
        let weights = &taps[tap * c..][..c];
        let dx = dx[input * c..][..c].iter_mut();
        for (dx, (dy, weight)) in dx.zip(dy[output * c..][..c].iter().zip(weights)) {
            *dx += *dy * *weight;
        }
    });
    finish_all(&dx, finish);
}

/// Calls `f` with each tap, and the output and input positions that it connects in a sample.
fn each_tap(shape: &Conv, mut f: impl FnMut(usize, usize, usize)) {
    let ([_, h, w], [_, rows, columns], [tall, wide]) = (shape.input, shape.output(), shape.axes);
    for (ky, kx) in (0..tall.kernel).flat_map(|ky| (0..wide.kernel).map(move |kx| (ky, kx))) {
        for y in 0..rows {
            let iy = (y * tall.stride + ky * tall.dilation).wrapping_sub(tall.before);
            for x in 0..columns {
                let ix = (x * wide.stride + kx * wide.dilation).wrapping_sub(wide.before);
                if iy < h && ix < w {
                    f(ky * wide.kernel + kx, y * columns + x, iy * w + ix);
                }
            }
        }
    }
}

/// Gradient with respect to torch's weight `[c, 1, kh, kw]`, summed over the batch, sample by sample in order.
pub(super) fn weight_gradient<T: Real>(shape: &Conv, x: &[T], dy: &[T]) -> Buffer<T> {
    let Shapes { input: [c, h, w], output: [_, rows, columns] } = shape.shapes();
    let taps = shape.axes[0].kernel * shape.axes[1].kernel;
    let sample = |(x, dy): (&[T], &[T])| {
        let mut sums = vec![T::ZERO; taps * c];
        each_tap(shape, |tap, output, input| {
            let sums = sums[tap * c..][..c].iter_mut();
            for (sum, (x, dy)) in sums.zip(x[input * c..][..c].iter().zip(&dy[output * c..][..c])) {
                *sum += *x * *dy;
            }
        });
        sums
    };
    let parts = x.chunks(c * h * w).zip(dy.chunks(c * rows * columns));
    let parts = tasks::map(dy.len() * taps, parts, sample);
    let mut weight = Buffer::zeros(shape.channels * taps);
    for part in parts {
        for (channel, weight) in weight.chunks_exact_mut(taps).enumerate() {
            for (tap, weight) in weight.iter_mut().enumerate() {
                *weight += part[tap * c + channel];
            }
        }
    }
    weight
}
