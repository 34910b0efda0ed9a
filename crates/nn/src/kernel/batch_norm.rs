//! Batch norm on batch statistics (Ioffe & Szegedy 2015), over rows of stored channels, and its gradients.

use rayon::prelude::*;

use super::vector::{Kernel, PANEL, Vector, dispatch};
use super::{Finish, Real, affine};

/// Added to the variance, as in torch.
pub(crate) const EPSILON: f64 = 1e-5;
/// Rows summed together: part of the result's definition, so that it does not depend on the threads.
const CHUNK: usize = 256;

/// Mean and biased variance of each stored channel.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    /// Means.
    pub mean: Vec<f64>,
    /// Biased variances.
    pub variance: Vec<f64>,
}

/// Moments of rows `[n, channels]`.
///
/// Each chunk's mean is taken first and its squares around that; the chunks then join in double precision (Chan, Golub &
/// `LeVeque` 1983). The difference of two large sums would lose what a small variance needs.
pub fn moments<T: Real>(x: &[T], channels: usize) -> Moments {
    let chunks: Vec<(usize, Vec<T>)> = x
        .par_chunks(CHUNK * channels)
        .map(|rows| {
            let mut sums = vec![T::ZERO; 2 * channels];
            dispatch(ChunkMoments { rows, sums: &mut sums });
            (rows.len() / channels, sums)
        })
        .collect();
    let mut joint = Moments { mean: vec![0.0; channels], variance: vec![0.0; channels] };
    let mut before = 0.0;
    for (rows, sums) in chunks {
        let rows = rows as f64;
        let (means, squares) = sums.split_at(channels);
        for c in 0..channels {
            let apart = means[c].to_f64() - joint.mean[c];
            joint.mean[c] += apart * rows / (before + rows);
            joint.variance[c] += squares[c].to_f64() + apart * apart * before * rows / (before + rows);
        }
        before += rows;
    }
    for variance in &mut joint.variance {
        *variance /= before;
    }
    joint
}

/// Means of some rows, and sums of squares around them: `sums` is `[2][channels]`.
struct ChunkMoments<'a, T> {
    rows: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for ChunkMoments<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { rows, sums } = self;
        let channels = sums.len() / 2;
        assert!(channels.is_multiple_of(PANEL) && rows.len().is_multiple_of(channels));
        let count = rows.len() / channels;
        let by = V::splat(T::from_f64(1.0 / count as f64));
        for channel in (0..channels).step_by(V::LANES) {
            let (mut sum, mut squares) = (V::splat(T::ZERO), V::splat(T::ZERO));
            for at in (channel..rows.len()).step_by(channels) {
                // SAFETY: each row has the lanes from `channel` on.
                sum = sum.add(unsafe { V::load(rows.as_ptr().add(at)) });
            }
            let mean = sum.mul(by);
            for at in (channel..rows.len()).step_by(channels) {
                // SAFETY: as above.
                let apart = unsafe { V::load(rows.as_ptr().add(at)) }.sub(mean);
                squares = apart.fma(apart, squares);
            }
            // SAFETY: `sums` has twice the channels.
            unsafe {
                mean.store(sums.as_mut_ptr().add(channel));
                squares.store(sums.as_mut_ptr().add(channels + channel));
            }
        }
    }
}

/// What batch norm does to a channel: `x * scale + shift`.
fn line<T: Real>(moments: &Moments, weight: &[T], bias: &[T]) -> (Vec<T>, Vec<T>) {
    let scale = |c: usize| weight[c].to_f64() / (moments.variance[c] + EPSILON).sqrt();
    let shift = |c: usize| bias[c].to_f64() - moments.mean[c] * scale(c);
    let all = 0..weight.len();
    (all.clone().map(|c| T::from_f64(scale(c))).collect(), all.map(|c| T::from_f64(shift(c))).collect())
}

/// `(x - mean) / sqrt(variance + 1e-5) * weight + bias`, then `ReLU` if asked. All have the stored channels.
pub fn batch_norm<T: Real>(x: &[T], moments: &Moments, weight: &[T], bias: &[T], relu: bool, out: &mut [T]) {
    let (scale, shift) = line(moments, weight, bias);
    affine(&scale, x, Finish { bias: Some(&shift), relu, ..Finish::plain(out) });
}

