//! Max pooling and its gradient.
//!
//! candle 0.11.1's own gradient of max pooling is wrong (a unique maximum of a 2 x 2 window gets 0.25), hence ours.

use rayon::prelude::*;

use super::pointwise::finish_all;
use super::{Buffer, Finish, Real};

/// A square max-pooling window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Side of the window, at most 15.
    pub size: usize,
    /// Distance of windows.
    pub stride: usize,
    /// Positions added on each side, which never win.
    pub padding: usize,
}

/// On the tape: this output passes no gradient on (a `ReLU` before the pooling had shut every input).
pub const NO_GRADIENT: u8 = u8::MAX;

impl Pool {
    /// Output length along an axis of length `input`, if the window fits.
    pub fn output(&self, input: usize) -> Option<usize> {
        (input + 2 * self.padding).checked_sub(self.size).map(|free| free / self.stride + 1)
    }

    /// Does every input position belong to exactly one window?
    fn tiles(&self, [_, h, w]: [usize; 3]) -> bool {
        self.padding == 0
            && self.stride == self.size
            && h.is_multiple_of(self.size)
            && w.is_multiple_of(self.size)
    }

    /// The taps of output number `o` in a sample of this shape.
    #[inline(always)]
    fn taps(&self, [_, h, w]: [usize; 3], o: usize) -> Taps {
        let columns = self.output(w).unwrap_or(1);
        let (y, x) = (o / columns * self.stride, o % columns * self.stride);
        Taps { size: self.size, padding: self.padding, h, w, y, x, tap: 0 }
    }
}

/// The taps of one output that fall on the input, each with its position there, in order. Plain loops over it compile
/// for the features of the function around them, which closures did not.
#[derive(Clone)]
struct Taps {
    size: usize,
    padding: usize,
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
        while self.tap < self.size * self.size {
            let tap = self.tap;
            self.tap += 1;
            // Above or left of the image the difference wraps, and is too large as well.
            let y = (self.y + tap / self.size).wrapping_sub(self.padding);
            let x = (self.x + tap % self.size).wrapping_sub(self.padding);
            if y < self.h && x < self.w {
                return Some((tap as u32, y * self.w + x));
            }
        }
        None
    }
}

/// Channels handled at once: the best values and taps of so many stay in registers.
const LANES: usize = 16;

/// Pools one NHWC sample of shape `input` (channels, height, width). `tape` receives the winning tap of every output:
/// the first that attains the maximum, as in torch. `shut`: outputs of 0 or less pass no gradient.
pub(super) fn pool_sample<T: Real>(
    pool: &Pool,
    input: [usize; 3],
    shut: bool,
    x: &[T],
    out: &mut [T],
    tape: &mut [u8],
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn fast<T: Real>(p: &Pool, i: [usize; 3], shut: bool, x: &[T], out: &mut [T], tape: &mut [u8]) {
            pool_channels(p, i, shut, x, out, tape);
        }
        // SAFETY: the processor has the feature that the function is compiled for, as just asked.
        return unsafe { fast(pool, input, shut, x, out, tape) };
    }
    pool_channels(pool, input, shut, x, out, tape);
}

#[inline(always)]
fn pool_channels<T: Real>(
    pool: &Pool,
    input: [usize; 3],
    shut: bool,
    x: &[T],
    out: &mut [T],
    tape: &mut [u8],
) {
    let c = input[0];
    for (o, (out, tape)) in out.chunks_exact_mut(c).zip(tape.chunks_exact_mut(c)).enumerate() {
        let taps = pool.taps(input, o);
        let mut j = 0;
        while j + LANES <= c {
            let (best, winner) = best_of::<T, LANES>(taps.clone(), shut, &x[j..], c);
            out[j..j + LANES].copy_from_slice(&best);
            tape[j..j + LANES].copy_from_slice(&winner);
            j += LANES;
        }
        for j in j..c {
            let ([best], [winner]) = best_of::<T, 1>(taps.clone(), shut, &x[j..], c);
            (out[j], tape[j]) = (best, winner);
        }
    }
}

/// The largest of the taps in each lane, and which tap it is. A position's lanes stand at `position * stride` of `x`.
#[inline(always)]
fn best_of<T: Real, const N: usize>(taps: Taps, shut: bool, x: &[T], stride: usize) -> ([T; N], [u8; N]) {
    let (mut best, mut winner) = ([T::LOWEST; N], [0u32; N]);
    for (tap, i) in taps {
        let x = &x[i * stride..][..N];
        for l in 0..N {
            // A NaN wins and stays, so that a broken network cannot look healthy.
            #[allow(clippy::eq_op)]
            let wins = (x[l] > best[l]) || (x[l] != x[l]);
            best[l] = if wins { x[l] } else { best[l] };
            winner[l] = if wins { tap } else { winner[l] };
        }
    }
    let mut bytes = [0u8; N];
    for l in 0..N {
        bytes[l] = if shut && best[l] <= T::ZERO { NO_GRADIENT } else { winner[l] as u8 };
    }
    (best, bytes)
}

/// The gradient of one sample's pooling; overwrites `dx`.
pub(super) fn pool_sample_gradient<T: Real>(
    pool: &Pool,
    input: [usize; 3],
    tape: &[u8],
    gradient: &[T],
    dx: &mut [T],
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn fast<T: Real>(p: &Pool, i: [usize; 3], tape: &[u8], gradient: &[T], dx: &mut [T]) {
            spread(p, i, tape, gradient, dx);
        }
        // SAFETY: the processor has the feature that the function is compiled for, as just asked.
        return unsafe { fast(pool, input, tape, gradient, dx) };
    }
    spread(pool, input, tape, gradient, dx);
}

