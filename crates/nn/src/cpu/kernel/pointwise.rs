//! Layers without weights that work on one value at a time, and the change of layout at the pixels.

use super::vector::{Kernel, PANEL, Vector, dispatch};
use super::{Finish, Real, tasks};

/// Values that one task handles.
const CHUNK: usize = 1 << 14;

/// `(x - mean) / std` from NCHW pixels of shape `[c, h, w]` to NHWC activations, each position `stored`
/// numbers long.
pub fn normalize<T: Real>(
    [c, h, w]: [usize; 3],
    stored: usize,
    mean: &[T],
    std: &[T],
    x: &[T],
    out: &mut [T],
) {
    let parts = out.chunks_mut(stored * h * w).zip(x.chunks(c * h * w));
    tasks::each(x.len(), parts, |_, (out, x)| {
        if stored > c {
            out.fill(T::ZERO);
        }
        for (channel, x) in x.chunks(h * w).enumerate() {
            for (i, x) in x.iter().enumerate() {
                out[i * stored + channel] = (*x - mean[channel]) / std[channel];
            }
        }
    });
}

/// Gradient of [`normalize`]: from NHWC to NCHW. If `add`, it is added to the current content of `dx`.
pub fn normalize_gradient<T: Real>(
    [c, h, w]: [usize; 3],
    stored: usize,
    std: &[T],
    gradient: &[T],
    add: bool,
    dx: &mut [T],
) {
    let parts = dx.chunks_mut(c * h * w).zip(gradient.chunks(stored * h * w));
    tasks::each(gradient.len(), parts, |_, (dx, gradient)| {
        for (channel, dx) in dx.chunks_mut(h * w).enumerate() {
            for (i, dx) in dx.iter_mut().enumerate() {
                let old = if add { *dx } else { T::ZERO };
                *dx = old + gradient[i * stored + channel] / std[channel];
            }
        }
    });
}

/// `finish(x)`, on this thread.
pub(crate) fn finish_all<T: Real>(x: &[T], finish: Finish<'_, T>) {
    dispatch(Scaled { x, scale: None, finish });
}

/// `finish(x)`: a sum of values, a `ReLU`, or its gradient.
pub fn pass<T: Real>(x: &[T], finish: Finish<'_, T>) {
    scaled(x, None, finish);
}

/// `finish(x * scale)`, with one scale per stored channel; `finish` adds the shift as its bias. It computes a batch
/// norm with given moments, and its gradient.
pub fn affine<T: Real>(scale: &[T], x: &[T], finish: Finish<'_, T>) {
    scaled(x, Some(scale), finish);
}

fn scaled<T: Real>(x: &[T], scale: Option<&[T]>, finish: Finish<'_, T>) {
    assert_eq!(x.len(), finish.out.len());
    let channels = scale.map_or(PANEL, <[T]>::len);
    assert!(channels.is_multiple_of(PANEL) && finish.bias.is_none_or(|bias| bias.len() == channels));
    let chunk = (CHUNK / channels).max(1) * channels;
    let lengths = (0..x.len()).step_by(chunk).map(|start| chunk.min(x.len() - start));
    let parts = finish.parts(lengths);
    let parts = x.chunks(chunk).zip(parts);
    tasks::each(x.len(), parts, |_, (x, finish)| dispatch(Scaled { x, scale, finish }));
}

struct Scaled<'a, 'f, T> {
    x: &'a [T],
    scale: Option<&'a [T]>,
    finish: Finish<'f, T>,
}

impl<T: Real> Kernel<T> for Scaled<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { x, scale, mut finish } = self;
        assert!(x.len() == finish.out.len());
        let channels = scale.map_or(PANEL, <[T]>::len);
        assert!(finish.bias.is_none_or(|bias| bias.len() >= channels));
        for (row, line) in x.chunks(channels).enumerate() {
            if line.len() < channels {
                // Pixels, which are not stored in panels.
                let mut last = [T::ZERO; PANEL];
                last[..line.len()].copy_from_slice(line);
                // SAFETY: a line is `PANEL` numbers.
                let last = unsafe { super::vector::PanelRow::load(last.as_ptr()) };
                finish.row::<V>(row * channels, 0, line.len(), last);
                continue;
            }
            for channel in (0..channels).step_by(V::LANES) {
                // SAFETY: the line has so many channels, the scale and the bias too, and the output as many
                // numbers as `x`.
                unsafe {
                    let mut v = V::load(line.as_ptr().add(channel));
                    if let Some(scale) = scale {
                        v = v.mul(V::load(scale.as_ptr().add(channel)));
                    }
                    finish.put(row * channels + channel, channel, v);
                }
            }
        }
    }
}