/// Gradients of [`batch_norm`]: that of the input goes into `dx`, those of weight and bias are returned. `own`: the moments were
/// those of `x` itself, so that its gradient passes through them. `relu`: its output, where a `ReLU` followed.
pub fn batch_norm_gradients<T: Real>(
    x: &[T],
    (moments, own): (&Moments, bool),
    weight: &[T],
    relu: Option<&[T]>,
    gradient: &[T],
    dx: &mut [T],
) -> [Vec<T>; 2] {
    let channels = weight.len();
    let rows = x.len() / channels;
    let mean: Vec<T> = moments.mean.iter().map(|m| T::from_f64(*m)).collect();
    let size = CHUNK * channels;
    let part = |i: usize, of: &[T]| i * size..of.len().min((i + 1) * size);
    let parts: Vec<Vec<T>> = (0..x.len().div_ceil(size))
        .into_par_iter()
        .map(|i| {
            let mut sums = vec![T::ZERO; 2 * channels];
            let (x, gradient) = (&x[part(i, x)], &gradient[part(i, gradient)]);
            let result = relu.map(|result| &result[part(i, result)]);
            dispatch(GradientSums { x, result, gradient, mean: &mean, sums: &mut sums });
            sums
        })
        .collect();
    let mut sums = vec![0.0; 2 * channels];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part.to_f64();
        }
    }
    let inverse: Vec<f64> = moments.variance.iter().map(|v| 1.0 / (v + EPSILON).sqrt()).collect();
    let (of_bias, centred) = sums.split_at(channels);
    let of_weight: Vec<f64> = centred.iter().zip(&inverse).map(|(s, i)| s * i).collect();
    // dx = a * g + b * (x - mean) + c
    let a: Vec<f64> = weight.iter().zip(&inverse).map(|(w, i)| w.to_f64() * i).collect();
    let through = if own { -1.0 / rows as f64 } else { 0.0 };
    let b =
        (0..channels).map(|c| T::from_f64(a[c] * inverse[c] * of_weight[c] * through)).collect::<Vec<_>>();
    let c = (0..channels).map(|c| T::from_f64(a[c] * of_bias[c] * through)).collect::<Vec<_>>();
    let a: Vec<T> = a.into_iter().map(T::from_f64).collect();
    dx.par_chunks_mut(size).enumerate().for_each(|(i, out)| {
        let (x, gradient) = (&x[part(i, x)], &gradient[part(i, gradient)]);
        let result = relu.map(|result| &result[part(i, result)]);
        dispatch(InputGradient { x, result, gradient, mean: &mean, factors: [&a, &b, &c], out });
    });
    [&of_weight[..], of_bias].map(|values| values.iter().map(|v| T::from_f64(*v)).collect())
}

/// The gradient where a `ReLU` let it through.
#[inline(always)]
unsafe fn open<V: Vector>(gradient: &[V::Lane], result: Option<&[V::Lane]>, at: usize) -> V {
    // SAFETY: the caller promises the lanes from `at` on, in both.
    unsafe {
        let g = V::load(gradient.as_ptr().add(at));
        match result {
            Some(result) => g.keep(V::load(result.as_ptr().add(at)).signs()),
            None => g,
        }
    }
}

/// Sums over some rows of g and of g (x - mean): `sums` is `[2][channels]`.
struct GradientSums<'a, T> {
    x: &'a [T],
    result: Option<&'a [T]>,
    gradient: &'a [T],
    mean: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for GradientSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { x, result, gradient, mean, sums } = self;
        let channels = mean.len();
        assert!(channels.is_multiple_of(PANEL) && sums.len() == 2 * channels && gradient.len() == x.len());
        assert!(result.is_none_or(|result| result.len() == x.len()));
        for channel in (0..channels).step_by(V::LANES) {
            // SAFETY: the lanes from `channel` on are in every row of the three, in `mean`, and twice in `sums`.
            unsafe {
                let mean = V::load(mean.as_ptr().add(channel));
                let (mut plain, mut centred) = (V::splat(T::ZERO), V::splat(T::ZERO));
                for at in (channel..x.len()).step_by(channels) {
                    let g = open::<V>(gradient, result, at);
                    let apart = V::load(x.as_ptr().add(at)).sub(mean);
                    plain = plain.add(g);
                    centred = g.fma(apart, centred);
                }
                plain.store(sums.as_mut_ptr().add(channel));
                centred.store(sums.as_mut_ptr().add(channels + channel));
            }
        }
    }
}

/// `out = a g + b (x - mean) + c`.
struct InputGradient<'a, T> {
    x: &'a [T],
    result: Option<&'a [T]>,
    gradient: &'a [T],
    mean: &'a [T],
    factors: [&'a [T]; 3],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for InputGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { x, result, gradient, mean, factors, out } = self;
        let channels = mean.len();
        assert!(channels.is_multiple_of(PANEL) && factors.iter().all(|factor| factor.len() == channels));
        assert!(gradient.len() == x.len() && out.len() == x.len() && x.len().is_multiple_of(channels));
        assert!(result.is_none_or(|result| result.len() == x.len()));
        for row in (0..x.len()).step_by(channels) {
            for channel in (0..channels).step_by(V::LANES) {
                let at = row + channel;
                // SAFETY: the lanes are in every row of the four, and in each factor.
                unsafe {
                    let apart = V::load(x.as_ptr().add(at)).sub(V::load(mean.as_ptr().add(channel)));
                    let (b, c) = (
                        V::load(factors[1].as_ptr().add(channel)),
                        V::load(factors[2].as_ptr().add(channel)),
                    );
                    let (a, g) = (V::load(factors[0].as_ptr().add(channel)), open::<V>(gradient, result, at));
                    a.fma(g, b.fma(apart, c)).store(out.as_mut_ptr().add(at));
                }
            }
        }
    }
}
