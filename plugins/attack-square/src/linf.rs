//! Proposals in l-inf balls: every changed pixel goes to one end of its range, x + e or x - e, cut by [0, 1].

use rand::Rng;

use crate::Places;
use crate::sample::{Sample, Window};

/// How often signs are drawn for a square that would change nothing. With one channel half of all draws change it.
const TRIES: usize = 64;

/// The start: vertical stripes, one sign for each channel and column.
pub(crate) fn stripes(sample: &mut Sample, rng: &mut impl Rng) {
    let [channels, rows, columns] = sample.shape();
    for channel in 0..channels {
        for column in 0..columns {
            let up = rng.random();
            for row in 0..rows {
                let pixel = (channel * rows + row) * columns + column;
                sample.push(pixel..pixel + 1, up);
            }
        }
    }
}

/// A change: one square, one sign for each channel.
pub(crate) fn square(sample: &mut Sample, side: usize, places: Places, rng: &mut impl Rng) {
    let window = place(sample.shape(), side, places, rng);
    sample.again();
    for _ in 0..TRIES {
        let mut changed = false;
        for channel in 0..sample.shape()[0] {
            let up = rng.random();
            for line in window.lines(sample.shape(), channel) {
                changed |= sample.push(line, up);
            }
        }
        if changed {
            break;
        }
    }
}

/// A random place for a square.
pub(crate) fn place(
    [_, rows, columns]: [usize; 3],
    side: usize,
    places: Places,
    rng: &mut impl Rng,
) -> Window {
    let top = rng.random_range(0..places.count(rows, side));
    let left = rng.random_range(0..places.count(columns, side));
    Window { top, left, side }
}
