//! Batch norm on batch statistics (Ioffe & Szegedy 2015), over rows of stored channels, and its gradients.

use super::vector::{Kernel, PANEL, Vector, dispatch};
use super::{Buffer, Finish, Real, affine, tasks};

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
/// The mean of each chunk is computed first, then the squares around this mean. The chunks are joined in double
/// precision (Chan, Golub & `LeVeque` 1983). The difference of two large sums would lose the precision that a small
/// variance needs.
pub fn moments<T: Real>(x: &[T], channels: usize) -> Moments {
    let chunks = tasks::map(x.len(), x.chunks(CHUNK * channels), |rows| {
        let mut sums = vec![T::ZERO; 2 * channels];
        dispatch(ChunkMoments { rows, sums: &mut sums });
        (rows.len() / channels, sums)
    });
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

/// The scale and the shift of batch norm for each channel: `x * scale + shift`.
fn line<T: Real>((moments, epsilon): (&Moments, f64), weight: &[T], bias: &[T]) -> (Vec<T>, Vec<T>) {
    let scale = |c: usize| weight[c].to_f64() / (moments.variance[c] + epsilon).sqrt();
    let shift = |c: usize| bias[c].to_f64() - moments.mean[c] * scale(c);
    let all = 0..weight.len();
    (all.clone().map(|c| T::from_f64(scale(c))).collect(), all.map(|c| T::from_f64(shift(c))).collect())
}

/// `finish((x - mean) / sqrt(variance + epsilon) * weight + bias)`. `finish` itself must not have a bias. All
/// slices have the stored channels.
pub fn batch_norm<T: Real>(
    x: &[T],
    (moments, epsilon): (&Moments, f64),
    weight: &[T],
    bias: &[T],
    finish: Finish<'_, T>,
) {
    let (scale, shift) = line((moments, epsilon), weight, bias);
    affine(&scale, x, Finish { bias: Some(&shift), ..finish });
}

/// Gradients of [`batch_norm`]. The input's gradient goes to `finish`, if it is wanted; the gradients of weight and
/// bias are returned. `own` means that the moments were those of `x` itself, so that its gradient passes through
/// them.
///
/// # Panics
/// If lengths do not match.
pub fn batch_norm_gradients<T: Real>(
    x: &[T],
    (moments, epsilon, own): (&Moments, f64, bool),
    weight: &[T],
    gradient: &[T],
    finish: Option<Finish<'_, T>>,
) -> [Buffer<T>; 2] {
    let channels = weight.len();
    let rows = x.len() / channels;
    assert!(gradient.len() == x.len() && x.len().is_multiple_of(channels));
    let mean: Vec<T> = moments.mean.iter().map(|m| T::from_f64(*m)).collect();
    let size = CHUNK * channels;
    let sums = gradient_sums(x, gradient, &mean);
    let inverse: Vec<f64> = moments.variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
    let (of_bias, centred) = sums.split_at(channels);
    let of_weight: Vec<f64> = centred.iter().zip(&inverse).map(|(s, i)| s * i).collect();
    if let Some(finish) = finish {
        // dx = a * g + b * (x - mean) + c
        let through = if own { -1.0 / rows as f64 } else { 0.0 };
        let a: Vec<f64> = weight.iter().zip(&inverse).map(|(w, i)| w.to_f64() * i).collect();
        let b: Vec<f64> = (0..channels).map(|c| a[c] * inverse[c] * of_weight[c] * through).collect();
        let c: Vec<f64> = (0..channels).map(|c| a[c] * of_bias[c] * through).collect();
        let factors: [Vec<T>; 3] = [a, b, c].map(|values| values.into_iter().map(T::from_f64).collect());
        let lengths = (0..x.len()).step_by(size).map(|start| size.min(x.len() - start));
        let parts = finish.parts(lengths);
        let parts = x.chunks(size).zip(gradient.chunks(size)).zip(parts);
        tasks::each(x.len(), parts, |_, ((x, gradient), finish)| {
            dispatch(InputGradient { x, gradient, mean: &mean, factors: &factors, finish });
        });
    }
    [&of_weight[..], of_bias].map(|values| {
        let mut buffer = Buffer::take(channels);
        for (to, value) in buffer.iter_mut().zip(values) {
            *to = T::from_f64(*value);
        }
        buffer
    })
}

/// Sums over all rows of g, and of g (x - mean): `[2][channels]`.
fn gradient_sums<T: Real>(x: &[T], gradient: &[T], mean: &[T]) -> Vec<f64> {
    let size = CHUNK * mean.len();
    let parts = tasks::map(x.len(), x.chunks(size).zip(gradient.chunks(size)), |(x, gradient)| {
        let mut sums = vec![T::ZERO; 2 * mean.len()];
        dispatch(GradientSums { x, gradient, mean, sums: &mut sums });
        sums
    });
    let mut sums = vec![0.0; 2 * mean.len()];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part.to_f64();
        }
    }
    sums
}

/// Sums over some rows of g and of g (x - mean): `sums` is `[2][channels]`.
struct GradientSums<'a, T> {
    x: &'a [T],
    gradient: &'a [T],
    mean: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for GradientSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { x, gradient, mean, sums } = self;
        let channels = mean.len();
        assert!(channels.is_multiple_of(PANEL) && sums.len() == 2 * channels && gradient.len() == x.len());
        for channel in (0..channels).step_by(V::LANES) {
            // SAFETY: the lanes from `channel` on are in every row of both, in `mean`, and twice in `sums`.
            unsafe {
                let mean = V::load(mean.as_ptr().add(channel));
                let (mut plain, mut centred) = (V::splat(T::ZERO), V::splat(T::ZERO));
                for at in (channel..x.len()).step_by(channels) {
                    let g = V::load(gradient.as_ptr().add(at));
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

/// `finish(a g + b (x - mean) + c)`.
struct InputGradient<'a, 'f, T> {
    x: &'a [T],
    gradient: &'a [T],
    mean: &'a [T],
    factors: &'a [Vec<T>; 3],
    finish: Finish<'f, T>,
}

impl<T: Real> Kernel<T> for InputGradient<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { x, gradient, mean, factors: [a, b, c], mut finish } = self;
        let channels = mean.len();
        assert!(channels.is_multiple_of(PANEL) && [a, b, c].iter().all(|factor| factor.len() == channels));
        assert!(gradient.len() == x.len() && finish.out.len() == x.len() && x.len().is_multiple_of(channels));
        assert!(finish.bias.is_none());
        for row in (0..x.len()).step_by(channels) {
            for channel in (0..channels).step_by(V::LANES) {
                let at = row + channel;
                // SAFETY: the lanes are in every row of the three, and in each factor; the rest of `finish`
                // is as long as `parts` checks.
                unsafe {
                    let apart = V::load(x.as_ptr().add(at)).sub(V::load(mean.as_ptr().add(channel)));
                    let rest = V::load(b.as_ptr().add(channel)).fma(apart, V::load(c.as_ptr().add(channel)));
                    let g = V::load(gradient.as_ptr().add(at));
                    finish.put(at, channel, V::load(a.as_ptr().add(channel)).fma(g, rest));
                }
            }
        }
    }
}
