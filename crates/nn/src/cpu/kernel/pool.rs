//! Max pooling and its gradient.
//!
//! candle 0.11.1's own gradient of max pooling is wrong (a unique maximum of a 2 x 2 window gets 0.25), so this
//! module has its own.

use super::pointwise::finish_all;
use super::vector::{Kernel, PANEL, Vector, dispatch};
use super::{Buffer, Finish, Real, tasks};
use crate::graph::{Axis, Pool};

/// On the tape: this output passes no gradient on, because a `ReLU` before the pooling set every input to 0.
pub const NO_GRADIENT: u8 = u8::MAX;

impl Pool {
    /// Whether every input position belongs to exactly one window.
    fn tiles(&self, [_, h, w]: [usize; 3]) -> bool {
        let tiles = |axis: &Axis, length: usize| {
            let alone = axis.dilation == 1 || axis.kernel == 1;
            !axis.pads() && alone && axis.stride == axis.kernel && length.is_multiple_of(axis.kernel)
        };
        tiles(&self.axes[0], h) && tiles(&self.axes[1], w)
    }

    /// Number of output positions for an input of this shape.
    #[inline(always)]
    pub(super) fn positions(&self, [_, h, w]: [usize; 3]) -> usize {
        self.output([h, w]).map_or(0, |[rows, columns]| rows * columns)
    }

    /// The taps of output number `o` in a sample of this shape.
    #[inline(always)]
    pub(super) fn walk(&self, [_, h, w]: [usize; 3], o: usize) -> Taps {
        let [rows, columns] = self.axes;
        let width = columns.output(w).unwrap_or(1);
        let (y, x) = (o / width * rows.stride, o % width * columns.stride);
        Taps { rows, columns, h, w, y, x, tap: 0 }
    }
}

/// The taps of one output that fall on the input, each with its position there, in order. Plain loops over this
/// iterator are compiled for the processor features of the function around them; closures were not.
#[derive(Clone)]
pub(super) struct Taps {
    rows: Axis,
    columns: Axis,
    h: usize,
    w: usize,
    y: usize,
    x: usize,
    tap: usize,
}

impl Iterator for Taps {
    type Item = (u32, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(u32, usize)> {
        let Self { rows, columns, .. } = *self;
        while self.tap < rows.kernel * columns.kernel {
            let tap = self.tap;
            self.tap += 1;
            // Above or left of the image, the difference wraps around and is too large as well.
            let y = (self.y + tap / columns.kernel * rows.dilation).wrapping_sub(rows.before);
            let x = (self.x + tap % columns.kernel * columns.dilation).wrapping_sub(columns.before);
            if y < self.h && x < self.w {
                return Some((tap as u32, y * self.w + x));
            }
        }
        None
    }
}

/// Pools one NHWC sample of stored shape `input` (channels, height, width). `tape` receives the winning tap of
/// every output: the first that attains the maximum, as in torch. If `shut`, outputs that are not above 0 pass no
/// gradient.
pub(super) fn pool_sample<T: Real>(
    pool: &Pool,
    input: [usize; 3],
    shut: bool,
    x: &[T],
    out: &mut [T],
    tape: &mut [u8],
) {
    dispatch(PoolSample { pool: *pool, input, shut, x, out, tape });
}

struct PoolSample<'a, T> {
    pool: Pool,
    input: [usize; 3],
    shut: bool,
    x: &'a [T],
    out: &'a mut [T],
    tape: &'a mut [u8],
}

