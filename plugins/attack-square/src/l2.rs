//! Proposals in l2 balls: section 3.4 and Algorithm 3 of the paper.
//!
//! The perturbation is a sum of patches, each a bump upwards beside one downwards. A change takes the perturbation out
//! of one window, puts a patch with what was taken into another one, and scales the whole to the length of the radius.
//!
//! An image that is not square has tiles of a fifth of its shorter side, as many along its longer side as fit that
//! ratio. Below 5 pixels a tile is a single pixel.

use rand::Rng;

use crate::Places;
use crate::linf::place;
use crate::sample::{Sample, Window};

/// Tiles along the shorter side of an image.
const TILES: usize = 5;

/// A square perturbation of length 1: the rows of the upper half are a bump, those of the lower half one downwards.
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

    /// A row, or of the transposed patch a column.
    fn line(&self, at: usize, transposed: bool) -> impl Iterator<Item = f32> {
        let (first, step) = if transposed { (at, self.side) } else { (at * self.side, 1) };
        self.values[first..].iter().step_by(step).take(self.side).copied()
    }
}

/// Nested rectangles around the centre, `rows x columns`: the one of side 2 r + 1 is 1 / (r + 1)^2 high. Length 1.
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

/// How many tiles of this side lie along a side of the image, and where the first one begins.
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

/// A change: takes the perturbation out of one window and puts it, with a patch, into another.
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
    // What the box has cut from the length, shared among the channels.
    let spare = (radius * radius - squares(offset)).max(0.0) / shape[0] as f64;
    for channel in 0..shape[0] {
        let sign: f64 = if rng.random() { 1.0 } else { -1.0 };
        let old = into.lines(shape, channel).map(|line| squares(&offset[line])).sum::<f64>().sqrt();
        // The direction of the new patch: the old one in its place, and the patch.
        let mut new = Vec::with_capacity(patch.values.len());
        for (at, line) in into.lines(shape, channel).enumerate() {
            let old = offset[line].iter().map(|value| f64::from(*value) / old.max(f64::MIN_POSITIVE));
            new.extend(old.zip(patch.line(at, transposed)).map(|(old, patch)| old + sign * f64::from(patch)));
        }
        // What both windows held; where they overlap it is taken once.
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

/// The sum of all squares.
fn squares(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum()
}
