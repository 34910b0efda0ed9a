//! Claims of the paper as inequalities, judged by estimates: they hold, they fail, or n is too small to decide.

use std::fmt;

use anyhow::ensure;
use serde::Deserialize;

use crate::statistics::{Estimate, Sum, falls, weighted};

/// The claim that a row's column exceeds another value by at least `by`, in the column's unit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The claim in words.
    pub what: String,
    /// The row.
    pub row: String,
    /// Its column.
    pub column: String,
    /// The other row; if left out, the same row.
    pub exceeds: Option<String>,
    /// The other column; if left out, the same column.
    pub exceeds_column: Option<String>,
    /// Compares the difference between `column` and this column of the same row instead of `column` itself: the
    /// accuracy that another attack costs. Requires `exceeds`, without `exceeds_column`.
    pub from_column: Option<String>,
    /// A number to exceed, instead of another row.
    pub exceeds_value: Option<f64>,
    /// A number to stay below, instead.
    pub below_value: Option<f64>,
    /// Rows of a curve to exceed instead, drawn over `along` and interpolated at the row's position.
    #[serde(default)]
    pub curve: Vec<String>,
    /// The column on the curve's horizontal axis.
    pub along: Option<String>,
    /// The margin; negative if falling slightly short is acceptable.
    #[serde(default)]
    pub by: f64,
}

/// The verdict on a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The 95 % interval of the difference lies beyond `by`.
    Holds,
    /// The interval lies on the wrong side of `by`.
    Fails,
    /// The interval lies on both sides of `by`.
    Unclear,
    /// Something needed is missing; the reason in words.
    NotJudged(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => f.write_str("holds"),
            Self::Fails => f.write_str("fails"),
            Self::Unclear => f.write_str("unclear at this n"),
            Self::NotJudged(why) => write!(f, "not judged: {why}"),
        }
    }
}

/// A judged claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The difference, in the column's unit.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<[f64; 2]>,
    /// Whether two rows are compared, but not image by image.
    pub apart: bool,
}

impl Judgement {
    fn not(why: impl Into<String>, difference: Option<f64>) -> Self {
        Self { verdict: Verdict::NotJudged(why.into()), difference, interval: None, apart: false }
    }
}

