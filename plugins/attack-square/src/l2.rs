//! Proposals in l2 balls: section 3.4 and Algorithm 3 of the paper.
//!
//! The perturbation is a sum of patches, each a bump upwards beside one downwards. A change removes the perturbation
//! from one window, puts a patch of the removed length into another one, and scales the whole to the length of the
//! radius.
//!
//! In an image that is not square, the side of a tile is a fifth of the shorter side, and the number of tiles along
//! the longer side is proportional to its length. Below 5 pixels a tile is a single pixel.

use rand::Rng;

use crate::Places;
use crate::linf::place;
use crate::sample::{Sample, Window};

/// Tiles along the shorter side of an image.
const TILES: usize = 5;

/// A square perturbation of length 1: the upper half is a bump upwards, the lower half a bump downwards.
#[derive(Debug)]
pub(crate) struct Patch {
    side: usize,
    values: Vec<f32>,
}

impl Patch {
    pub(crate) fn new(side: usize) -> Self {
        let mut values = bump(side / 2, side);
        values.extend(bump(side - side / 2, side).iter().map(|value| -value));
        let length = length(&values);
        Self { side, values: values.iter().map(|value| (value / length) as f32).collect() }
    }

    /// Row `at` of the patch, or if `transposed` its column `at`.
    fn line(&self, at: usize, transposed: bool) -> impl Iterator<Item = f32> {
        let (first, step) = if transposed { (at, self.side) } else { (at * self.side, 1) };
        self.values[first..].iter().step_by(step).take(self.side).copied()
    }
}

/// `rows x columns` values: the sum of nested rectangles around the centre, in which the one of side 2 r + 1 is
/// 1 / (r + 1)^2 high, scaled to length 1.
fn bump(rows: usize, columns: usize) -> Vec<f64> {
    let mut values = vec![0.0; rows * columns];
    let (top, left) = (rows / 2, columns / 2);
    for r in 0..=top.max(left) {
        for row in top.saturating_sub(r)..(top + r + 1).min(rows) {
            for column in left.saturating_sub(r)..(left + r + 1).min(columns) {
                values[row * columns + column] += 1.0 / ((r + 1) as f64).powi(2);
            }
        }
    }
    let length = length(&values);
    values.iter().map(|value| value / length).collect()
}

/// The length of a vector; never 0, so that it can be a divisor.
fn length(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE)
}

/// The side of the start's tiles.
pub(crate) fn tile_side([rows, columns]: [usize; 2]) -> usize {
    (rows.min(columns) / TILES).max(1)
}

/// The number of tiles of this side along a side of the image, and the position at which the first one begins.
fn grid(length: usize, shorter: usize, side: usize) -> (usize, usize) {
    let tiles = (TILES * length / shorter.max(1)).min(length / side);
    (tiles, (length - tiles * side) / 2)
}

/// The start: a grid of tiles, each with one direction, and one sign for each channel.
pub(crate) fn tiles(sample: &mut Sample, tile: &Patch, rng: &mut impl Rng) {
    let offset = tiled(sample.shape(), tile, rng);
    let factor = scale(&offset, sample.radius());
    sample.propose(&offset, factor);
}

/// The offset of the start, not yet scaled.
fn tiled(shape: [usize; 3], tile: &Patch, rng: &mut impl Rng) -> Vec<f32> {
    let [channels, rows, columns] = shape;
    let (shorter, side) = (rows.min(columns), tile.side);
    let ((down, top), (across, left)) = (grid(rows, shorter, side), grid(columns, shorter, side));
    let mut offset = vec![0.0; channels * rows * columns];
    for place in 0..down * across {
        let window = Window { top: top + place / across * side, left: left + place % across * side, side };
        let transposed = rng.random();
        for channel in 0..channels {
            let sign: f32 = if rng.random() { 1.0 } else { -1.0 };
            for (at, line) in window.lines(shape, channel).enumerate() {
                for (value, patch) in offset[line].iter_mut().zip(tile.line(at, transposed)) {
                    *value = sign * patch;
                }
            }
        }
    }
    offset
}

/// A change: moves the perturbation of one window, together with a patch, into another.
pub(crate) fn shift(sample: &mut Sample, patch: &Patch, places: Places, rng: &mut impl Rng) {
    let mut offset = sample.offset();
    move_into(&mut offset, sample.shape(), sample.radius(), patch, places, rng);
    let factor = scale(&offset, sample.radius());
    sample.propose(&offset, factor);
}

