//! Filters of one plane.

use crate::planes::Size;

/// How a plane is extended beyond its border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Border {
    /// a a | a b c d | d d
    Nearest,
    /// b a | a b c d | d c
    Reflect,
    /// c b | a b c d | c b
    Mirror,
}

impl Border {
    /// The index within an axis of length `len` (at least 1) that replaces `at`, at any distance outside.
    pub(crate) fn place(self, at: isize, len: usize) -> usize {
        let len = len as isize;
        let last = len - 1;
        let place = match self {
            Self::Reflect => {
                let at = at.rem_euclid(2 * len);
                at.min(2 * len - 1 - at)
            }
            Self::Mirror if last > 0 => {
                let at = at.rem_euclid(2 * last);
                at.min(2 * last - at)
            }
            Self::Nearest | Self::Mirror => at,
        };
        place.clamp(0, last) as usize
    }

    /// The source indices of an axis of length `len`, extended by `reach` on both sides.
    fn places(self, len: usize, reach: usize) -> Vec<usize> {
        (0..len + 2 * reach).map(|at| self.place(at as isize - reach as isize, len)).collect()
    }
}

/// A two-dimensional kernel with odd sides.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kernel {
    pub(crate) size: Size,
    pub(crate) weights: Vec<f32>,
}

/// A Gaussian of standard deviation `sigma` with sum 1, truncated at `reach`; with sigma 0 the identity.
pub(crate) fn gaussian_kernel(sigma: f32, reach: usize) -> Vec<f32> {
    let sigma = f64::from(sigma);
    let weight = |x: usize| {
        let x = x as f64 - reach as f64;
        if sigma > 0.0 { (-0.5 * (x / sigma).powi(2)).exp() } else { f64::from(u8::from(x == 0.0)) }
    };
    let weights: Vec<f64> = (0..=2 * reach).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

/// A Gaussian filter, truncated at `truncate` standard deviations.
pub(crate) fn gaussian(plane: &[f32], size: Size, sigma: f32, truncate: f32, border: Border) -> Vec<f32> {
    let kernel = gaussian_kernel(sigma, (truncate * sigma + 0.5) as usize);
    separable(plane, size, &kernel, border)
}

/// scikit-image's default Gaussian filter, which most corruptions use.
pub(crate) fn usual_gaussian(plane: &[f32], size: Size, sigma: f32) -> Vec<f32> {
    gaussian(plane, size, sigma, 4.0, Border::Nearest)
}

/// A mean over 3 x 3 pixels.
pub(crate) fn box3(plane: &[f32], size: Size) -> Vec<f32> {
    separable(plane, size, &[1.0 / 3.0; 3], Border::Mirror)
}

/// A separable filter: one kernel of odd length, along columns and along rows.
fn separable(plane: &[f32], [h, w]: Size, kernel: &[f32], border: Border) -> Vec<f32> {
    let reach = kernel.len() / 2;
    let places = border.places(h, reach);
    let mut tall = vec![0.0; h * w];
    for (y, sums) in tall.chunks_exact_mut(w).enumerate() {
        for (weight, place) in kernel.iter().zip(&places[y..]) {
            add(sums, &plane[place * w..][..w], *weight);
        }
    }
    let places = border.places(w, reach);
    let mut padded = vec![0.0; places.len()];
    let mut out = vec![0.0; h * w];
    for (sums, row) in out.chunks_exact_mut(w).zip(tall.chunks_exact(w)) {
        pad(&mut padded, row, &places);
        for (at, weight) in kernel.iter().enumerate() {
            add(sums, &padded[at..at + w], *weight);
        }
    }
    out
}

/// Correlation with a kernel: the sum of `kernel[i, j] * plane[y + i - middle, x + j - middle]`.
pub(crate) fn correlate(plane: &[f32], [h, w]: Size, kernel: &Kernel, border: Border) -> Vec<f32> {
    let [tall, wide] = kernel.size;
    let taps: Vec<(isize, isize, f32)> = (0..tall * wide)
        .map(|at| {
            let (y, x) = ((at / wide) as isize, (at % wide) as isize);
            (y - (tall / 2) as isize, x - (wide / 2) as isize, kernel.weights[at])
        })
        .collect();
    scattered(plane, [h, w], &taps, border)
}

/// Sums of `weight * plane[y + dy, x + dx]` over taps (dy, dx, weight).
fn scattered(plane: &[f32], [h, w]: Size, taps: &[(isize, isize, f32)], border: Border) -> Vec<f32> {
    let reach = taps.iter().map(|(_, dx, _)| dx.unsigned_abs()).max().unwrap_or(0);
    let places = border.places(w, reach);
    let mut padded = vec![0.0; h * places.len()];
    for (wide, row) in padded.chunks_exact_mut(places.len()).zip(plane.chunks_exact(w)) {
        pad(wide, row, &places);
    }
    let mut out = vec![0.0; h * w];
    for (y, sums) in out.chunks_exact_mut(w).enumerate() {
        for (dy, dx, weight) in taps.iter().filter(|(.., weight)| *weight != 0.0) {
            let row = border.place(y as isize + dy, h) * places.len();
            let first = row + reach.saturating_add_signed(*dx);
            add(sums, &padded[first..first + w], *weight);
        }
    }
    out
}

/// Motion blur as in `ImageMagick`: half a Gaussian of `2 ceil(radius) + 1` weights along a line at this
/// angle, with nearest pixels and a repeated border.
pub(crate) fn motion(plane: &[f32], size: Size, radius: f32, sigma: f32, degrees: f32) -> Vec<f32> {
    let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
    let taps: Vec<(isize, isize, f32)> = motion_kernel(radius, sigma)
        .into_iter()
        .enumerate()
        .map(|(i, weight)| {
            let along = |part: f64| (i as f64 * part - 0.5).ceil() as isize;
            (along(sin), along(cos), weight)
        })
        .collect();
    scattered(plane, size, &taps, Border::Nearest)
}

/// The weights along that line, with sum 1; with sigma 0 the identity.
pub(crate) fn motion_kernel(radius: f32, sigma: f32) -> Vec<f32> {
    let reach = 2 * radius.ceil() as usize;
    let mut half = gaussian_kernel(sigma, reach).split_off(reach);
    let sum: f32 = half.iter().sum();
    for weight in &mut half {
        *weight /= sum;
    }
    half
}

fn pad(wide: &mut [f32], row: &[f32], places: &[usize]) {
    wide.iter_mut().zip(places).for_each(|(value, place)| *value = row[*place]);
}

fn add(sums: &mut [f32], values: &[f32], weight: f32) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
}