impl Claim {
    /// Rows that it names.
    pub fn rows(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.row).chain(&self.exceeds).chain(&self.curve).map(String::as_str)
    }

    /// Columns that it names.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let others = self.exceeds_column.iter().chain(&self.from_column).chain(&self.along);
        std::iter::once(&self.column).chain(others).map(String::as_str)
    }

    /// Returns an error if the claim compares with no value, or with several.
    pub fn check(&self) -> anyhow::Result<()> {
        let other = self.exceeds.is_some() || self.exceeds_column.is_some();
        let sides = [other, self.exceeds_value.is_some(), self.below_value.is_some(), !self.curve.is_empty()];
        ensure!(
            sides.iter().filter(|side| **side).count() == 1,
            "expected one of `exceeds` (or `exceeds_column`), `exceeds_value`, `below_value` and `curve`"
        );
        ensure!(
            self.from_column.is_none() || self.exceeds.is_some() && self.exceeds_column.is_none(),
            "`from_column` compares two rows: it goes with `exceeds` and without `exceeds_column`"
        );
        ensure!(self.curve.is_empty() == self.along.is_none(), "`curve` and `along` go together");
        ensure!(self.curve.is_empty() || self.curve.len() > 1, "a curve has at least two rows");
        Ok(())
    }

    /// Judges the claim by the estimates of rows and columns; the verdict names a missing value.
    pub fn judge(&self, cell: &dyn Fn(&str, &str) -> Option<Estimate>) -> Judgement {
        self.judged(cell).unwrap_or_else(|why| Judgement::not(why, None))
    }

    fn judged(&self, cell: &dyn Fn(&str, &str) -> Option<Estimate>) -> Result<Judgement, String> {
        let find = |row: &str, column: &str| {
            cell(row, column).ok_or_else(|| format!("there is no `{column}` of `{row}`"))
        };
        let left = find(&self.row, &self.column)?;
        if let Some(along) = &self.along {
            let points = self.curve.iter().map(|row| {
                Ok(ClaimPoint { row: row.clone(), x: find(row, along)?, y: find(row, &self.column)? })
            });
            let points = points.collect::<Result<Vec<_>, String>>()?;
            return self.against(
                &points,
                &ClaimPoint { row: self.row.clone(), x: find(&self.row, along)?, y: left },
            );
        }
        if let Some(value) = self.below_value {
            return Ok(self.told(&[(1.0, &Estimate::exact(value)), (-1.0, &left)], 0.0));
        }
        if let (Some(from), Some(other)) = (&self.from_column, &self.exceeds) {
            let (start, right) = (find(&self.row, from)?, find(other, &self.column)?);
            let right_start = find(other, from)?;
            let both = falls([(&left, &start), (&right, &right_start)]);
            let [left, right] = both.ok_or("nothing is known of the spread: more seeds are needed")?;
            return Ok(self.told(&[(1.0, &left), (-1.0, &right)], 0.0));
        }
        let right = match self.exceeds_value {
            Some(value) => Estimate::exact(value),
            None => find(
                self.exceeds.as_ref().unwrap_or(&self.row),
                self.exceeds_column.as_ref().unwrap_or(&self.column),
            )?,
        };
        Ok(self.told(&[(1.0, &left), (-1.0, &right)], 0.0))
    }

    /// Judges a difference; `more` widens its interval on both sides.
    fn told(&self, terms: &[(f64, &Estimate)], more: f64) -> Judgement {
        let Some(Sum { mean, widths: [below, above], by_image }) = weighted(terms) else {
            let difference = terms.iter().map(|(weight, estimate)| weight * estimate.mean).sum();
            return Judgement::not("nothing is known of the spread: more seeds are needed", Some(difference));
        };
        let interval = [mean - below.hypot(more), mean + above.hypot(more)];
        let verdict = match interval {
            [low, _] if low > self.by => Verdict::Holds,
            [_, high] if high < self.by => Verdict::Fails,
            _ => Verdict::Unclear,
        };
        let images = terms.iter().all(|(_, estimate)| estimate.n.is_some());
        Judgement { verdict, difference: Some(mean), interval: Some(interval), apart: images && !by_image }
    }

    /// Compares the row with a curve, read at the row's position along it.
    fn against(&self, points: &[ClaimPoint], at: &ClaimPoint) -> Result<Judgement, String> {
        if let Some(reading) = Reading::between(points, &at.x) {
            return self.read(&reading, at);
        }
        let [least, most] = ends(points).ok_or("all of the curve stands at one place")?;
        let (end, beside) = if at.x.mean < least.0.x.mean { least } else { most };
        // The row is so near to the end that it may lie on the curve, so the last piece is extrapolated.
        let off = weighted(&[(1.0, &at.x), (-1.0, &end.x)])
            .ok_or("nothing is known of the spread along the curve")?;
        if off.mean.abs() <= f64::midpoint(off.widths[0], off.widths[1]) {
            return self.read(&Reading::of(end, beside, at.x.mean), at);
        }
        // A row that is behind the end in both columns is behind the whole curve; a row that is ahead in both
        // is ahead of it.
        let judged = self.told(&[(1.0, &at.y), (-1.0, &end.y)], 0.0);
        let behind = at.x.mean < end.x.mean;
        match judged.verdict {
            Verdict::Fails if behind => Ok(judged),
            Verdict::Holds if !behind => Ok(judged),
            _ => Err(format!(
                "the curve goes from {:.1} to {:.1}, and the row stands at {:.1}: compared with the curve's end, `{}`, it is {:+.2}",
                least.0.x.mean,
                most.0.x.mean,
                at.x.mean,
                end.row,
                at.y.mean - end.y.mean
            )),
        }
    }

    fn read(&self, reading: &Reading, at: &ClaimPoint) -> Result<Judgement, String> {
        let Reading { ends: [a, b], share, slope } = *reading;
        // The row's position on the piece is uncertain, because the row and both ends are.
        let place = weighted(&[(1.0, &at.x), (share - 1.0, &a.x), (-share, &b.x)]);
        let place = place.ok_or("nothing is known of the spread along the curve")?;
        let more = slope.abs() * f64::midpoint(place.widths[0], place.widths[1]);
        Ok(self.told(&[(1.0, &at.y), (share - 1.0, &a.y), (-share, &b.y)], more))
    }
}

