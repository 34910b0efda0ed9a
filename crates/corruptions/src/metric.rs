//! Summaries of accuracies on corrupted images: means, and the corruption errors of Hendrycks & Dietterich
//! 2019 (<https://arxiv.org/abs/1903.12261>, section 4.1).
//!
//! All kinds and severities have the same weight, whatever the number of images. A summary for which a cell
//! is missing is `None`.

use std::collections::{BTreeMap, BTreeSet};

use crate::alexnet::{ALEXNET_CLEAN, alexnet};
use crate::kind::{CorruptionKind, CorruptionSeverity};

/// The number of images that were classified correctly, for one kind and severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccuracyCell {
    hits: usize,
    n: usize,
}

impl AccuracyCell {
    /// `hits` of `n` images. The error states why these are invalid.
    pub fn new(hits: usize, n: usize) -> Result<Self, String> {
        match n > 0 && hits <= n {
            true => Ok(Self { hits, n }),
            false => Err(format!(
                "{hits} right ones of {n} images, expected one image or more and at most all right"
            )),
        }
    }

    /// Number of images classified correctly.
    pub fn hits(self) -> usize {
        self.hits
    }

    /// Number of images.
    pub fn n(self) -> usize {
        self.n
    }

    /// Accuracy, 0 to 1.
    pub fn accuracy(self) -> f64 {
        self.hits as f64 / self.n as f64
    }

    /// Error, 0 to 1.
    pub fn error(self) -> f64 {
        (self.n - self.hits) as f64 / self.n as f64
    }
}

/// Results by kind and severity, any of which may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cells(BTreeMap<(CorruptionKind, CorruptionSeverity), AccuracyCell>);

impl Cells {
    /// Inserts a result; returns the one that it replaces.
    pub fn insert(
        &mut self,
        kind: CorruptionKind,
        severity: CorruptionSeverity,
        cell: AccuracyCell,
    ) -> Option<AccuracyCell> {
        self.0.insert((kind, severity), cell)
    }

    /// A result.
    pub fn get(&self, kind: CorruptionKind, severity: CorruptionSeverity) -> Option<AccuracyCell> {
        self.0.get(&(kind, severity)).copied()
    }

