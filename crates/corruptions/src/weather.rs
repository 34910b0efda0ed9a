//! Snow and fog.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::filters::motion;
use crate::geometry::clipped_zoom;
use crate::planes::Planes;

/// The parameters of snow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Snow {
    /// Mean and standard deviation of the noise.
    pub(crate) mean: f32,
    pub(crate) std: f32,
    /// Enlargement of the noise.
    pub(crate) zoom: f64,
    /// The threshold above which there is a flake.
    pub(crate) threshold: f32,
    /// Motion blur of the flakes.
    pub(crate) radius: f32,
    pub(crate) sigma: f32,
    /// Weight of the image; the rest is a bleached version of it.
    pub(crate) mix: f32,
}

/// Snow: white streaks, falling at 45 to 135 degrees, on a bleached image. The streaks are added a second
/// time, rotated by 180 degrees.
pub(crate) fn snow(planes: &mut Planes, snow: Snow, rng: &mut ChaCha8Rng) {
    let size = planes.size;
    let noise = |_| snow.mean + snow.std * rng.sample::<f32, _>(StandardNormal);
    let noise: Vec<f32> = (0..planes.area()).map(noise).collect();
    let mut layer = clipped_zoom(&noise, size, snow.zoom);
    for value in &mut layer {
        let flake = if *value < snow.threshold { 0.0 } else { *value };
        *value = (flake * 255.0).clamp(0.0, 255.0).floor() / 255.0;
    }
    let degrees = rng.random_range(-135.0..-45.0);
    let mut layer = motion(&layer, size, snow.radius, snow.sigma, degrees);
    for value in &mut layer {
        *value = (*value * 255.0).round() / 255.0;
    }
    let grey = planes.grey();
    for plane in planes.each() {
        for (at, value) in plane.iter_mut().enumerate() {
            let bleached = value.max(grey[at] * 1.5 + 0.5);
            let flakes = layer[at] + layer[layer.len() - 1 - at];
            *value = snow.mix * *value + (1.0 - snow.mix) * bleached + flakes;
        }
    }
}

/// Fog: adds a plasma fractal times `amplitude`, and rescales to the image's largest value.
pub(crate) fn fog(planes: &mut Planes, amplitude: f32, decay: f64, rng: &mut ChaCha8Rng) {
    let [h, w] = planes.size;
    // 32 for CIFAR and 256 for ImageNet, as published.
    let side = h.max(w).next_power_of_two();
    let plasma = plasma(side, decay, rng);
    let most = planes.values.iter().fold(0.0_f32, |most, value| most.max(*value));
    // A black image stays black.
    let scale = if most > 0.0 { most / (most + amplitude) } else { 0.0 };
    for plane in planes.each() {
        for (row, plasma) in plane.chunks_exact_mut(w).zip(plasma.chunks_exact(side)) {
            row.iter_mut()
                .zip(plasma)
                .for_each(|(value, plasma)| *value = (*value + amplitude * plasma) * scale);
        }
    }
}

/// A plasma fractal by the diamond-square algorithm on a torus, `[side, side]` for a power of two, stretched
/// to [0, 1].
///
/// A new point is the mean of its four neighbours plus a number uniform in +-`wibble^2`. The square is as
/// published; roughness therefore falls by `decay^2` per octave.
pub(crate) fn plasma(side: usize, decay: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut map = vec![0.0_f64; side * side];
    let (mut step, mut wibble) = (side, 100.0_f64);
    while step >= 2 {
        let half = step / 2;
        // Centres of squares from their corners; then both kinds of edges from their two ends and the two
        // adjacent centres.
        for (top, left, corners) in [(half, half, true), (0, half, false), (half, 0, false)] {
            for y in (top..side).step_by(step) {
                for x in (left..side).step_by(step) {
                    let at = |y: usize, x: usize| map[y % side * side + x % side];
                    let (above, before) = (y + side - half, x + side - half);
                    let sum = match corners {
                        true => {
                            at(above, before)
                                + at(above, x + half)
                                + at(y + half, before)
                                + at(y + half, x + half)
                        }
                        false => at(above, x) + at(y + half, x) + at(y, before) + at(y, x + half),
                    };
                    map[y * side + x] = sum / 4.0 + wibble * wibble * rng.random_range(-1.0..1.0);
                }
            }
        }
        step = half;
        wibble /= decay;
    }
    let least = map.iter().copied().fold(f64::INFINITY, f64::min);
    let range = map.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    // A map of one point is flat.
    map.iter().map(|value| if range > 0.0 { ((value - least) / range) as f32 } else { 0.0 }).collect()
}