#[inline(always)]
fn spread<T: Real>(pool: &Pool, input: [usize; 3], tape: &[u8], gradient: &[T], dx: &mut [T]) {
    if pool.tiles(input) {
        spread_windows::<T, false>(pool, input, tape, gradient, dx);
    } else {
        dx.fill(T::ZERO);
        spread_windows::<T, true>(pool, input, tape, gradient, dx);
    }
}

/// `ADD`: windows may overlap, so add to what is there.
#[inline(always)]
fn spread_windows<T: Real, const ADD: bool>(
    pool: &Pool,
    input: [usize; 3],
    tape: &[u8],
    gradient: &[T],
    dx: &mut [T],
) {
    let c = input[0];
    for (o, (gradient, tape)) in gradient.chunks_exact(c).zip(tape.chunks_exact(c)).enumerate() {
        let taps = pool.taps(input, o);
        let mut j = 0;
        while j + LANES <= c {
            give::<T, LANES, ADD>(taps.clone(), &gradient[j..], &tape[j..], &mut dx[j..], c);
            j += LANES;
        }
        for j in j..c {
            give::<T, 1, ADD>(taps.clone(), &gradient[j..], &tape[j..], &mut dx[j..], c);
        }
    }
}

/// Gives each lane's gradient to its winning tap, and 0 to the others.
#[inline(always)]
fn give<T: Real, const N: usize, const ADD: bool>(
    taps: Taps,
    gradient: &[T],
    tape: &[u8],
    dx: &mut [T],
    stride: usize,
) {
    let (mut values, mut winner) = ([T::ZERO; N], [0u32; N]);
    values.copy_from_slice(&gradient[..N]);
    for (winner, tape) in winner.iter_mut().zip(&tape[..N]) {
        *winner = u32::from(*tape);
    }
    for (tap, i) in taps {
        let dx = &mut dx[i * stride..][..N];
        for l in 0..N {
            let share = if winner[l] == tap { values[l] } else { T::ZERO };
            dx[l] = if ADD { dx[l] + share } else { share };
        }
    }
}

/// Max pooling of NHWC samples of shape `input` (channels, height, width); `out` and `tape` have one entry an output.
pub fn max_pool<T: Real>(pool: &Pool, input: [usize; 3], x: &[T], out: &mut [T], tape: &mut [u8]) {
    let samples = x.len() / input.iter().product::<usize>();
    let (size, pooled) = (x.len() / samples, out.len() / samples);
    (x.par_chunks(size), out.par_chunks_mut(pooled), tape.par_chunks_mut(pooled))
        .into_par_iter()
        .for_each(|(x, out, tape)| pool_sample(pool, input, false, x, out, tape));
}

/// `finish` of the gradient of [`max_pool`] with respect to its input.
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
    (gradient.par_chunks(pooled), tape.par_chunks(pooled), parts).into_par_iter().for_each(
        |(gradient, tape, finish)| {
            let mut dx = Buffer::take(size);
            pool_sample_gradient(pool, input, tape, gradient, &mut dx);
            finish_all(&dx, finish);
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_maximum_takes_the_gradient() {
        let pool = Pool { size: 2, stride: 2, padding: 0 };
        let (mut out, mut tape, mut dx) = ([0.0], [0], [9.0; 4]);
        max_pool(&pool, [1, 2, 2], &[1.0, 3.0, 3.0, 2.0], &mut out, &mut tape);
        max_pool_gradient(&pool, [1, 2, 2], &tape, &[5.0], Finish::plain(&mut dx));
        assert_eq!((out, tape, dx), ([3.0], [1], [0.0, 5.0, 0.0, 0.0]));
    }

    #[test]
    fn nan_survives_and_padding_never_wins() {
        let pool = Pool { size: 3, stride: 2, padding: 1 };
        let (mut out, mut tape) = ([0.0; 4], [0; 4]);
        let x = [-1.0, -2.0, -3.0, -4.0, f32::NAN, -6.0, -7.0, -8.0, -9.0];
        max_pool(&pool, [1, 3, 3], &x, &mut out, &mut tape);
        assert!(out.iter().all(|v| v.is_nan()));
        max_pool(&pool, [1, 3, 3], &[-1.0f32; 9], &mut out, &mut tape);
        assert_eq!(out, [-1.0; 4]);
    }

    #[test]
    fn the_detected_version_agrees_with_the_portable_one() {
        for (pool, input) in [
            (Pool { size: 2, stride: 2, padding: 0 }, [19, 6, 8]),
            (Pool { size: 3, stride: 2, padding: 1 }, [33, 7, 5]),
            (Pool { size: 3, stride: 1, padding: 0 }, [5, 6, 6]),
        ] {
            let [c, h, w] = input;
            let x: Vec<f32> = (0..c * h * w).map(|i| ((i * 7919) % 23) as f32 - 11.0).collect();
            let n = c * pool.output(h).unwrap() * pool.output(w).unwrap();
            let (mut out, mut tape) = (vec![0.0; n], vec![0; n]);
            let (mut plain, mut plain_tape) = (vec![0.0; n], vec![0; n]);
            pool_sample(&pool, input, true, &x, &mut out, &mut tape);
            pool_channels(&pool, input, true, &x, &mut plain, &mut plain_tape);
            assert_eq!((&out, &tape), (&plain, &plain_tape));
            let (mut dx, mut plain_dx) = (vec![7.0; x.len()], vec![8.0; x.len()]);
            pool_sample_gradient(&pool, input, &tape, &out, &mut dx);
            spread(&pool, input, &tape, &out, &mut plain_dx);
            assert_eq!(dx, plain_dx);
        }
    }
}