/// A row as a point of a curve.
struct ClaimPoint {
    row: String,
    x: Estimate,
    y: Estimate,
}

/// A straight piece of a curve, read at one position.
struct Reading<'a> {
    ends: [&'a ClaimPoint; 2],
    /// The position, as a share of the way from the first end to the second.
    share: f64,
    slope: f64,
}

impl<'a> Reading<'a> {
    fn of(a: &'a ClaimPoint, b: &'a ClaimPoint, x: f64) -> Self {
        let run = b.x.mean - a.x.mean;
        Self { ends: [a, b], share: (x - a.x.mean) / run, slope: (b.y.mean - a.y.mean) / run }
    }

    fn height(&self) -> f64 {
        self.ends[0].y.mean + self.share * (self.ends[1].y.mean - self.ends[0].y.mean)
    }

    /// The highest piece at the position of `at`; pieces connect neighbouring points in the curve's order.
    fn between(points: &'a [ClaimPoint], at: &Estimate) -> Option<Self> {
        let readings = pieces(points)
            .map(|[a, b]| Self::of(a, b, at.mean))
            .filter(|reading| (0.0..=1.0).contains(&reading.share));
        readings.max_by(|a, b| a.height().total_cmp(&b.height()))
    }
}

/// Pairs of neighbouring points on the curve with different positions.
fn pieces(points: &[ClaimPoint]) -> impl Iterator<Item = [&ClaimPoint; 2]> {
    points.windows(2).map(|pair| [&pair[0], &pair[1]]).filter(|[a, b]| a.x.mean != b.x.mean)
}

