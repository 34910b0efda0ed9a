//! Batch norm on batch statistics (Ioffe & Szegedy 2015), over rows of channels, and its gradients.

use rayon::prelude::*;

use super::Real;

/// Added to the variance, as in torch.
pub(crate) const EPSILON: f64 = 1e-5;
/// Rows summed together: part of the result's definition, so that it does not depend on the threads.
const CHUNK: usize = 512;

/// Mean and biased variance of each channel.
#[derive(Debug, Clone, Default)]
pub struct Moments<T> {
    /// Means.
    pub mean: Vec<T>,
    /// Biased variances.
    pub variance: Vec<T>,
}

/// Gradients of [`batch_norm`].
#[derive(Debug)]
pub struct BatchNormGradients<T> {
    /// Of the input.
    pub input: Vec<T>,
    /// Of the weight.
    pub weight: Vec<T>,
    /// Of the bias.
    pub bias: Vec<T>,
}

/// Per channel, the sums over all rows of the two numbers that `f(row index, channel)` gives, taken in double precision.
fn sums(rows: usize, channels: usize, f: impl Fn(usize, usize) -> (f64, f64) + Sync) -> Vec<(f64, f64)> {
    let parts: Vec<Vec<(f64, f64)>> = (0..rows.div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let mut sums = vec![(0.0, 0.0); channels];
            for row in chunk * CHUNK..rows.min((chunk + 1) * CHUNK) {
                for (channel, sum) in sums.iter_mut().enumerate() {
                    let (a, b) = f(row, channel);
                    sum.0 += a;
                    sum.1 += b;
                }
            }
            sums
        })
        .collect();
    let mut total = vec![(0.0, 0.0); channels];
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            total.0 += part.0;
            total.1 += part.1;
        }
    }
    total
}

/// Moments of rows `[n, channels]`.
pub fn moments<T: Real>(x: &[T], channels: usize) -> Moments<T> {
    let rows = x.len() / channels;
    let mean: Vec<f64> = sums(rows, channels, |r, c| (x[r * channels + c].to_f64(), 0.0))
        .iter()
        .map(|s| s.0 / rows as f64)
        .collect();
    // A second pass: the difference of two large sums would lose what a small variance needs.
    let variance = sums(rows, channels, |r, c| ((x[r * channels + c].to_f64() - mean[c]).powi(2), 0.0));
    Moments {
        mean: mean.iter().map(|m| T::from_f64(*m)).collect(),
        variance: variance.iter().map(|s| T::from_f64(s.0 / rows as f64)).collect(),
    }
}

/// `(x - mean) / sqrt(variance + 1e-5) * weight + bias`, then `ReLU` if asked.
pub fn batch_norm<T: Real>(x: &[T], moments: &Moments<T>, weight: &[T], bias: &[T], relu: bool) -> Vec<T> {
    let scale = scale(moments, weight);
    let channels = weight.len();
    let mut out = vec![T::ZERO; x.len()];
    out.par_chunks_mut(CHUNK * channels).zip(x.par_chunks(CHUNK * channels)).for_each(|(out, x)| {
        for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for c in 0..channels {
                let value = (x[c] - moments.mean[c]) * scale[c] + bias[c];
                out[c] = if relu && value < T::ZERO { T::ZERO } else { value };
            }
        }
    });
    out
}

fn scale<T: Real>(moments: &Moments<T>, weight: &[T]) -> Vec<T> {
    let root = |v: &T| (*v + T::from_f64(EPSILON)).root();
    weight.iter().zip(&moments.variance).map(|(w, v)| *w / root(v)).collect()
}

/// Gradients of [`batch_norm`]; `own`: the moments were those of `x` itself, so that its gradient passes through them.
/// `result` is its output (for the `ReLU`).
pub fn batch_norm_gradients<T: Real>(
    x: &[T],
    (moments, own): (&Moments<T>, bool),
    weight: &[T],
    relu: bool,
    result: &[T],
    gradient: &[T],
) -> BatchNormGradients<T> {
    let channels = weight.len();
    let rows = x.len() / channels;
    let inverse: Vec<f64> = moments.variance.iter().map(|v| 1.0 / (v.to_f64() + EPSILON).sqrt()).collect();
    let open = |i: usize| if relu && result[i] <= T::ZERO { T::ZERO } else { gradient[i] };
    let normal = |i: usize, c: usize| (x[i].to_f64() - moments.mean[c].to_f64()) * inverse[c];
    let sums = sums(rows, channels, |r, c| {
        let i = r * channels + c;
        let g = open(i).to_f64();
        (g, g * normal(i, c))
    });
    let mut input = vec![T::ZERO; x.len()];
    input.par_chunks_mut(CHUNK * channels).enumerate().for_each(|(chunk, out)| {
        let start = chunk * CHUNK * channels;
        for (offset, out) in out.iter_mut().enumerate() {
            let (i, c) = (start + offset, offset % channels);
            let through = if own { (sums[c].0 + normal(i, c) * sums[c].1) / rows as f64 } else { 0.0 };
            let centred = open(i).to_f64() - through;
            *out = T::from_f64(weight[c].to_f64() * inverse[c] * centred);
        }
    });
    BatchNormGradients {
        input,
        weight: sums.iter().map(|s| T::from_f64(s.1)).collect(),
        bias: sums.iter().map(|s| T::from_f64(s.0)).collect(),
    }
}