impl<T: Real> Kernel<T> for PoolSample<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { pool, input: [c, h, w], shut, x, out, tape } = self;
        let rows = pool.positions([c, h, w]);
        assert!(c.is_multiple_of(PANEL) && x.len() == c * h * w);
        assert!(out.len() == rows * c && tape.len() == out.len());
        for o in 0..rows {
            let taps = pool.walk([c, h, w], o);
            for channel in (0..c).step_by(V::LANES) {
                let mut best = (V::splat(T::LOWEST), V::splat(T::ZERO));
                for (tap, position) in taps.clone() {
                    // SAFETY: the position is inside the sample, and has the lanes from `channel` on.
                    let value = unsafe { V::load(x.as_ptr().add(position * c + channel)) };
                    best = value.larger(V::splat(T::from_f64(f64::from(tap))), best);
                }
                let (value, mut winner) = best;
                if shut {
                    let open = value.signs();
                    winner = winner.keep(open).add(V::splat(T::from_f64(f64::from(NO_GRADIENT))).keep(!open));
                }
                // SAFETY: output and tape have so many lanes for each of their rows.
                unsafe {
                    value.store(out.as_mut_ptr().add(o * c + channel));
                    winner.store_bytes(tape.as_mut_ptr().add(o * c + channel));
                }
            }
        }
    }
}

/// The gradient of one sample's pooling; overwrites `dx`.
pub(super) fn pool_sample_gradient<T: Real>(
    pool: &Pool,
    input: [usize; 3],
    tape: &[u8],
    gradient: &[T],
    dx: &mut [T],
) {
    dispatch(Spread { pool: *pool, input, tape, gradient, dx });
}

struct Spread<'a, T> {
    pool: Pool,
    input: [usize; 3],
    tape: &'a [u8],
    gradient: &'a [T],
    dx: &'a mut [T],
}

impl<T: Real> Kernel<T> for Spread<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { pool, input: [c, h, w], tape, gradient, dx } = self;
        let rows = pool.positions([c, h, w]);
        assert!(c.is_multiple_of(PANEL) && dx.len() == c * h * w);
        assert!(gradient.len() == rows * c && tape.len() == gradient.len());
        let once = pool.tiles([c, h, w]);
        if !once {
            dx.fill(T::ZERO);
        }
        for o in 0..rows {
            let taps = pool.walk([c, h, w], o);
            for channel in (0..c).step_by(V::LANES) {
                // SAFETY: gradient and tape have so many lanes for each output, and `dx` for each position.
                unsafe {
                    let g = V::load(gradient.as_ptr().add(o * c + channel));
                    for (tap, position) in taps.clone() {
                        let to = dx.as_mut_ptr().add(position * c + channel);
                        let share = g.keep(V::equal(tape.as_ptr().add(o * c + channel), tap as u8));
                        if once { share.store(to) } else { V::load(to).add(share).store(to) }
                    }
                }
            }
        }
    }
}

/// Max pooling of NHWC samples of shape `input` (channels, height, width); `out` and `tape` have one entry per
/// output.
pub fn max_pool<T: Real>(pool: &Pool, input: [usize; 3], x: &[T], out: &mut [T], tape: &mut [u8]) {
    let samples = x.len() / input.iter().product::<usize>();
    let (size, pooled) = (x.len() / samples, out.len() / samples);
    let parts = x.chunks(size).zip(out.chunks_mut(pooled).zip(tape.chunks_mut(pooled)));
    tasks::each(x.len(), parts, |_, (x, (out, tape))| pool_sample(pool, input, false, x, out, tape));
}

/// Computes the gradient of [`max_pool`] with respect to its input, then applies `finish`.
pub fn max_pool_gradient<T: Real>(
    pool: &Pool,
    input: [usize; 3],
    tape: &[u8],
    gradient: &[T],
    finish: Finish<'_, T>,
) {
    let size = input.iter().product::<usize>();
    let samples = finish.out.len() / size;
    let pooled = gradient.len() / samples;
    let parts = finish.parts((0..samples).map(|_| size));
    let parts = gradient.chunks(pooled).zip(tape.chunks(pooled)).zip(parts);
    tasks::each(samples * size, parts, |_, ((gradient, tape), finish)| {
        let mut dx = Buffer::take(size);
        pool_sample_gradient(pool, input, tape, gradient, &mut dx);
        finish_all(&dx, finish);
    });
}

#[cfg(test)]
mod tests {
    use super::super::vector::each;
    use super::*;

    fn square(size: usize, stride: usize, padding: usize) -> Pool {
        crate::graph::Pool2d { size, stride, padding }.into()
    }

    /// One channel, repeated to fill a panel.
    fn panel<T: Real>(values: &[T]) -> Vec<T> {
        values.iter().flat_map(|v| [*v; PANEL]).collect()
    }

