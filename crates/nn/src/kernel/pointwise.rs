//! Layers without weights that work on one value at a time, and the change of layout at the pixels.

use rayon::prelude::*;

use super::Real;

/// Values that one task handles.
const CHUNK: usize = 1 << 14;

/// `(x - mean) / std` from NCHW pixels of shape `[c, h, w]` to NHWC activations.
pub fn normalize<T: Real>([c, h, w]: [usize; 3], mean: &[T], std: &[T], x: &[T], out: &mut [T]) {
    out.par_chunks_mut(c * h * w).zip(x.par_chunks(c * h * w)).for_each(|(out, x)| {
        for (channel, x) in x.chunks(h * w).enumerate() {
            for (i, x) in x.iter().enumerate() {
                out[i * c + channel] = (*x - mean[channel]) / std[channel];
            }
        }
    });
}

/// Gradient of [`normalize`]: from NHWC to NCHW.
pub fn normalize_gradient<T: Real>([c, h, w]: [usize; 3], std: &[T], gradient: &[T], dx: &mut [T]) {
    dx.par_chunks_mut(c * h * w).zip(gradient.par_chunks(c * h * w)).for_each(|(dx, gradient)| {
        for (channel, dx) in dx.chunks_mut(h * w).enumerate() {
            for (i, dx) in dx.iter_mut().enumerate() {
                *dx = gradient[i * c + channel] / std[channel];
            }
        }
    });
}

/// `a + b`.
pub fn sum<T: Real>(a: &[T], b: &[T], out: &mut [T]) {
    (out.par_chunks_mut(CHUNK), a.par_chunks(CHUNK), b.par_chunks(CHUNK)).into_par_iter().for_each(
        |(out, a, b)| {
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                *out = *a + *b;
            }
        },
    );
}

/// `to + x`, in place.
pub fn add<T: Real>(to: &mut [T], x: &[T]) {
    to.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(to, x)| {
        for (to, x) in to.iter_mut().zip(x) {
            *to += *x;
        }
    });
}

/// `max(x, 0)`; a NaN stays.
pub fn relu<T: Real>(x: &[T], out: &mut [T]) {
    out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| {
        for (out, x) in out.iter_mut().zip(x) {
            *out = if *x < T::ZERO { T::ZERO } else { *x };
        }
    });
}

/// Gradient of [`relu`], 0 at 0 as in torch. `result` is its output.
pub fn relu_gradient<T: Real>(result: &[T], gradient: &[T], dx: &mut [T]) {
    (dx.par_chunks_mut(CHUNK), result.par_chunks(CHUNK), gradient.par_chunks(CHUNK))
        .into_par_iter()
        .for_each(|(dx, result, gradient)| {
            for ((dx, r), g) in dx.iter_mut().zip(result).zip(gradient) {
                *dx = if *r > T::ZERO { *g } else { T::ZERO };
            }
        });
}

/// `x * scale + shift` per channel, then `ReLU` if asked.
pub fn affine<T: Real>(scale: &[T], shift: &[T], relu: bool, x: &[T], out: &mut [T]) {
    let c = scale.len();
    out.par_chunks_mut(c).zip(x.par_chunks(c)).with_min_len(256).for_each(|(out, x)| {
        for j in 0..c {
            let value = x[j] * scale[j] + shift[j];
            out[j] = if relu && value < T::ZERO { T::ZERO } else { value };
        }
    });
}

/// Gradient of [`affine`] with respect to `x`. `result` is its output.
pub fn affine_gradient<T: Real>(scale: &[T], relu: bool, result: &[T], gradient: &[T], dx: &mut [T]) {
    let c = scale.len();
    (dx.par_chunks_mut(c), result.par_chunks(c), gradient.par_chunks(c))
        .into_par_iter()
        .with_min_len(256)
        .for_each(|(dx, result, gradient)| {
            for j in 0..c {
                dx[j] = if relu && result[j] <= T::ZERO { T::ZERO } else { gradient[j] * scale[j] };
            }
        });
}

/// Mean over the positions of each NHWC sample.
pub fn global_average<T: Real>([c, h, w]: [usize; 3], x: &[T], out: &mut [T]) {
    let by = T::from_f64(1.0 / (h * w) as f64);
    out.par_chunks_mut(c).zip(x.par_chunks(c * h * w)).for_each(|(out, x)| {
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

/// Gradient of [`global_average`].
pub fn global_average_gradient<T: Real>([c, h, w]: [usize; 3], gradient: &[T], dx: &mut [T]) {
    let by = T::from_f64(1.0 / (h * w) as f64);
    dx.par_chunks_mut(c * h * w).zip(gradient.par_chunks(c)).for_each(|(dx, gradient)| {
        for dx in dx.chunks_mut(c) {
            for (dx, g) in dx.iter_mut().zip(gradient) {
                *dx = *g * by;
            }
        }
    });
}
