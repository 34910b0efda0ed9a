//! Proposals in l-inf balls: every changed pixel moves to one end of its range, x + e or x - e, clamped to [0, 1].

use rand::Rng;

use crate::Places;
use crate::sample::{Sample, Window};

/// Maximum number of draws of signs until a square changes a pixel. With one channel half of all draws change one.
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

#[cfg(test)]
mod tests {
    use temper_core::{Norm, Rng};

    use super::*;
    use crate::sample::random;

    const SHAPES: [[usize; 3]; 6] = [[3, 32, 32], [1, 28, 28], [2, 5, 9], [1, 9, 5], [3, 1, 1], [1, 1, 7]];

    #[test]
    fn every_proposal_is_at_the_edge_of_ball_and_box() {
        for shape in SHAPES {
            for sample in &mut random(shape, 0.1, Norm::Linf, 3) {
                let mut rng = Rng::new(1, "linf").sample(sample.id());
                stripes(sample, &mut rng);
                for side in (1..=shape[1].min(shape[2])).rev() {
                    let (_, largest, inside) = sample.reach();
                    assert!(inside && largest <= 0.1 + 1e-6, "{shape:?}: {largest}");
                    sample.take();
                    assert!(sample.is_at_the_ends(), "{shape:?}: a pixel within its range");
                    square(sample, side, Places::All, &mut rng);
                    let changed = sample.changed();
                    assert!(!changed.is_empty(), "{shape:?}, side {side}: nothing changed");
                    for axis in 1..3 {
                        let along = changed.iter().map(|pixel| pixel[axis]);
                        let span = along.clone().max().unwrap() - along.min().unwrap();
                        assert!(span < side, "{shape:?}: {span} of a square of side {side}");
                    }
                }
            }
        }
    }

    #[test]
    fn stripes_are_vertical_with_a_sign_for_each_channel() {
        let sample = &mut random([3, 6, 40], 0.02, Norm::Linf, 1)[0];
        sample.again();
        let mut rng = Rng::new(1, "linf").sample(0);
        stripes(sample, &mut rng);
        let signs: Vec<f32> =
            sample.proposal().iter().zip(sample.image()).map(|(new, old)| (new - old).signum()).collect();
        let moved = |channel: usize, column: usize| -> Vec<f32> {
            let pixels = (0..6).map(|row| (channel * 6 + row) * 40 + column);
            let moved = pixels.filter(|i| sample.proposal()[*i] != sample.image()[*i]);
            moved.map(|i| signs[i]).collect()
        };
        let columns: Vec<Vec<f32>> =
            (0..3).flat_map(|c| (0..40).map(move |x| (c, x))).map(|(c, x)| moved(c, x)).collect();
        assert!(columns.iter().all(|column| column.iter().all(|sign| *sign == column[0])));
        let up = columns.iter().filter(|column| column.first() == Some(&1.0)).count();
        assert!((40..80).contains(&up), "{up} of 120 stripes go up");
        assert_ne!(signs[..40], signs[240..280], "channels share their signs");
    }

    /// Which rows and columns squares change in many draws.
    fn reached(places: Places) -> Vec<[usize; 3]> {
        let sample = &mut random([1, 8, 6], 0.1, Norm::Linf, 1)[0];
        let mut rng = Rng::new(1, "linf").sample(0);
        let mut all: Vec<[usize; 3]> = (0..400)
            .flat_map(|_| {
                square(sample, 3, places, &mut rng);
                sample.changed()
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    #[test]
    fn the_last_row_and_column_are_reached_unless_asked_otherwise() {
        let all: Vec<[usize; 3]> = (0..8).flat_map(|y| (0..6).map(move |x| [0, y, x])).collect();
        assert_eq!(reached(Places::All), all);
        let inner: Vec<[usize; 3]> = all.into_iter().filter(|[_, y, x]| *y < 7 && *x < 5).collect();
        assert_eq!(reached(Places::AllButLast), inner);
    }

    #[test]
    fn in_a_ball_of_radius_0_the_search_ends_without_a_change() {
        let sample = &mut random([2, 8, 8], 0.0, Norm::Linf, 1)[0];
        square(sample, 3, Places::All, &mut Rng::new(1, "linf").sample(0));
        assert!(sample.changed().is_empty());
    }
}