    #[test]
    fn the_first_maximum_takes_the_gradient() {
        let pool = square(2, 2, 0);
        let (mut out, mut tape, mut dx) = ([0.0; PANEL], [0; PANEL], [9.0; 4 * PANEL]);
        max_pool(&pool, [PANEL, 2, 2], &panel(&[1.0, 3.0, 3.0, 2.0]), &mut out, &mut tape);
        max_pool_gradient(&pool, [PANEL, 2, 2], &tape, &[5.0; PANEL], Finish::plain(&mut dx));
        assert_eq!((out, tape), ([3.0; PANEL], [1; PANEL]));
        assert_eq!(dx[..], panel(&[0.0, 5.0, 0.0, 0.0]));
    }

    #[test]
    fn nan_survives_and_padding_never_wins() {
        let pool = square(3, 2, 1);
        let (mut out, mut tape) = ([0.0; 4 * PANEL], [0; 4 * PANEL]);
        let x = [-1.0, -2.0, -3.0, -4.0, f32::NAN, -6.0, -7.0, -8.0, -9.0];
        max_pool(&pool, [PANEL, 3, 3], &panel(&x), &mut out, &mut tape);
        assert!(out.iter().all(|v| v.is_nan()));
        max_pool(&pool, [PANEL, 3, 3], &[-1.0f32; 9 * PANEL], &mut out, &mut tape);
        assert_eq!(out, [-1.0; 4 * PANEL]);
    }

    /// Both passes of a pooling, with given registers.
    struct Both<'a>(Pool, [usize; 3], &'a [f32]);
    impl Kernel<f32> for Both<'_> {
        type Output = (Vec<f32>, Vec<u8>, Vec<f32>);
        #[inline(always)]
        fn run<V: Vector<Lane = f32>>(self) -> Self::Output {
            let Self(pool, input, x) = self;
            let n = input[0] * pool.positions(input);
            let (mut out, mut tape, mut dx) = (vec![0.0; n], vec![0; n], vec![7.0; x.len()]);
            let sample = PoolSample { pool, input, shut: true, x, out: &mut out, tape: &mut tape };
            sample.run::<V>();
            Spread { pool, input, tape: &tape, gradient: &out, dx: &mut dx }.run::<V>();
            (out, tape, dx)
        }
    }

    #[test]
    fn all_registers_agree_with_the_definition() {
        for (pool, [h, w]) in [
            (square(2, 2, 0), [6, 8]),
            (square(3, 2, 1), [7, 5]),
            (square(3, 1, 0), [6, 6]),
            // Two columns apart, three rows at once, and more padding below than above.
            (
                Pool {
                    axes: [
                        Axis { kernel: 3, stride: 2, before: 0, after: 2, dilation: 1 },
                        Axis { kernel: 2, stride: 1, before: 1, after: 0, dilation: 2 },
                    ],
                },
                [7, 6],
            ),
        ] {
            let input = [2 * PANEL, h, w];
            let [c, rows] = [input[0], pool.positions(input)];
            let x: Vec<f32> = (0..c * h * w).map(|i| ((i * 7919) % 23) as f32 - 18.0).collect();
            let (mut want, mut winners, mut dxs) = (vec![], vec![], vec![0.0; x.len()]);
            for (o, channel) in (0..rows).flat_map(|o| (0..c).map(move |channel| (o, channel))) {
                let mut best = (f32::NEG_INFINITY, NO_GRADIENT, 0);
                for (tap, position) in pool.walk(input, o) {
                    let at = position * c + channel;
                    if x[at] > best.0 {
                        best = (x[at], tap as u8, at);
                    }
                }
                want.push(best.0);
                winners.push(if best.0 > 0.0 { best.1 } else { NO_GRADIENT });
                dxs[best.2] += if best.0 > 0.0 { best.0 } else { 0.0 };
            }
            each(
                || Both(pool, input, &x),
                |name, (out, tape, dx)| {
                    assert!(out == want && tape == winners && dx == dxs, "{pool:?} by {name}");
                },
            );
        }
    }
}