    /// All results, in the order of [`CorruptionKind::ALL`] and by severity.
    pub fn iter(&self) -> impl Iterator<Item = (CorruptionKind, CorruptionSeverity, AccuracyCell)> + '_ {
        self.0.iter().map(|((kind, severity), cell)| (*kind, *severity, *cell))
    }

    /// The kinds that have results.
    pub fn kinds(&self) -> BTreeSet<CorruptionKind> {
        self.0.keys().map(|(kind, _)| *kind).collect()
    }

    /// The severities that have results.
    pub fn severities(&self) -> BTreeSet<CorruptionSeverity> {
        self.0.keys().map(|(_, severity)| *severity).collect()
    }

    /// Mean accuracy, 0 to 1, over the kinds and severities that have results (see [`Cells::kinds`] and
    /// [`Cells::severities`]); `None` unless each of these kinds has each of these severities.
    pub fn mean(&self) -> Option<f64> {
        let (kinds, severities) = (self.kinds(), self.severities());
        let all = kinds.iter().flat_map(|kind| severities.iter().map(|severity| self.get(*kind, *severity)));
        mean(all.map(|cell| cell.map(AccuracyCell::accuracy)))
    }

    /// Mean accuracy of a kind over the five severities, 0 to 1.
    pub fn accuracy(&self, kind: CorruptionKind) -> Option<f64> {
        mean(
            CorruptionSeverity::ALL
                .into_iter()
                .map(|severity| self.get(kind, severity).map(AccuracyCell::accuracy)),
        )
    }

    /// Mean accuracy over the 15 main kinds, 0 to 1, as in RobustBench and most papers.
    pub fn mean_of_main(&self) -> Option<f64> {
        mean(main().map(|kind| self.accuracy(kind)))
    }

    /// Mean accuracy over all 19 kinds, 0 to 1, as in the IAAT paper for CIFAR-10-C. It is not comparable with
    /// means over 15.
    pub fn mean_of_all(&self) -> Option<f64> {
        mean(CorruptionKind::ALL.into_iter().map(|kind| self.accuracy(kind)))
    }

    /// CE of a kind in per cent: the sum of errors over the severities, divided by that of AlexNet.
    ///
    /// Meaningful only for ImageNet-C, on which AlexNet's errors were measured; see [`alexnet`] for their
    /// source.
    pub fn corruption_error(&self, kind: CorruptionKind) -> Option<f64> {
        self.relative(kind, (0.0, 0.0))
    }

    /// CE of each kind that has all severities, in percent.
    pub fn corruption_errors(&self) -> Vec<(CorruptionKind, f64)> {
        let error = |kind| self.corruption_error(kind).map(|error| (kind, error));
        CorruptionKind::ALL.into_iter().filter_map(error).collect()
    }

    /// mCE in percent: the mean CE of the 15 main kinds.
    pub fn mean_corruption_error(&self) -> Option<f64> {
        mean(main().map(|kind| self.corruption_error(kind)))
    }

    /// Relative CE of a kind in per cent: the sum of increases over the clean error, divided by that of
    /// AlexNet. It is negative for a network that does better on corrupted images.
    pub fn relative_corruption_error(&self, kind: CorruptionKind, clean: AccuracyCell) -> Option<f64> {
        self.relative(kind, (clean.error(), ALEXNET_CLEAN))
    }

    /// Relative mCE in percent: the mean relative CE of the 15 main kinds.
    pub fn mean_relative_corruption_error(&self, clean: AccuracyCell) -> Option<f64> {
        mean(main().map(|kind| self.relative_corruption_error(kind, clean)))
    }

    /// Sums of errors above a base, ours and AlexNet's.
    fn relative(&self, kind: CorruptionKind, (ours, alexnets): (f64, f64)) -> Option<f64> {
        let (mut above, mut norm) = (0.0, 0.0);
        for severity in CorruptionSeverity::ALL {
            above += self.get(kind, severity)?.error() - ours;
            norm += alexnet(kind, severity) - alexnets;
        }
        Some(100.0 * (above / norm))
    }
}

fn main() -> impl Iterator<Item = CorruptionKind> {
    CorruptionKind::ALL.into_iter().take(CorruptionKind::MAIN)
}

