//! Placement of labels beside points, where they cover as little as possible.

use super::drawing::At;

/// A rectangle on the sheet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Area {
    /// Around a point.
    pub(super) fn around([x, y]: At, across: f64, down: f64) -> Self {
        Self { left: x - across / 2.0, top: y - down / 2.0, right: x + across / 2.0, bottom: y + down / 2.0 }
    }

    /// Whether the two overlap.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    /// Whether the other is inside this one.
    pub(super) fn holds(&self, other: &Self) -> bool {
        self.left <= other.left
            && other.right <= self.right
            && self.top <= other.top
            && other.bottom <= self.bottom
    }

    /// Whether the line from one point to another passes through.
    pub(super) fn crossed(&self, [x, y]: At, [to_x, to_y]: At) -> bool {
        // The part of the line, 0 to 1, between both pairs of sides (Liang and Barsky, 1984).
        let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
        for (from, way, low, high) in
            [(x, to_x - x, self.left, self.right), (y, to_y - y, self.top, self.bottom)]
        {
            if way == 0.0 {
                if from <= low || from >= high {
                    return false;
                }
                continue;
            }
            let (one, other) = ((low - from) / way, (high - from) / way);
            (enters, leaves) = (enters.max(one.min(other)), leaves.min(one.max(other)));
        }
        enters < leaves
    }
}

/// The parts of a plot that labels should not cover.
#[derive(Debug)]
pub(super) struct Places {
    within: Area,
    taken: Vec<Area>,
    ways: Vec<(At, At)>,
}

impl Places {
    /// A plot whose labels stay within this area.
    pub(super) fn new(within: Area) -> Self {
        Self { within, taken: vec![], ways: vec![] }
    }

    /// Adds an area that labels may not cover.
    pub(super) fn take(&mut self, area: Area) {
        self.taken.push(area);
    }

    /// Adds a line that should not be covered.
    pub(super) fn way(&mut self, from: At, to: At) {
        self.ways.push((from, to));
    }

    /// Places a label of this size beside a point, at a distance; returns its centre.
    pub(super) fn beside(&mut self, [x, y]: At, [width, height]: [f64; 2], distance: f64) -> At {
        let mut best: Option<(usize, At)> = None;
        // Close positions are tried first, then more distant ones: beyond an error bar there may be space.
        for distance in [0.0, 0.5, 1.5, 2.5].map(|lines| distance + lines * height) {
            let (across, down) = (distance + width / 2.0, distance + height / 2.0);
            let (slant_across, slant_down) = (across - distance * 0.4, down - distance * 0.4);
            let around = [
                [x + across, y],
                [x + slant_across, y - slant_down],
                [x + slant_across, y + slant_down],
                [x, y - down],
                [x, y + down],
                [x - slant_across, y - slant_down],
                [x - slant_across, y + slant_down],
                [x - across, y],
            ];
            for middle in around {
                let cost = self.cost(&Area::around(middle, width, height));
                if best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, middle));
                }
            }
        }
        let middle = best.map_or([x, y], |(_, middle)| middle);
        self.take(Area::around(middle, width, height));
        middle
    }

    /// The cost of a label at this position: leaving the plot is worst, then covering points and other
    /// labels, then lines.
    fn cost(&self, area: &Area) -> usize {
        let outside = usize::from(!self.within.holds(area)) * 1000;
        let covered = self.taken.iter().filter(|taken| taken.meets(area)).count() * 10;
        outside + covered + self.ways.iter().filter(|(from, to)| area.crossed(*from, *to)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Area = Area { left: 0.0, top: 0.0, right: 1.0, bottom: 1.0 };

    #[test]
    fn areas_meet_and_lines_cross_them() {
        assert!(UNIT.meets(&Area::around([1.0, 1.0], 0.5, 0.5)));
        assert!(!UNIT.meets(&Area::around([2.0, 0.5], 2.0, 0.5)), "sides that touch share no ground");
        assert!(UNIT.holds(&UNIT) && !UNIT.holds(&Area::around([0.5, 0.5], 1.1, 0.2)));
        assert!(UNIT.crossed([-1.0, 0.5], [2.0, 0.5]) && UNIT.crossed([0.2, 0.2], [0.3, 0.3]));
        assert!(!UNIT.crossed([-1.0, 1.5], [2.0, 1.5]) && !UNIT.crossed([2.0, 2.0], [3.0, 3.0]));
        assert!(!UNIT.crossed([-0.6, 0.5], [0.5, 1.7]), "past a corner");
    }

    #[test]
    fn where_bars_are_in_the_way_a_label_stands_beyond_them() {
        let mut places = Places::new(Area::around([100.0, 100.0], 200.0, 200.0));
        // An error bar through the point, and one on either side, closer than the width of the label.
        for x in [80.0, 100.0, 120.0] {
            places.way([x, 80.0], [x, 120.0]);
        }
        let label = Area::around(places.beside([100.0, 100.0], [60.0, 12.0], 4.0), 60.0, 12.0);
        let crossed = [80.0, 100.0, 120.0].iter().filter(|x| label.crossed([**x, 80.0], [**x, 120.0]));
        assert_eq!(crossed.count(), 0, "{label:?}");
    }

    #[test]
    fn labels_keep_clear_of_each_other() {
        let mut places = Places::new(Area { left: 0.0, top: 0.0, right: 200.0, bottom: 100.0 });
        let points = [[100.0, 50.0], [104.0, 52.0], [98.0, 47.0]];
        for point in points {
            places.take(Area::around(point, 8.0, 8.0));
        }
        let labels = points.map(|point| Area::around(places.beside(point, [30.0, 12.0], 8.0), 30.0, 12.0));
        for (i, label) in labels.iter().enumerate() {
            assert!(labels[..i].iter().all(|other| !other.meets(label)), "{labels:?}");
            assert!(points.iter().all(|point| !label.meets(&Area::around(*point, 8.0, 8.0))));
        }
        // In the corner there is space on one side only.
        let [x, y] = places.beside([198.0, 2.0], [30.0, 12.0], 8.0);
        assert!(x < 198.0 - 15.0 && y > 2.0, "{x} {y}");
    }
}
