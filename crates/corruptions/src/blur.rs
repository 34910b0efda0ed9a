//! Blurring corruptions.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::filters::{Border, Kernel, correlate, gaussian_kernel, motion as along, usual_gaussian};
use crate::geometry::clipped_zoom;
use crate::planes::Planes;

/// A Gaussian filter.
pub(crate) fn gaussian(planes: &mut Planes, sigma: f32) {
    planes.replace(|plane, size| usual_gaussian(plane, size, sigma));
}

/// Defocus blur: a disk kernel.
pub(crate) fn defocus(planes: &mut Planes, radius: f32, alias: f32) {
    let kernel = disk(radius, alias);
    planes.replace(|plane, size| correlate(plane, size, &kernel, Border::Mirror));
}

/// A disk of this radius on the pixel grid with sum 1, smoothed by a Gaussian of standard deviation `alias`
/// over 3 x 3 pixels, or 5 x 5 above radius 8. Where the disk touches the border of its grid, at radii of at
/// least 8, it is smoothed with a mirrored border, which adds one or two per cent to the sum. The published
/// files have the same property.
pub(crate) fn disk(radius: f32, alias: f32) -> Kernel {
    let (reach, smooth) = if radius <= 8.0 { (8, 1) } else { (radius as usize, 2) };
    let side = 2 * reach + 1;
    let inside = |at: usize| {
        let (y, x) = ((at / side) as f32 - reach as f32, (at % side) as f32 - reach as f32);
        f32::from(u8::from(y * y + x * x <= radius * radius))
    };
    let mut weights: Vec<f32> = (0..side * side).map(inside).collect();
    let sum: f32 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= sum;
    }
    let line = gaussian_kernel(alias, smooth);
    let square = line.iter().flat_map(|y| line.iter().map(move |x| y * x)).collect();
    let square = Kernel { size: [line.len(); 2], weights: square };
    Kernel { size: [side; 2], weights: correlate(&weights, [side; 2], &square, Border::Mirror) }
}

/// Glass blur: a Gaussian filter; then `passes` times each pixel is replaced by a random one, from up to
/// `reach` pixels above and to the left to `reach - 1` below and to the right; then the filter again.
///
/// The paper describes swaps. The swap in the published code copies, so both pixels get the neighbour's colour.
/// This function does the same.
pub(crate) fn glass(planes: &mut Planes, sigma: f32, reach: usize, passes: usize, rng: &mut ChaCha8Rng) {
    gaussian(planes, sigma);
    planes.cut_to_levels();
    let ([h, w], area, far) = (planes.size, planes.area(), reach as i32);
    // Within reach 0 every pixel is its own neighbour.
    for _ in 0..passes * reach.min(1) {
        // From the bottom right. A very small image has no pixel that far from its border.
        for y in (reach + 1..=h.saturating_sub(reach)).rev() {
            for x in (reach + 1..=w.saturating_sub(reach)).rev() {
                let (dx, dy) = (rng.random_range(-far..far), rng.random_range(-far..far));
                let from = y.saturating_add_signed(dy as isize) * w + x.saturating_add_signed(dx as isize);
                planes.values.chunks_exact_mut(area).for_each(|plane| plane[y * w + x] = plane[from]);
            }
        }
    }
    gaussian(planes, sigma);
}

/// Motion blur at an angle of up to 45 degrees to the horizontal. Values are rounded to levels, as in
/// `ImageMagick`.
pub(crate) fn motion(planes: &mut Planes, radius: f32, sigma: f32, rng: &mut ChaCha8Rng) {
    let degrees = rng.random_range(-45.0..45.0);
    planes.replace(|plane, size| along(plane, size, radius, sigma, degrees));
    for value in &mut planes.values {
        *value = (*value * 255.0).round() / 255.0;
    }
}

/// Zoom blur: the mean of the image and its enlargements by `1 + i step`, for `i` from 0 to `count - 1`, with
/// the step as in `numpy.arange`. Sides of crops and of enlargements are rounded, often from a half.
pub(crate) fn zoom(planes: &mut Planes, count: usize, step: f64) {
    let step = (1.0 + step) - 1.0;
    planes.replace(|plane, size| {
        let mut sums = plane.to_vec();
        for i in 0..count {
            let zoomed = clipped_zoom(plane, size, 1.0 + i as f64 * step);
            sums.iter_mut().zip(zoomed).for_each(|(sum, value)| *sum += value);
        }
        sums.iter().map(|sum| sum / (count + 1) as f32).collect()
    });
}
