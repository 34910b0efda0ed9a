//! Comparisons of evaluations that exclude chance.

use temper_results::wilson;

use crate::seen::Seen;

/// A difference of no more than this share of the images is not worth a warning (Croce and Hein 2020 use the same).
pub(super) const NOTABLE: f64 = 0.002;

/// The 99 % quantile of chi squared with one degree of freedom: chance exceeds it once in a hundred times.
const CHANCE: f64 = 6.635;

/// Whether `some` of `n` exceeds `share` even at the lower end of its 95 % interval.
pub(super) fn exceeds(some: usize, n: usize, share: f64) -> bool {
    wilson(some, n)[0] > share
}

/// Two evaluations, each within a radius, compared image by image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pairs {
    /// Images that both judged.
    pub(super) n: usize,
    /// Images that only the first broke.
    pub(super) first: usize,
    /// Images that only the second broke.
    pub(super) second: usize,
}

impl Pairs {
    pub(super) fn of(first: (&Seen, f64), second: (&Seen, f64)) -> Self {
        let mut pairs = Self { n: 0, first: 0, second: 0 };
        for sample in first.0.broken_at.keys() {
            let broken = |(seen, radius): (&Seen, f64)| seen.breaks(*sample, radius);
            if let (Some(one), Some(other)) = (broken(first), broken(second)) {
                pairs.n += 1;
                pairs.first += usize::from(one && !other);
                pairs.second += usize::from(other && !one);
            }
        }
        pairs
    }

    /// The share of images by which the first broke more than the second, if it exceeds `least` and chance (the
    /// chi-squared test for pairs, corrected for continuity).
    pub(super) fn lead(self, least: f64) -> Option<f64> {
        let more = self.first.checked_sub(self.second).filter(|more| *more > 0)? as f64;
        let share = more / self.n as f64;
        let apart = (more - 1.0).powi(2) / (self.first + self.second) as f64;
        (share > least && apart > CHANCE).then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_more_than_a_share_and_more_than_chance() {
        let lead = |n: usize, first: usize, second: usize| Pairs { n, first, second }.lead(NOTABLE);
        assert_eq!(lead(1000, 30, 5), Some(0.025));
        for chance in [(1000, 5, 0), (1000, 30, 20), (1000, 5, 30), (10_000, 15, 0), (10, 0, 0), (0, 0, 0)] {
            assert_eq!(lead(chance.0, chance.1, chance.2), None, "{chance:?}");
        }
    }

    #[test]
    fn few_images_exceed_no_share() {
        assert!(exceeds(2, 100, NOTABLE) && exceeds(30, 10_000, NOTABLE));
        assert!(!exceeds(1, 100, NOTABLE) && !exceeds(20, 10_000, NOTABLE) && !exceeds(0, 0, NOTABLE));
    }
}
