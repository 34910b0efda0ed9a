//! Claims of the paper as inequalities, judged by estimates: they hold, they fail, or n is too small to say.

use std::fmt;

use anyhow::ensure;
use serde::Deserialize;

use super::statistics::{Estimate, combined, paired};

/// A row's column is more than something else, by at least `by` in the column's unit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// In words.
    pub what: String,
    /// The row.
    pub row: String,
    /// Its column.
    pub column: String,
    /// The other row; left out, the same one.
    pub exceeds: Option<String>,
    /// The other column; left out, the same one.
    pub exceeds_column: Option<String>,
    /// A number instead of another row.
    pub exceeds_value: Option<f64>,
    /// A number that it is less than, instead.
    pub below_value: Option<f64>,
    /// A curve through these rows instead, over `along`, interpolated where the row stands there.
    #[serde(default)]
    pub curve: Vec<String>,
    /// The column that the curve runs along.
    pub along: Option<String>,
    /// By how much; negative where falling short a little does not count.
    #[serde(default)]
    pub by: f64,
}

/// What becomes of a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The 95 % interval of the difference lies beyond `by`.
    Holds,
    /// It lies on the wrong side.
    Fails,
    /// It lies on both sides.
    Unclear,
    /// Something is missing.
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
pub struct Judged {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The difference, in the column's unit.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<[f64; 2]>,
}

impl Judged {
    fn not(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotJudged(why.into()), difference: None, interval: None }
    }
}

impl Claim {
    /// Rows that it names.
    pub fn rows(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.row).chain(&self.exceeds).chain(&self.curve).map(String::as_str)
    }

    /// Columns that it names.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.column).chain(&self.exceeds_column).chain(&self.along).map(String::as_str)
    }

    /// Refuses what compares with nothing, or with several things.
    pub fn check(&self) -> anyhow::Result<()> {
        let other = self.exceeds.is_some() || self.exceeds_column.is_some();
        let sides = [other, self.exceeds_value.is_some(), self.below_value.is_some(), !self.curve.is_empty()];
        ensure!(
            sides.iter().filter(|side| **side).count() == 1,
            "expected one of `exceeds` (or `exceeds_column`), `exceeds_value`, `below_value` and `curve`"
        );
        ensure!(self.curve.is_empty() == self.along.is_none(), "`curve` and `along` go together");
        ensure!(self.curve.is_empty() || self.curve.len() > 1, "a curve has at least two rows");
        Ok(())
    }

    /// Judges it by the estimates of rows and columns; what is missing is told.
    pub fn judge(&self, cell: &dyn Fn(&str, &str) -> Option<Estimate>) -> Judged {
        let find = |row: &str, column: &str| {
            cell(row, column).ok_or_else(|| format!("there is no `{column}` of `{row}`"))
        };
        let sides = || -> Result<(Estimate, Estimate), String> {
            let left = find(&self.row, &self.column)?;
            if let Some(value) = self.below_value {
                return Ok((Estimate::exact(value), left));
            }
            let right = match (self.exceeds_value, &self.along) {
                (Some(value), _) => Estimate::exact(value),
                (None, Some(along)) => {
                    let points =
                        self.curve.iter().map(|row| Ok((find(row, along)?, find(row, &self.column)?)));
                    interpolated(&points.collect::<Result<Vec<_>, String>>()?, &find(&self.row, along)?)?
                }
                (None, None) => {
                    let column = self.exceeds_column.as_ref().unwrap_or(&self.column);
                    find(self.exceeds.as_ref().unwrap_or(&self.row), column)?
                }
            };
            Ok((left, right))
        };
        match sides() {
            Err(why) => Judged::not(why),
            Ok((left, right)) => self.compared(&left, &right),
        }
    }

    fn compared(&self, left: &Estimate, right: &Estimate) -> Judged {
        let difference = left.mean - right.mean;
        let (Some([below, above]), Some([right_below, right_above])) = (left.widths(), right.widths()) else {
            let not = Judged::not("nothing is known of the spread: more seeds are needed");
            return Judged { difference: Some(difference), ..not };
        };
        let interval = match combined(&[(1.0, left), (-1.0, right)]) {
            // Image by image; what is not the images' comes on top.
            Some(differences) => {
                let [low, high] = paired(&differences);
                let spread = left.spread.hypot(right.spread);
                [
                    difference - (difference - low).hypot(spread),
                    difference + (high - difference).hypot(spread),
                ]
            }
            None => [difference - below.hypot(right_above), difference + above.hypot(right_below)],
        };
        let verdict = match interval {
            [low, _] if low > self.by => Verdict::Holds,
            [_, high] if high < self.by => Verdict::Fails,
            _ => Verdict::Unclear,
        };
        Judged { verdict, difference: Some(difference), interval: Some(interval) }
    }
}

/// The curve through points, read at `at`. An error in `at` counts by the curve's slope.
fn interpolated(points: &[(Estimate, Estimate)], at: &Estimate) -> Result<Estimate, String> {
    let mut points: Vec<&(Estimate, Estimate)> = points.iter().collect();
    points.sort_by(|a, b| a.0.mean.total_cmp(&b.0.mean));
    let pair = points.windows(2).find(|pair| (pair[0].0.mean..=pair[1].0.mean).contains(&at.mean));
    let Some([(x0, y0), (x1, y1)]) = pair.map(|pair| [pair[0], pair[1]]) else {
        let [first, last] = [points.first(), points.last()].map(|p| p.map_or(f64::NAN, |p| p.0.mean));
        return Err(format!(
            "the curve goes from {first:.1} to {last:.1}, and the row stands at {:.1}",
            at.mean
        ));
    };
    let run = x1.mean - x0.mean;
    let share = if run > 0.0 { (at.mean - x0.mean) / run } else { 0.5 };
    let slope = if run > 0.0 { (y1.mean - y0.mean) / run } else { 0.0 };
    let mean = y0.mean + share * (y1.mean - y0.mean);
    let width = |side: usize| {
        let [y0, y1, at] = [y0, y1, at].map(|estimate| estimate.widths().map(|widths| widths[side]));
        Some(((1.0 - share) * y0?).hypot(share * y1?).hypot(slope * at?))
    };
    let interval = match (width(0), width(1)) {
        (Some(below), Some(above)) => Some([mean - below, mean + above]),
        _ => None,
    };
    let at = at.widths().map_or(0.0, |[below, above]| f64::midpoint(below, above));
    let spread = ((1.0 - share) * y0.spread).hypot(share * y1.spread).hypot(slope * at);
    let images = combined(&[(1.0 - share, y0), (share, y1)]);
    Ok(Estimate { mean, interval, n: None, seeds: vec![], images, spread })
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
        // Half way: 40 with widths of a half each, and the slope of -2 times 1.
        let judged = claim.judge(&at(85.0));
        assert_eq!(judged.difference, Some(8.0));
        let width = (1.0f64 + 0.25 + 0.25 + 4.0).sqrt();
        assert!((judged.interval.unwrap()[0] - (8.0 - width)).abs() < 1e-9);
        assert_eq!(judged.verdict, Verdict::Holds);
        let beyond = claim.judge(&at(95.0)).verdict.to_string();
        assert_eq!(beyond, "not judged: the curve goes from 80.0 to 90.0, and the row stands at 95.0");
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