/// The mean; `None` if a value is missing.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(hits: usize, n: usize) -> AccuracyCell {
        AccuracyCell::new(hits, n).unwrap()
    }

    /// All cells of these kinds, computed by a function.
    fn cells(
        kinds: &[CorruptionKind],
        of: impl Fn(CorruptionKind, CorruptionSeverity) -> AccuracyCell,
    ) -> Cells {
        let mut cells = Cells::default();
        for kind in kinds {
            for severity in CorruptionSeverity::ALL {
                assert_eq!(cells.insert(*kind, severity, of(*kind, severity)), None);
            }
        }
        cells
    }

    /// AlexNet's own result on `n` images.
    fn alexnets(kind: CorruptionKind, severity: CorruptionSeverity, n: usize) -> AccuracyCell {
        cell(n - (alexnet(kind, severity) * n as f64).round() as usize, n)
    }

    #[test]
    fn alexnet_has_a_hundred() {
        let cells = cells(&CorruptionKind::ALL, |kind, severity| alexnets(kind, severity, 50_000));
        assert_eq!(cells.mean_corruption_error(), Some(100.0));
        assert_eq!(cells.mean_relative_corruption_error(cell(28_250, 50_000)), Some(100.0));
        assert_eq!(cells.corruption_errors(), CorruptionKind::ALL.map(|kind| (kind, 100.0)));
    }

    #[test]
    fn errors_of_a_kind_are_summed_before_they_are_divided() {
        // 100 images, 10, 20, 30, 40 and 50 wrong: 1.5 over 5 x 0.564592.
        let cells = cells(&[CorruptionKind::Brightness], |_, severity| {
            cell(100 - 10 * usize::from(severity.get()), 100)
        });
        let near =
            |got: Option<f64>, wanted: f64| assert!((got.unwrap() - wanted).abs() < 1e-3, "{got:?} {wanted}");
        near(cells.corruption_error(CorruptionKind::Brightness), 53.1357);
        // (1.5 - 5 x 0.05) / (2.82296 - 5 x 0.435) = 1.25 / 0.64796.
        near(cells.relative_corruption_error(CorruptionKind::Brightness, cell(95, 100)), 192.9131);
        // 1.5 - 5 x 0.4 is below 0.
        near(cells.relative_corruption_error(CorruptionKind::Brightness, cell(60, 100)), -77.1653);
        near(cells.accuracy(CorruptionKind::Brightness), 0.7);
        assert_eq!(cells.corruption_errors().len(), 1);
        assert_eq!(cells.mean(), cells.accuracy(CorruptionKind::Brightness));
        assert_eq!((cells.mean_of_main(), cells.mean_corruption_error()), (None, None));
    }

    #[test]
    fn the_mean_error_is_of_the_main_kinds_and_each_weighs_the_same() {
        // Half of AlexNet's errors, except none with fog and all with saturate, which is not a main kind.
        let cells = cells(&CorruptionKind::ALL, |kind, severity| match kind {
            CorruptionKind::Fog => cell(7, 7),
            CorruptionKind::Saturate => cell(0, 7),
            _ => {
                let wrong = (alexnet(kind, severity) * 50_000.0).round() as usize;
                cell(100_000 - wrong, 100_000)
            }
        });
        let error = cells.mean_corruption_error().unwrap();
        assert!((error - 50.0 * 14.0 / 15.0).abs() < 1e-9, "{error}");
        assert_eq!(cells.corruption_error(CorruptionKind::Fog), Some(0.0));
    }

    #[test]
    fn means_are_over_cells_whatever_their_images() {
        let accuracy = |kind: CorruptionKind, _| if kind.is_main() { cell(1, 2) } else { cell(1000, 1000) };
        let all = cells(&CorruptionKind::ALL, accuracy);
        assert_eq!(all.mean_of_main(), Some(0.5));
        let wanted = (15.0 * 0.5 + 4.0) / 19.0;
        for got in [all.mean_of_all(), all.mean()] {
            assert!((got.unwrap() - wanted).abs() < 1e-12);
        }
        let main = cells(&CorruptionKind::ALL[..15], accuracy);
        assert_eq!((main.mean_of_main(), main.mean_of_all(), main.mean()), (Some(0.5), None, Some(0.5)));
    }

    #[test]
    fn one_missing_cell_leaves_nothing_that_needs_it() {
        let whole = cells(&CorruptionKind::ALL, |_, _| cell(1, 4));
        let mut torn = whole.clone();
        torn.0.remove(&(CorruptionKind::Snow, CorruptionSeverity::ALL[3]));
        assert_eq!((torn.mean(), torn.mean_of_main(), torn.mean_of_all()), (None, None, None));
        assert_eq!(
            (torn.accuracy(CorruptionKind::Snow), torn.accuracy(CorruptionKind::Fog)),
            (None, Some(0.25))
        );
        assert_eq!(torn.mean_corruption_error(), None);
        assert_eq!(torn.mean_relative_corruption_error(cell(1, 2)), None);
        assert_eq!(torn.corruption_errors().len(), 18);
        assert!(whole.mean().is_some() && whole.mean_corruption_error().is_some());
        assert_eq!(Cells::default().mean(), None);
        // If all kinds have the same severities, the table has no gap, but there is no mean over five.
        let mut worst = Cells::default();
        for kind in [CorruptionKind::Fog, CorruptionKind::Frost] {
            worst.insert(kind, CorruptionSeverity::ALL[4], cell(1, 4));
        }
        assert_eq!((worst.mean(), worst.accuracy(CorruptionKind::Fog)), (Some(0.25), None));
        assert_eq!((worst.kinds().len(), worst.severities().len(), worst.iter().count()), (2, 1, 2));
    }

    #[test]
    fn cells_hold_what_can_be() {
        assert!(AccuracyCell::new(0, 0).is_err());
        assert!(AccuracyCell::new(5, 4).unwrap_err().starts_with("5 right ones of 4 images"));
        let cell = cell(3, 4);
        assert_eq!((cell.hits(), cell.n(), cell.accuracy(), cell.error()), (3, 4, 0.75, 0.25));
    }
}