/// The factor that gives an offset the length of the radius; 0 for an offset of 0.
fn scale(offset: &[f32], radius: f64) -> f32 {
    let length = squares(offset).sqrt();
    if length > 0.0 { (radius / length) as f32 } else { 0.0 }
}

/// The change of an offset, not yet scaled.
fn move_into(
    offset: &mut [f32],
    shape: [usize; 3],
    radius: f64,
    patch: &Patch,
    places: Places,
    rng: &mut impl Rng,
) {
    let into = place(shape, patch.side, places, rng);
    let out_of = place(shape, patch.side, places, rng);
    let transposed = rng.random();
    // The squared length lost to clamping, divided among the channels.
    let spare = (radius * radius - squares(offset)).max(0.0) / shape[0] as f64;
    for channel in 0..shape[0] {
        let sign: f64 = if rng.random() { 1.0 } else { -1.0 };
        let old = into.lines(shape, channel).map(|line| squares(&offset[line])).sum::<f64>().sqrt();
        // The direction of the new perturbation: the old one in this window, scaled to length 1, plus the patch.
        let mut new = Vec::with_capacity(patch.values.len());
        for (at, line) in into.lines(shape, channel).enumerate() {
            let old = offset[line].iter().map(|value| f64::from(*value) / old.max(f64::MIN_POSITIVE));
            new.extend(old.zip(patch.line(at, transposed)).map(|(old, patch)| old + sign * f64::from(patch)));
        }
        // The squared length removed from both windows; where they overlap it counts once.
        let mut taken = 0.0;
        for line in into.lines(shape, channel).chain(out_of.lines(shape, channel)) {
            taken += squares(&offset[line.clone()]);
            offset[line].fill(0.0);
        }
        let (direction, length) = (length(&new), (spare + taken).sqrt());
        for (line, new) in into.lines(shape, channel).zip(new.chunks(patch.side)) {
            for (value, new) in offset[line].iter_mut().zip(new) {
                *value = (new / direction * length) as f32;
            }
        }
    }
}

