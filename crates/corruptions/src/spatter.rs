//! Spatter: drops of water or mud.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::filters::{Border, Kernel, box3, correlate, usual_gaussian};
use crate::planes::{Planes, Size};

/// Pale turquoise, added to the image.
const WATER: [f32; 3] = [175.0, 238.0, 238.0];
/// Brown, which replaces the image.
const MUD: [f32; 3] = [63.0, 42.0, 20.0];
/// Distance to an outline, in pixels, above which a drop is flat.
const FLAT: f32 = 20.0;
/// Step lengths of the 5 x 5 distance transform with which `OpenCV` approximates the Euclidean distance:
/// straight, diagonal, knight's move.
const STEPS: [f32; 3] = [1.0, 1.4, 2.1969];
/// Tangent of 22.5 degrees.
const TANGENT: f32 = std::f32::consts::SQRT_2 - 1.0;

/// The parameters of drops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spatter {
    /// Mean and standard deviation of the noise.
    pub(crate) mean: f32,
    pub(crate) std: f32,
    /// Standard deviation of the Gaussian filter of the noise.
    pub(crate) sigma: f32,
    /// The threshold above which there is liquid.
    pub(crate) threshold: f32,
    /// Strength of water, or a second Gaussian filter of mud.
    pub(crate) liquid: Liquid,
}

/// The kind of liquid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Liquid {
    /// Transparent, with light and shade; its strength.
    Water(f32),
    /// Opaque; the Gaussian filter that rounds its drops, in pixels.
    Mud(f32),
}

/// Drops where smoothed noise exceeds a threshold.
///
/// `OpenCV`'s edge detection, distances, equalisation and embossing are reimplemented from their definitions.
/// They differ from it in the rounding of distances (single precision instead of 16 fractional bits) and of
/// slopes (instead of 15).
///
/// There are two more differences from the authors' code. An image without water drops stays unchanged (there
/// it is divided by the largest depth, zero), and noise above 1 is clamped to level 255 (there it wraps
/// around to dark levels).
pub(crate) fn spatter(planes: &mut Planes, spatter: Spatter, rng: &mut ChaCha8Rng) {
    let noise = |_| spatter.mean + spatter.std * rng.sample::<f32, _>(StandardNormal);
    let noise: Vec<f32> = (0..planes.area()).map(noise).collect();
    let mut layer = usual_gaussian(&noise, planes.size, spatter.sigma);
    layer.iter_mut().filter(|value| **value < spatter.threshold).for_each(|value| *value = 0.0);
    match spatter.liquid {
        Liquid::Water(strength) => water(planes, &layer, strength),
        Liquid::Mud(rounding) => {
            let drops: Vec<f32> =
                layer.iter().map(|value| f32::from(u8::from(*value > spatter.threshold))).collect();
            let mut cover = usual_gaussian(&drops, planes.size, rounding);
            cover.iter_mut().filter(|value| **value < 0.8).for_each(|value| *value = 0.0);
            let colour = planes.colour(MUD);
            for (plane, colour) in planes.each().zip(colour) {
                let pixels = plane.iter_mut().zip(&cover);
                pixels.for_each(|(value, cover)| *value = *value * (1.0 - cover) + cover * colour);
            }
        }
    }
}

fn water(planes: &mut Planes, layer: &[f32], strength: f32) {
    let levels: Vec<f32> = layer.iter().map(|value| (value * 255.0).floor().clamp(0.0, 255.0)).collect();
    let relief = relief(&levels, planes.size);
    let depth: Vec<f32> = levels.iter().zip(&relief).map(|(level, relief)| level * relief).collect();
    let most = depth.iter().fold(0.0_f32, |most, depth| most.max(*depth));
    // There is no drop.
    if most == 0.0 {
        return;
    }
    let colour = planes.colour(WATER);
    for (plane, colour) in planes.each().zip(colour) {
        plane.iter_mut().zip(&depth).for_each(|(value, depth)| *value += depth / most * strength * colour);
    }
}

/// Light and shade of drops, from the distance to their outlines.
fn relief(levels: &[f32], size: Size) -> Vec<f32> {
    let mut distances = distances(&outlines(levels, size, 50.0, 150.0), size);
    for distance in &mut distances {
        *distance = distance.min(FLAT);
    }
    let mut flat = box3(&distances, size);
    for value in &mut flat {
        *value = (*value + 1e-4).floor();
    }
    let emboss = Kernel { size: [3, 3], weights: vec![-2.0, -1.0, 0.0, -1.0, 1.0, 1.0, 0.0, 1.0, 2.0] };
    let mut embossed = correlate(&equalised(&flat), size, &emboss, Border::Mirror);
    for value in &mut embossed {
        *value = value.clamp(0.0, 255.0);
    }
    box3(&embossed, size).iter().map(|value| value.round()).collect()
}

