//! Translation invariance (TI), Dong et al. 2019: gradients smoothed by a Gaussian kernel.
//!
//! Smoothing the gradient at an image approximates the mean gradient over the shifted image. The kernel is an
//! outer product, so the convolution is one matrix product along the rows and one along the columns.

use temper_core::prelude::*;

use crate::planes::between;

/// The largest size of a kernel.
const LARGEST: usize = 999;
/// The kernel ends at this many standard deviations.
const DEVIATIONS: f64 = 3.0;

/// The message about a size that is not supported; `None` if it is.
pub(crate) fn problem(size: usize) -> Option<String> {
    match size {
        0 => None,
        _ if size > LARGEST => Some(format!("`kernel` is at most {LARGEST}, not {size}")),
        _ if size.is_multiple_of(2) => Some(format!("`kernel` must be odd, or 0 for none, not {size}")),
        _ => None,
    }
}

/// One axis of the kernel: the density of the normal distribution at `size` equally spaced points from -3 to 3,
/// divided by its sum.
fn weights(size: usize) -> Vec<f64> {
    let place = |i: usize| DEVIATIONS * (2.0 * i as f64 / (size - 1).max(1) as f64 - 1.0);
    let density: Vec<f64> = (0..size).map(|i| (-0.5 * place(i).powi(2)).exp()).collect();
    let sum: f64 = density.iter().sum();
    density.iter().map(|value| value / sum).collect()
}

/// The convolution of each channel with the kernel, with zeros around the image, for images of one size.
#[derive(Debug)]
pub(crate) struct Blur {
    /// `[1, h, h]`.
    rows: Tensor,
    /// `[1, w, w]`.
    columns: Tensor,
}

impl Blur {
    /// A kernel of `size` times `size` for images like `images`, `[n, c, h, w]`; `None` for a size of 0. An error if
    /// [`problem`] rejects the size.
    pub(crate) fn new(size: usize, images: &Tensor) -> Result<Option<Self>> {
        if let Some(problem) = problem(size) {
            return Err(Error::refused(problem));
        }
        if size == 0 {
            return Ok(None);
        }
        let (weights, (_, _, h, w)) = (weights(size), images.dims4()?);
        let matrix = |side: usize| -> Result<Tensor> {
            let band =
                |i: usize, j: usize| weights.get((j + size / 2).wrapping_sub(i)).copied().unwrap_or(0.0);
            let values: Vec<f64> = (0..side * side).map(|at| band(at / side, at % side)).collect();
            Ok(Tensor::from_vec(values, (1, side, side), images.device())?.to_dtype(images.dtype())?)
        };
        Ok(Some(Self { rows: matrix(h)?, columns: matrix(w)? }))
    }

    /// The smoothed gradient, `[n, c, h, w]`, in units of each sample's largest entry, so that tiny gradients are not
    /// lost. A gradient that is not finite has no direction.
    pub(crate) fn apply(&self, gradient: &Tensor) -> Result<Tensor> {
        // The kernel is symmetric, so both matrices are their own transposes.
        between(&self.rows, &scaled(gradient)?, &self.columns)
    }
}

#[cfg(test)]
mod tests {
    use temper_core::Device;

    use super::*;

    #[test]
    fn the_kernel_is_the_normal_density_with_sum_1() {
        for size in [1, 3, 15, 999] {
            let weights = weights(size);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{size}");
            assert!((0..size).all(|i| (weights[i] - weights[size - 1 - i]).abs() < 1e-15), "{size}");
        }
        // Densities at -3, 0 and 3: e^-4.5, 1, e^-4.5.
        let edge = (-4.5f64).exp();
        assert!((weights(3)[0] - edge / (1.0 + 2.0 * edge)).abs() < 1e-15);
        // Neighbouring points are 6 / 14 of a deviation apart.
        assert!((weights(15)[8] / weights(15)[7] - (-0.5 * (6.0f64 / 14.0).powi(2)).exp()).abs() < 1e-12);
    }

    #[test]
    fn even_and_huge_sizes_are_refused() {
        let image = Tensor::zeros((1, 1, 4, 4), temper_core::DType::F32, &Device::Cpu).unwrap();
        for size in [2, 14, 1001, usize::MAX] {
            assert!(problem(size).is_some() && Blur::new(size, &image).is_err(), "{size}");
        }
        assert!(Blur::new(0, &image).unwrap().is_none());
        assert!([0, 1, 15, 999].into_iter().all(|size| problem(size).is_none()));
    }

    /// Two images of 5 x 9 pixels with two channels; the kernels reach beyond the image.
    #[test]
    fn smoothing_is_the_direct_convolution_with_zeros_around() {
        let (c, h, w) = (2, 5, 9);
        let values = Rng::new(1, "gradient").uniform(&[4, 7], c * h * w);
        let gradient = Tensor::from_vec(values, (2, c, h, w), &Device::Cpu).unwrap();
        let scaled = scaled(&gradient).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for size in [1, 3, 7, 15] {
            let blur = Blur::new(size, &gradient).unwrap().unwrap();
            let got = blur.apply(&gradient).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (weights, half) = (weights(size), size as isize / 2);
            let at = |plane: usize, i: isize, j: isize| {
                let inside = (0..h as isize).contains(&i) && (0..w as isize).contains(&j);
                if inside { f64::from(scaled[(plane * h + i as usize) * w + j as usize]) } else { 0.0 }
            };
            for (place, got) in got.iter().enumerate() {
                let (plane, i, j) = (place / (h * w), (place / w % h) as isize, (place % w) as isize);
                let mut want = 0.0;
                for (a, row) in (i - half..).zip(&weights) {
                    for (b, column) in (j - half..).zip(&weights) {
                        want += row * column * at(plane, a, b);
                    }
                }
                assert!((f64::from(*got) - want).abs() < 1e-6, "{size} at {place}: {got}, not {want}");
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_tiny_gradients_keep_their_shape() {
        let image =
            |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap().reshape((1, 1, 1, 5)).unwrap();
        let read = |values: &[f32]| -> Vec<f32> {
            let blur = Blur::new(3, &image(values)).unwrap().unwrap();
            blur.apply(&image(values)).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(read(&[0.0; 5]), [0.0; 5]);
        assert_eq!(read(&[0.0, 0.0, 1e-37, 0.0, 0.0]), read(&[0.0, 0.0, 1.0, 0.0, 0.0]));
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(read(&[0.0, wrong, 0.0, 0.0, 1.0]).iter().all(|value| value.is_finite()), "{wrong}");
        }
    }
}