/// The first and the last point along the curve, each with the other end of its piece.
fn ends(points: &[ClaimPoint]) -> Option<[(&ClaimPoint, &ClaimPoint); 2]> {
    let both = || pieces(points).flat_map(|[a, b]| [(a, b), (b, a)]);
    let order =
        |a: &(&ClaimPoint, &ClaimPoint), b: &(&ClaimPoint, &ClaimPoint)| a.0.x.mean.total_cmp(&b.0.x.mean);
    Some([both().min_by(order)?, both().max_by(order)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(text: &str) -> Claim {
        toml::from_str(&format!("what = \"x\"\nrow = \"a\"\ncolumn = \"y\"\n{text}")).unwrap()
    }

    fn near(mean: f64, width: f64) -> Estimate {
        Estimate { interval: Some([mean - width, mean + width]), ..Estimate::exact(mean) }
    }

    #[test]
    fn a_difference_is_judged_by_its_interval() {
        let judged = |by: &str, a: f64| {
            let cell = |row: &str, _: &str| {
                Some(near(if row == "a" { a } else { 40.0 }, if row == "a" { 3.0 } else { 4.0 }))
            };
            claim(&format!("exceeds = \"b\"\n{by}")).judge(&cell)
        };
        assert_eq!(judged("", 46.0).interval, Some([1.0, 11.0]));
        assert_eq!(judged("", 46.0).verdict, Verdict::Holds);
        assert_eq!(judged("", 44.0).verdict, Verdict::Unclear);
        assert_eq!(judged("", 34.0).verdict, Verdict::Fails);
        assert_eq!(judged("by = -2", 44.0).verdict, Verdict::Holds);
        assert_eq!(judged("by = 2", 46.0).verdict, Verdict::Unclear);
    }

    /// Three of every four images are right under the first attack. The second attack breaks one more of the
    /// row that loses.
    #[test]
    fn the_losses_of_two_rows_are_compared_image_by_image() {
        let images = |right: [f64; 4]| {
            let images: std::collections::BTreeMap<u64, f64> =
                (0..4000).map(|i| (i, 100.0 * right[i as usize % 4])).collect();
            let mean = images.values().sum::<f64>() / 4000.0;
            Estimate { n: Some(4000), images: Some(images), seeds: vec![mean; 2], ..near(mean, 5.0) }
        };
        let judged = |loser: &'static str, by: &str| {
            let cell = move |row: &str, column: &str| {
                Some(match column {
                    "y" if row == loser => images([1.0, 1.0, 0.0, 0.0]),
                    _ => images([1.0, 1.0, 1.0, 0.0]),
                })
            };
            claim(&format!("exceeds = \"b\"\nfrom_column = \"pgd\"\n{by}")).judge(&cell)
        };
        assert_eq!((judged("b", "").difference, judged("b", "").verdict), (Some(25.0), Verdict::Holds));
        assert_eq!((judged("a", "").difference, judged("a", "").verdict), (Some(-25.0), Verdict::Fails));
        assert_eq!(judged("neither", "").verdict, Verdict::Unclear);
        assert_eq!((judged("neither", "by = -1.0").verdict, judged("a", "").apart), (Verdict::Holds, false));
        let wrong = claim("exceeds_value = 3.0\nfrom_column = \"pgd\"");
        assert!(wrong.check().unwrap_err().to_string().contains("goes with `exceeds`"));
        assert_eq!(wrong.columns().collect::<Vec<_>>(), ["y", "pgd"]);
    }

    /// Seeds differ by ten points in both columns alike: this spread cancels in what a row loses.
    #[test]
    fn a_spread_between_seeds_that_both_columns_share_does_not_count() {
        let of = |seeds: [f64; 2]| Estimate {
            seeds: seeds.to_vec(),
            spread: 40.0,
            ..near(f64::midpoint(seeds[0], seeds[1]), 0.1)
        };
        let cell = |row: &str, column: &str| {
            Some(match (row, column) {
                ("a", "y") => of([39.0, 49.0]),
                ("b", "y") => of([33.0, 43.0]),
                _ => of([40.0, 50.0]),
            })
        };
        let judged = claim("exceeds = \"b\"\nfrom_column = \"pgd\"").judge(&cell);
        assert_eq!((judged.difference, judged.verdict), (Some(6.0), Verdict::Holds));
    }

    #[test]
    fn a_curve_is_read_where_the_row_stands() {
        let at = |x: f64| {
            move |row: &str, column: &str| {
                let (x, y) = match row {
                    "a" => (x, 48.0),
                    "p" => (80.0, 50.0),
                    "q" => (90.0, 30.0),
                    _ => return None,
                };
                Some(near(if column == "x" { x } else { y }, 1.0))
            }
        };
        let claim = claim("curve = [\"q\", \"p\"]\nalong = \"x\"");
        // Half way: 40 with half a width from each end. The slope of -2 multiplies the error of the position: 1
        // from the row, a half from each end.
        let judged = claim.judge(&at(85.0));
        assert_eq!(judged.difference, Some(8.0));
        let width = (1.0f64 + 0.25 + 0.25 + 4.0 * (1.0 + 0.25 + 0.25)).sqrt();
        assert!((judged.interval.unwrap()[0] - (8.0 - width)).abs() < 1e-9);
        assert_eq!(judged.verdict, Verdict::Holds);
    }

    /// The judgement of a row at (x, y) against the curve through (80, 50) and (90, 30), all with widths of 1.
    fn against(x: f64, y: f64) -> Judgement {
        let cell = |row: &str, column: &str| {
            let (x, y) = match row {
                "a" => (x, y),
                "p" => (80.0, 50.0),
                _ => (90.0, 30.0),
            };
            Some(near(if column == "x" { x } else { y }, 1.0))
        };
        claim("curve = [\"q\", \"p\"]\nalong = \"x\"").judge(&cell)
    }

    #[test]
    fn beyond_its_ends_a_curve_is_read_no_further_than_the_errors_reach() {
        // Widths of 1 each give 1.4 for their difference. The last piece, extrapolated to 79, is at 52.
        assert!((against(79.0, 48.0).difference.unwrap() + 4.0).abs() < 1e-9);
        // Further away, worse in both is worse than the whole curve, and better in both is better.
        assert_eq!(against(70.0, 40.0).verdict, Verdict::Fails);
        assert_eq!(against(95.0, 40.0).verdict, Verdict::Holds);
        let said = against(95.0, 20.0).verdict.to_string();
        assert_eq!(
            said,
            "not judged: the curve goes from 80.0 to 90.0, and the row stands at 95.0: compared with the curve's end, `q`, it is -10.00"
        );
        assert!(matches!(against(70.0, 60.0).verdict, Verdict::NotJudged(_)));
    }

    #[test]
    fn of_a_curve_that_turns_back_the_highest_piece_counts() {
        let cell = |row: &str, column: &str| {
            let (x, y) = match row {
                "a" => (85.0, 48.0),
                "p" => (80.0, 50.0),
                "q" => (90.0, 30.0),
                "r" => (80.0, 40.0),
                _ => (80.0, 20.0),
            };
            Some(near(if column == "x" { x } else { y }, 1.0))
        };
        // p to q passes 85 at 40, q to r at 35; r to s does not move along the axis.
        let claim = claim("curve = [\"p\", \"q\", \"r\", \"s\"]\nalong = \"x\"");
        assert_eq!(claim.judge(&cell).difference, Some(8.0));
        let upright = self::claim("curve = [\"r\", \"s\"]\nalong = \"x\"").judge(&cell).verdict;
        assert_eq!(upright.to_string(), "not judged: all of the curve stands at one place");
    }

    #[test]
    fn rows_without_each_images_outcome_are_told_apart() {
        let images = |n: u64| Estimate {
            n: Some(2),
            images: Some((0..n).map(|i| (i, 100.0 * (i % 2) as f64)).collect()),
            ..near(50.0, 3.0)
        };
        let claim = claim("exceeds = \"b\"");
        assert!(!claim.judge(&|_, _| Some(images(2))).apart);
        let other = |row: &str, _: &str| Some(images(if row == "a" { 2 } else { 3 }));
        assert!(claim.judge(&other).apart);
        assert!(!self::claim("exceeds_value = 8.0").judge(&other).apart);
    }

    #[test]
    fn what_is_missing_or_unknown_is_not_judged() {
        let claim = claim("exceeds_value = 8.0");
        let missing = claim.judge(&|_, _| None).verdict.to_string();
        assert_eq!(missing, "not judged: there is no `y` of `a`");
        let bare = Estimate { interval: None, ..near(9.0, 0.0) };
        assert!(matches!(claim.judge(&|_, _| Some(bare.clone())).verdict, Verdict::NotJudged(_)));
        assert_eq!(claim.judge(&|_, _| Some(near(9.0, 0.5))).verdict, Verdict::Holds);
        let below = self::claim("below_value = 8.0").judge(&|_, _| Some(near(9.0, 0.5)));
        assert_eq!((below.verdict, below.interval), (Verdict::Fails, Some([-1.5, -0.5])));
        assert!(
            toml::from_str::<Claim>("what = \"x\"\nrow = \"a\"\ncolumn = \"y\"").unwrap().check().is_err()
        );
    }
}