/// Canny edges of levels: ridges of the slope above `low` that are connected to one above `high`.
pub(crate) fn outlines(levels: &[f32], [h, w]: Size, low: f32, high: f32) -> Vec<bool> {
    let sobel = |weights: [f32; 9]| {
        let kernel = Kernel { size: [3, 3], weights: weights.to_vec() };
        correlate(levels, [h, w], &kernel, Border::Nearest)
    };
    let dx = sobel([-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0]);
    let dy = sobel([-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0]);
    let slope = |y: usize, x: usize| match y.checked_sub(1).zip(x.checked_sub(1)) {
        Some((y, x)) if y < h && x < w => dx[y * w + x].abs() + dy[y * w + x].abs(),
        _ => 0.0,
    };
    let crest = |y: usize, x: usize| {
        let here = slope(y + 1, x + 1);
        let (gx, gy) = (dx[y * w + x], dy[y * w + x]);
        // Of two equal neighbours on a straight ridge the first one counts.
        let stands = if gy.abs() < TANGENT * gx.abs() {
            here > slope(y + 1, x) && here >= slope(y + 1, x + 2)
        } else if TANGENT * gy.abs() > gx.abs() {
            here > slope(y, x + 1) && here >= slope(y + 2, x + 1)
        } else if (gx < 0.0) == (gy < 0.0) {
            here > slope(y, x) && here > slope(y + 2, x + 2)
        } else {
            here > slope(y, x + 2) && here > slope(y + 2, x)
        };
        if here > low && stands { here } else { 0.0 }
    };
    let crests: Vec<f32> = (0..h * w).map(|at| crest(at / w, at % w)).collect();
    let mut found = vec![false; h * w];
    let mut open: Vec<usize> = (0..h * w).filter(|at| crests[*at] > high).collect();
    for at in &open {
        found[*at] = true;
    }
    while let Some(at) = open.pop() {
        let (y, x) = (at / w, at % w);
        for y in y.saturating_sub(1)..(y + 2).min(h) {
            for x in x.saturating_sub(1)..(x + 2).min(w) {
                let next = y * w + x;
                if crests[next] > 0.0 && !found[next] {
                    found[next] = true;
                    open.push(next);
                }
            }
        }
    }
    found
}

/// Distance of every pixel to the nearest outline, in two passes over the image; infinite if there is no
/// outline.
pub(crate) fn distances(outlines: &[bool], [h, w]: Size) -> Vec<f32> {
    let [straight, diagonal, knight] = STEPS;
    // Neighbours that a pass from the top left has already visited; the second pass uses them rotated by 180
    // degrees.
    let before = [
        (-1, -2, knight),
        (-2, -1, knight),
        (-2, 1, knight),
        (-1, 2, knight),
        (-1, -1, diagonal),
        (-1, 1, diagonal),
        (-1, 0, straight),
        (0, -1, straight),
    ];
    let mut distances: Vec<f32> =
        outlines.iter().map(|outline| if *outline { 0.0 } else { f32::INFINITY }).collect();
    let mut visit = |at: usize, sign: isize| {
        let (y, x) = (at / w, at % w);
        for (dy, dx, step) in before {
            let place = y.checked_add_signed(sign * dy).zip(x.checked_add_signed(sign * dx));
            if let Some((y, x)) = place.filter(|(y, x)| *y < h && *x < w) {
                distances[at] = distances[at].min(distances[y * w + x] + step);
            }
        }
    };
    (0..h * w).for_each(|at| visit(at, 1));
    (0..h * w).rev().for_each(|at| visit(at, -1));
    distances
}

/// Histogram equalisation of levels; an image of one level stays unchanged.
pub(crate) fn equalised(levels: &[f32]) -> Vec<f32> {
    let mut counts = [0_usize; 256];
    for level in levels {
        counts[*level as usize & 255] += 1;
    }
    let first = counts.iter().find(|count| **count > 0).copied().unwrap_or(0);
    if first == levels.len() {
        return levels.to_vec();
    }
    let scale = 255.0 / (levels.len() - first) as f32;
    let mut below = 0;
    let table = counts.map(|count| {
        below += count;
        (below.saturating_sub(first) as f32 * scale).round_ties_even()
    });
    levels.iter().map(|level| table[*level as usize & 255]).collect()
}
