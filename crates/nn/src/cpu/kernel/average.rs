//! Average pooling over windows and over all positions, and the placement of channels.

use super::vector::{Kernel, PANEL, Vector, dispatch};
use super::{Finish, Real, tasks};
use crate::graph::Pool;

/// Mean over the windows of NHWC samples of stored shape `input`; padding counts as zeros, as in torch.
pub fn average_pool<T: Real>(pool: &Pool, input: [usize; 3], x: &[T], out: &mut [T]) {
    let size = input.iter().product::<usize>();
    let samples = x.len() / size;
    let pooled = out.len() / samples;
    tasks::each(x.len(), x.chunks(size).zip(out.chunks_mut(pooled)), |_, (x, out)| {
        dispatch(Average { pool: *pool, input, x, out });
    });
}

struct Average<'a, T> {
    pool: Pool,
    input: [usize; 3],
    x: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Average<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { pool, input, x, out } = self;
        let c = input[0];
        assert!(c.is_multiple_of(PANEL) && x.len() == input.iter().product::<usize>());
        let by = V::splat(T::from_f64(1.0 / pool.taps() as f64));
        for (o, out) in out.chunks_exact_mut(c).enumerate() {
            let taps = pool.walk(input, o);
            for channel in (0..c).step_by(V::LANES) {
                let mut sum = V::splat(T::ZERO);
                for (_, position) in taps.clone() {
                    // SAFETY: the position is inside the sample, and has the lanes from `channel` on.
                    sum = sum.add(unsafe { V::load(x.as_ptr().add(position * c + channel)) });
                }
                // SAFETY: a row of the output has the channels.
                unsafe { sum.mul(by).store(out.as_mut_ptr().add(channel)) };
            }
        }
    }
}

/// Computes the gradient of [`average_pool`], then applies `finish`.
pub fn average_pool_gradient<T: Real>(pool: &Pool, input: [usize; 3], gradient: &[T], finish: Finish<'_, T>) {
    let size = input.iter().product::<usize>();
    let samples = finish.out.len() / size;
    let pooled = gradient.len() / samples;
    let parts = finish.parts((0..samples).map(|_| size));
    tasks::each(samples * size, gradient.chunks(pooled).zip(parts), |_, (gradient, finish)| {
        let mut dx = super::Buffer::zeros(size);
        dispatch(AverageGradient { pool: *pool, input, gradient, dx: &mut dx });
        super::pointwise::finish_all(&dx, finish);
    });
}

struct AverageGradient<'a, T> {
    pool: Pool,
    input: [usize; 3],
    gradient: &'a [T],
    dx: &'a mut [T],
}

impl<T: Real> Kernel<T> for AverageGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { pool, input, gradient, dx } = self;
        let c = input[0];
        assert!(c.is_multiple_of(PANEL) && dx.len() == input.iter().product::<usize>());
        let by = V::splat(T::from_f64(1.0 / pool.taps() as f64));
        for (o, gradient) in gradient.chunks_exact(c).enumerate() {
            let taps = pool.walk(input, o);
            for channel in (0..c).step_by(V::LANES) {
                // SAFETY: the row has the lanes from `channel` on, and every position of `dx` too.
                unsafe {
                    let share = V::load(gradient.as_ptr().add(channel)).mul(by);
                    for (_, position) in taps.clone() {
                        let to = dx.as_mut_ptr().add(position * c + channel);
                        V::load(to).add(share).store(to);
                    }
                }
            }
        }
    }
}

/// Mean over the positions of each NHWC sample of stored shape `[c, h, w]`.
pub fn global_average<T: Real>([c, h, w]: [usize; 3], x: &[T], out: &mut [T]) {
    let by = T::from_f64(1.0 / (h * w) as f64);
    tasks::each(x.len(), out.chunks_mut(c).zip(x.chunks(c * h * w)), |_, (out, x)| {
        out.fill(T::ZERO);
        for x in x.chunks(c) {
            for (out, x) in out.iter_mut().zip(x) {
                *out += *x;
            }
        }
        for out in out {
            *out *= by;
        }
    });
}

/// Computes the gradient of [`global_average`], then applies `finish`.
pub fn global_average_gradient<T: Real>([c, h, w]: [usize; 3], gradient: &[T], finish: Finish<'_, T>) {
    let by = T::from_f64(1.0 / (h * w) as f64);
    let parts = finish.parts((0..gradient.len() / c).map(|_| c * h * w));
    tasks::each(gradient.len() * h * w, gradient.chunks(c).zip(parts), |_, (gradient, finish)| {
        dispatch(Spread { gradient, by, finish });
    });
}

/// Writes the same numbers to every position of a sample.
struct Spread<'a, 'f, T> {
    gradient: &'a [T],
    by: T,
    finish: Finish<'f, T>,
}

impl<T: Real> Kernel<T> for Spread<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { gradient, by, mut finish } = self;
        let channels = gradient.len();
        assert!(finish.bias.is_none() && channels.is_multiple_of(PANEL));
        let by = V::splat(by);
        for position in 0..finish.out.len() / channels {
            for channel in (0..channels).step_by(V::LANES) {
                // SAFETY: there are so many channels, and so many of them at every position of the output.
                unsafe {
                    let v = V::load(gradient.as_ptr().add(channel)).mul(by);
                    finish.put(position * channels + channel, channel, v);
                }
            }
        }
    }
}

/// Copies `channels` numbers of each row, then applies `finish`. They are read from `take` on, in rows of `from`
/// numbers, and written from `first` on, in rows of `to` numbers that are zero elsewhere.
pub fn place<T: Real>(
    x: &[T],
    (from, take): (usize, usize),
    channels: usize,
    (to, first): (usize, usize),
    finish: Finish<'_, T>,
) {
    let rows = 256;
    let parts =
        finish.parts((0..x.len() / from).step_by(rows).map(|row| rows.min(x.len() / from - row) * to));
    tasks::each(x.len(), x.chunks(rows * from).zip(parts), |_, (x, finish)| {
        let mut placed = super::Buffer::zeros(finish.out.len());
        for (to, x) in placed.chunks_exact_mut(to).zip(x.chunks_exact(from)) {
            to[first..first + channels].copy_from_slice(&x[take..take + channels]);
        }
        super::pointwise::finish_all(&placed, finish);
    });
}