/// The sum of all squares, in partial sums that a processor computes in parallel.
fn squares(values: &[f32]) -> f64 {
    let square = |value: &f32| f64::from(*value) * f64::from(*value);
    let mut sums = [0.0; 8];
    let chunks = values.chunks_exact(sums.len());
    let rest: f64 = chunks.remainder().iter().map(square).sum();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += square(value);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use temper_core::{Norm, Rng};

    use super::*;
    use crate::sample::random;

    #[test]
    fn patches_are_two_opposite_bumps_of_unit_length() {
        for side in 1..40 {
            let values = Patch::new(side).values;
            assert!((squares(&values) - 1.0).abs() < 1e-6, "side {side}");
            let (up, down) = values.split_at(side / 2 * side);
            assert!(up.iter().all(|v| *v > 0.0) && down.iter().all(|v| *v < 0.0), "side {side}");
        }
        // By hand: upwards 1/4, 5/4, 1/4; downwards 1/4 everywhere and 5/4 at (1, 1). Halves of equal length.
        let (up, down) = ((27.0f32 / 16.0).sqrt(), (30.0f32 / 16.0).sqrt());
        let half = 2.0f32.sqrt();
        let want = [
            0.25 / up,
            1.25 / up,
            0.25 / up,
            -0.25 / down,
            -0.25 / down,
            -0.25 / down,
            -0.25 / down,
            -1.25 / down,
            -0.25 / down,
        ];
        for (got, want) in Patch::new(3).values.iter().zip(want) {
            assert!((got - want / half).abs() < 1e-6, "{got}, not {want} / {half}");
        }
        let patch = Patch::new(3);
        assert!(patch.line(1, true).eq([1, 4, 7].map(|i| patch.values[i])));
    }

    #[test]
    fn the_start_has_five_tiles_on_a_side_whatever_the_size() {
        for size in [5, 7, 8, 9, 12, 14, 18, 19, 24, 28, 32, 224] {
            let tile = Patch::new(tile_side([size, size]));
            assert_eq!(tile.side, size / 5);
            let offset = tiled([1, size, size], &tile, &mut Rng::new(1, "l2").sample(0));
            let filled: Vec<usize> = (0..offset.len()).filter(|i| offset[*i] != 0.0).collect();
            let (covered, first) = (tile.side * 5, (size - tile.side * 5) / 2);
            assert_eq!(filled.len(), covered * covered, "{size}");
            assert_eq!(filled[0], first * (size + 1), "{size}");
            assert!((squares(&offset) - 25.0).abs() < 1e-4, "{size}");
        }
        // Rows, columns, and how many pixels the tiles cover.
        for (rows, columns, covered) in
            [(5, 9, 45), (9, 5, 45), (12, 31, 10 * 24), (3, 3, 9), (2, 7, 14), (1, 1, 1)]
        {
            let tile = Patch::new(tile_side([rows, columns]));
            let offset = tiled([1, rows, columns], &tile, &mut Rng::new(1, "l2").sample(0));
            assert_eq!(offset.iter().filter(|v| **v != 0.0).count(), covered, "{rows} x {columns}");
        }
    }

    const SHAPES: [[usize; 3]; 13] = [
        [3, 32, 32],
        [1, 28, 28],
        [1, 7, 7],
        [2, 8, 8],
        [1, 9, 9],
        [1, 12, 12],
        [1, 14, 14],
        [1, 18, 18],
        [1, 19, 19],
        [3, 24, 24],
        [2, 5, 9],
        [1, 2, 3],
        [3, 1, 1],
    ];

    #[test]
    fn every_proposal_has_the_length_of_the_radius_and_is_then_cut_by_the_box() {
        let radius = 0.8;
        let (mut proposals, mut changes) = (0, 0);
        for shape in SHAPES {
            let longest = shape[1].min(shape[2]);
            for sample in &mut random(shape, radius, Norm::L2, 3) {
                let mut rng = Rng::new(1, "l2").sample(sample.id());
                tiles(sample, &Patch::new(tile_side([shape[1], shape[2]])), &mut rng);
                for side in (1..=longest).rev() {
                    let (length, _, inside) = sample.reach();
                    assert!(inside && length > 0.0 && length <= radius * (1.0 + 1e-6), "{shape:?}: {length}");
                    sample.take();
                    let mut offset = sample.offset();
                    move_into(&mut offset, shape, radius, &Patch::new(side), Places::All, &mut rng.clone());
                    let factor = scale(&offset, radius);
                    let length = squares(&offset).sqrt() * f64::from(factor);
                    assert!((length - radius).abs() < 1e-6, "{shape:?}, side {side}: {length}");
                    shift(sample, &Patch::new(side), Places::All, &mut rng);
                    proposals += 1;
                    changes += usize::from(!sample.changed().is_empty());
                }
            }
        }
        // Two windows without any perturbation change nothing.
        assert!(changes * 20 > proposals * 19, "{changes} changes in {proposals} proposals");
    }

    /// Without clamping, a change moves length from window to window without loss, and leaves all other pixels as
    /// they are. Length lost to clamping is used again.
    #[test]
    fn a_change_keeps_the_length_of_the_perturbation() {
        let (shape, radius) = ([3, 16, 16], 0.5);
        let mut rng = Rng::new(1, "l2").sample(0);
        let mut offset = tiled(shape, &Patch::new(3), &mut rng);
        let factor = scale(&offset, radius);
        for value in &mut offset {
            *value *= factor;
        }
        for side in [15, 9, 5, 3].into_iter().cycle().take(40) {
            let old = offset.clone();
            move_into(&mut offset, shape, radius, &Patch::new(side), Places::All, &mut rng);
            assert!((squares(&offset).sqrt() - radius).abs() < 1e-5, "side {side}");
            let kept = offset.iter().zip(&old).filter(|(new, old)| new == old).count();
            assert!(kept >= 3 * 256usize.saturating_sub(2 * side * side), "side {side}: {kept} pixels kept");
        }
        let mut short: Vec<f32> = offset.iter().map(|value| value * 0.6).collect();
        move_into(&mut short, shape, radius, &Patch::new(5), Places::All, &mut rng);
        assert!((squares(&short).sqrt() - radius).abs() < 1e-5);
    }

    #[test]
    fn nothing_gives_nan() {
        let mut rng = Rng::new(1, "l2").sample(0);
        for radius in [0.0, 1e-40, 1e4] {
            let sample = &mut random([2, 6, 6], radius, Norm::L2, 1)[0];
            for _ in 0..20 {
                shift(sample, &Patch::new(3), Places::All, &mut rng);
                assert!(sample.proposal().iter().all(|pixel| (0.0..=1.0).contains(pixel)), "{radius}");
                sample.take();
            }
        }
        // The old perturbation is the negated patch, so that their sum can be 0.
        let patch = Patch::new(2);
        let mut offset: Vec<f32> = patch.values.iter().map(|value| -value).collect();
        for _ in 0..20 {
            move_into(&mut offset, [1, 2, 2], 1.0, &patch, Places::All, &mut rng);
            assert!(offset.iter().all(|value| value.is_finite()), "{offset:?}");
        }
    }
}
