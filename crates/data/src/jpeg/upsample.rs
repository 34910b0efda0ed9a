//! Chroma upsampling as in libjpeg-turbo ("fancy upsampling"). Factors of 2 use a triangle filter on only the
//! samples inside the image, not those that pad the last blocks. Other factors repeat samples.

/// The samples of a component.
pub(super) struct Plane {
    /// Rows of complete blocks.
    pub(super) samples: Vec<u8>,
    /// Samples from one row to the next.
    pub(super) stride: usize,
    /// Number of samples per row inside the image.
    pub(super) width: usize,
    /// Number of rows inside the image.
    pub(super) height: usize,
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..][..self.width]
    }

    /// The two rows at half the height for row `y` of the image: the nearer and the farther one.
    fn pair(&self, y: usize) -> (&[u8], &[u8]) {
        let near = y / 2;
        let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(self.height - 1) };
        (self.row(near), self.row(far))
    }
}

/// The method by which a plane is upsampled.
#[derive(Clone, Copy)]
pub(super) enum Spread {
    /// No upsampling.
    None,
    /// Doubled in width.
    Wider,
    /// Doubled in height.
    Higher,
    /// Doubled in both.
    Both,
    /// By repetition, with these factors of width and height.
    Repeat(usize, usize),
}

impl Spread {
    /// The method for a plane with these factors.
    pub(super) fn new(wider: usize, higher: usize, plane: &Plane) -> Self {
        match (wider, higher) {
            (1, 1) => Self::None,
            (1, 2) => Self::Higher,
            // libjpeg does not filter rows of two samples.
            (2, 1) if plane.width > 2 => Self::Wider,
            (2, 2) if plane.width > 2 => Self::Both,
            _ => Self::Repeat(wider, higher),
        }
    }

    /// Row `y` of the image, with a few samples beyond its end. `row` and `sums` are buffers.
    pub(super) fn row<'a>(
        self,
        plane: &'a Plane,
        y: usize,
        row: &'a mut Vec<u8>,
        sums: &mut Vec<u16>,
    ) -> &'a [u8] {
        match self {
            Self::None => return plane.row(y),
            Self::Wider => {
                row.resize(2 * plane.width, 0);
                wider(plane.row(y), row);
            }
            Self::Higher => {
                let (near, far) = plane.pair(y);
                let bias = 1 + (y % 2) as u16;
                row.clear();
                row.extend(near.iter().zip(far).map(|(near, far)| ((sum(*near, *far) + bias) >> 2) as u8));
            }
            Self::Both => {
                let (near, far) = plane.pair(y);
                sums.clear();
                sums.extend(near.iter().zip(far).map(|(near, far)| sum(*near, *far)));
                row.resize(2 * plane.width, 0);
                both(sums, row);
            }
            Self::Repeat(times, higher) => {
                row.clear();
                row.extend(
                    plane.row(y / higher).iter().flat_map(|sample| std::iter::repeat_n(*sample, times)),
                );
            }
        }
        row
    }
}

/// Three parts of the nearer sample, one part of the farther.
fn sum(near: u8, far: u8) -> u16 {
    3 * u16::from(near) + u16::from(far)
}

/// A row of doubled width. Ties are rounded down and up alternately; the ends have no farther neighbour.
fn wider(samples: &[u8], row: &mut [u8]) {
    for (out, around) in row[2..].chunks_exact_mut(2).zip(samples.windows(3)) {
        out[0] = ((sum(around[1], around[0]) + 1) >> 2) as u8;
        out[1] = ((sum(around[1], around[2]) + 2) >> 2) as u8;
    }
    let (last, end) = (samples.len() - 1, row.len() - 1);
    row[0] = samples[0];
    row[1] = ((sum(samples[0], samples[1]) + 2) >> 2) as u8;
    row[end - 1] = ((sum(samples[last], samples[last - 1]) + 1) >> 2) as u8;
    row[end] = samples[last];
}

/// The same for a row of sums of two rows.
fn both(sums: &[u16], row: &mut [u8]) {
    for (out, around) in row[2..].chunks_exact_mut(2).zip(sums.windows(3)) {
        out[0] = ((3 * around[1] + around[0] + 8) >> 4) as u8;
        out[1] = ((3 * around[1] + around[2] + 7) >> 4) as u8;
    }
    let (last, end) = (sums.len() - 1, row.len() - 1);
    row[0] = ((4 * sums[0] + 8) >> 4) as u8;
    row[1] = ((3 * sums[0] + sums[1] + 7) >> 4) as u8;
    row[end - 1] = ((3 * sums[last] + sums[last - 1] + 8) >> 4) as u8;
    row[end] = ((4 * sums[last] + 7) >> 4) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plane of one block, with `width` x `height` samples inside the image and all others 255.
    fn plane(width: usize, height: usize, sample: impl Fn(usize, usize) -> u8) -> Plane {
        let inside = |x: usize, y: usize| if x < width && y < height { sample(x, y) } else { 255 };
        Plane { samples: (0..64).map(|i| inside(i % 8, i / 8)).collect(), stride: 8, width, height }
    }

    fn spread(plane: &Plane, times: (usize, usize)) -> Vec<Vec<u8>> {
        let (spread, mut row, mut sums) = (Spread::new(times.0, times.1, plane), vec![], vec![]);
        (0..plane.height * times.1).map(|y| spread.row(plane, y, &mut row, &mut sums).to_vec()).collect()
    }

    #[test]
    fn what_fills_the_last_block_counts_for_nothing() {
        for width in 1..8 {
            for height in 1..8 {
                let flat = plane(width, height, |_, _| 40);
                for times in [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2)] {
                    let rows = spread(&flat, times);
                    assert!(
                        rows.iter().all(|row| *row == vec![40; width * times.0]),
                        "{width} {height} {times:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn neighbours_count_three_to_one() {
        let ramp = plane(3, 3, |x, y| (16 * x + 64 * y) as u8);
        assert_eq!(spread(&ramp, (2, 1))[0], [0, 4, 12, 20, 28, 32]);
        let column: Vec<u8> = spread(&ramp, (1, 2)).iter().map(|row| row[0]).collect();
        assert_eq!(column, [0, 16, 48, 80, 112, 128]);
        assert_eq!(spread(&ramp, (2, 2))[1], [16, 20, 28, 36, 44, 48]);
        assert_eq!(spread(&ramp, (4, 2))[3], [64, 64, 64, 64, 80, 80, 80, 80, 96, 96, 96, 96]);
    }

    #[test]
    fn ties_go_down_and_up_in_turns() {
        let steps = plane(4, 1, |x, _| [0, 2, 0, 2][x]);
        assert_eq!(spread(&steps, (2, 1))[0], [0, 1, 1, 2, 0, 1, 1, 2]);
    }

    #[test]
    fn narrow_rows_are_repeated() {
        let narrow = plane(2, 2, |x, y| (100 * x + 50 * y) as u8);
        assert_eq!(spread(&narrow, (2, 1))[0], [0, 0, 100, 100]);
        assert_eq!(spread(&narrow, (2, 2)).concat()[4..12], [0, 0, 100, 100, 50, 50, 150, 150]);
    }
}
