//! Pictures that a table's file requests, drawn from the numbers of its report and the files of its runs.

use anyhow::{Context, ensure};
use serde::Deserialize;
use temper_report::{
    Chart, Datum, Figure, HeatMap, PlotAxis, Series, histograms_of_radii, radii_over_epochs,
};
use temper_results::RadiiFile;

use crate::execute::{Finished, Place};
use crate::report::Report;
use crate::samples::{Samples, held, sheets};
use crate::statistics::Estimate;
use crate::table::TableFile;

/// A picture that a table's file requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// What it shows, in a sentence or two.
    pub caption: String,
    /// What is drawn.
    pub draw: Draw,
}

/// What can be drawn.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Draw {
    /// One column against another: a curve through rows, and other rows as points.
    TradeOff {
        /// The column on the horizontal axis.
        x: String,
        /// The column on the vertical axis.
        y: String,
        /// Rows of the curve, in order.
        curve: Vec<String>,
        /// The curve's name.
        name: String,
        /// Rows drawn as separate points.
        points: Vec<String>,
    },
    /// One line for each row, over the columns whose `at` is a radius or a number of steps.
    Over {
        /// The quantity on the horizontal axis.
        along: Along,
        /// The column drawn at 0, for unperturbed images.
        from: Option<String>,
        /// The rows.
        rows: Vec<String>,
    },
    /// Mean radius, and the radii of some samples, over the epochs of a row's first seed.
    Radii {
        /// The row.
        row: String,
        /// Number of samples, spread over the training images.
        samples: usize,
    },
    /// Histograms of the radii of a row's first seed.
    Histograms {
        /// The row.
        row: String,
        /// Number of epochs shown, spread over all epochs and including the last one.
        panels: usize,
        /// Attack that checks the radii, in the syntax of `temper attack`.
        check: String,
        /// Number of images checked.
        checked: usize,
    },
    /// A heat map of a column, with rows arranged in a grid.
    HeatMap(Map),
    /// Training images with the least and the largest radii, attacked.
    Samples(Samples),
}

/// The quantity on the horizontal axis of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Along {
    /// Radii, shown in 1/255.
    Radius,
    /// Steps of the attack, on a logarithmic axis.
    Steps,
}

/// Rows arranged in a heat map.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Map {
    /// The column that the map shows.
    pub column: String,
    /// What the lines of the map represent.
    pub lines: String,
    /// What the columns of the map represent.
    pub columns: String,
    /// Names of the lines.
    pub line_names: Vec<String>,
    /// Names of the columns.
    pub column_names: Vec<String>,
    /// The table's rows, in their arrangement on the map.
    pub rows: Vec<Vec<String>>,
}

/// A picture, ready to be drawn.
pub struct Drawn {
    /// What it shows, and what is missing from it.
    pub caption: String,
    /// The figure itself.
    pub figure: Box<dyn Figure>,
}

impl Picture {
    /// Rows that it names.
    pub fn rows(&self) -> Vec<&str> {
        let names: Vec<&String> = match &self.draw {
            Draw::TradeOff { curve, points, .. } => curve.iter().chain(points).collect(),
            Draw::Over { rows, .. } => rows.iter().collect(),
            Draw::Radii { row, .. } | Draw::Histograms { row, .. } => vec![row],
            Draw::HeatMap(map) => map.rows.iter().flatten().collect(),
            Draw::Samples(samples) => vec![&samples.row],
        };
        names.into_iter().map(String::as_str).collect()
    }

    /// Columns that it names.
    pub fn columns(&self) -> Vec<&str> {
        match &self.draw {
            Draw::TradeOff { x, y, .. } => vec![x, y],
            Draw::HeatMap(map) => vec![&map.column],
            Draw::Over { from, .. } => from.iter().map(String::as_str).collect(),
            _ => vec![],
        }
    }

    /// Returns an error if the picture cannot be drawn from this table.
    pub fn check(&self, table: &TableFile) -> anyhow::Result<()> {
        match &self.draw {
            Draw::Over { along, from, .. } => {
                let zero = from.is_none() || *along == Along::Radius;
                ensure!(zero, "`from` is the radius 0, and the axis of steps is logarithmic: it has no 0");
                let at = table.column.iter().any(|column| column.at.is_some());
                ensure!(at, "no column stands `at` a radius or a number of steps");
            }
            Draw::HeatMap(map) => {
                let [lines, columns] = [map.line_names.len(), map.column_names.len()];
                ensure!(
                    map.rows.len() == lines && map.rows.iter().all(|row| row.len() == columns),
                    "`rows` must be {lines} lists of {columns} rows, as there are `line-names` and `column-names`"
                );
            }
            Draw::Samples(samples) => samples.check()?,
            _ => {}
        }
        Ok(())
    }

    /// Draws the picture from a report; returns no picture if none of its rows was run.
    pub fn drawn(&self, report: &Report, place: &Place) -> anyhow::Result<Vec<Drawn>> {
        let missing: Vec<&str> = self.rows().into_iter().filter(|row| report.first(row).is_none()).collect();
        if missing.len() == self.rows().len() {
            return Ok(vec![]);
        }
        let one = |figure: Box<dyn Figure>| {
            let missing = match missing.is_empty() {
                true => String::new(),
                false => format!(" Not run: {}.", missing.join(", ")),
            };
            Ok(vec![Drawn { caption: format!("{}{missing}", self.caption), figure }])
        };
        match &self.draw {
            Draw::TradeOff { x, y, curve, name, points } => {
                one(Box::new(trade_off(report, (x, y), (name, curve), points)))
            }
            Draw::Over { along, from, rows } => one(Box::new(over(report, *along, from.as_deref(), rows)?)),
            Draw::Radii { row, samples } => {
                let run = first(report, row)?;
                one(Box::new(radii(&run.folder(place), *samples)?))
            }
            Draw::Histograms { row, panels, check, checked } => {
                let run = first(report, row)?;
                let figure = Box::new(histograms(&run.folder(place), *panels)?);
                let said = held(place, run, check, *checked)?;
                Ok(vec![Drawn { caption: format!("{} {said}", self.caption), figure }])
            }
            Draw::HeatMap(map) => one(Box::new(heat_map(report, map))),
            Draw::Samples(samples) => {
                let run = first(report, &samples.row)?;
                sheets(samples, &self.caption, run, place)
            }
        }
    }
}

fn first<'r>(report: &'r Report, row: &str) -> anyhow::Result<&'r Finished> {
    report.first(row).with_context(|| format!("row `{row}` was not run"))
}

fn point(x: f64, y: &Estimate) -> Datum {
    match y.interval {
        Some([low, high]) => Datum::new(x, y.mean).between(low, high),
        None => Datum::new(x, y.mean),
    }
}

fn trade_off(
    report: &Report,
    (x, y): (&str, &str),
    (name, curve): (&str, &[String]),
    points: &[String],
) -> Chart {
    let place = |row: &String| {
        let (x, y) = (report.cell(row, x)?, report.cell(row, y)?);
        Some(point(x.mean, y).labelled(row.as_str()))
    };
    let mut series = vec![];
    let on_curve: Vec<Datum> = curve.iter().filter_map(place).collect();
    if !on_curve.is_empty() {
        series.push(Series::line(name, on_curve));
    }
    let beside = |row: &String| Some(Series::scatter(row.as_str(), vec![place(row)?]));
    series.extend(points.iter().filter_map(beside));
    Chart {
        x: PlotAxis::new(format!("{x} accuracy (%)")),
        y: PlotAxis::new(format!("{y} accuracy (%)")),
        series,
    }
}

fn over(report: &Report, along: Along, from: Option<&str>, rows: &[String]) -> anyhow::Result<Chart> {
    let mut series = vec![];
    for row in rows.iter().filter(|row| report.first(row).is_some()) {
        let mut points = vec![];
        for column in report.columns() {
            let at = if from == Some(column.name.as_str()) { Some(0.0) } else { column.place()? };
            points.extend(at.zip(report.cell(row, &column.name)).map(|(at, cell)| point(at, cell)));
        }
        series.push(Series::line(row.as_str(), points));
    }
    let x = match along {
        Along::Radius => PlotAxis::new("radius of the attack (1/255)").times(255.0),
        Along::Steps => PlotAxis::new("steps of the attack").logarithmic(),
    };
    Ok(Chart { x, y: PlotAxis::new("accuracy (%)"), series })
}

fn radii(run: &std::path::Path, samples: usize) -> anyhow::Result<Chart> {
    let files = RadiiFile::of(run)?;
    let last = files.last().context("no epoch left its radii")?.read()?;
    let n = last.index.len();
    // The middle sample of each of equally many parts, so that samples are not chosen by hand.
    let chosen: Vec<i64> = (0..samples.min(n)).map(|i| last.index[(2 * i + 1) * n / (2 * samples)]).collect();
    Ok(radii_over_epochs(&files, &chosen, radius())?)
}

fn histograms(run: &std::path::Path, panels: usize) -> anyhow::Result<temper_report::Histograms> {
    let files = RadiiFile::of(run)?;
    let n = files.len();
    let panels = panels.clamp(1, n);
    let epochs: Vec<usize> = (1..=panels).map(|i| files[(i * n).div_ceil(panels) - 1].epoch).collect();
    Ok(histograms_of_radii(&files, &epochs, radius())?)
}

fn radius() -> PlotAxis {
    PlotAxis::new("radius (1/255)").times(255.0)
}

fn heat_map(report: &Report, map: &Map) -> HeatMap {
    let cell = |row: &String| report.cell(row, &map.column).map(|cell| cell.mean);
    HeatMap {
        shows: format!("{} accuracy (%)", map.column),
        rows: map.lines.clone(),
        columns: map.columns.clone(),
        row_names: map.line_names.clone(),
        column_names: map.column_names.clone(),
        cells: map.rows.iter().map(|rows| rows.iter().map(cell).collect()).collect(),
        times: 1.0,
        digits: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "title = \"x\"\n[base]\n[[column]]\nname = \"natural\"\n[[row]]\nname = \"a\"\nnetwork = \"n\"\nrecipe = \"r\"\n\
                         [[picture]]\ncaption = \"c\"\n";

    /// The error for a table with this picture.
    fn fault(draw: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.toml"), format!("{TABLE}draw.{draw}\n")).unwrap();
        match TableFile::read(folder.path(), "t") {
            Ok(_) => "none".into(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn pictures_of_what_a_table_has_not_are_refused() {
        assert_eq!(fault("radii = { row = \"a\", samples = 3 }"), "none");
        let row = fault("radii = { row = \"b\", samples = 3 }");
        assert!(row.contains("t.toml: unknown row `b`; ") && row.ends_with("\n  at picture.0.draw"), "{row}");
        let column =
            fault("trade-off = { x = \"natural\", y = \"pgd\", name = \"n\", curve = [\"a\"], points = [] }");
        assert!(column.contains("unknown column `pgd`; known: `natural`"), "{column}");
        let from = fault("over = { along = \"radius\", from = \"clean\", rows = [\"a\"] }");
        assert!(from.contains("unknown column `clean`; known: `natural`"), "{from}");
        let steps = fault("over = { along = \"steps\", from = \"natural\", rows = [\"a\"] }");
        assert!(steps.contains("it has no 0"), "{steps}");
        let over = fault("over = { along = \"radius\", rows = [\"a\"] }");
        assert!(over.contains("no column stands `at` a radius or a number of steps"), "{over}");
        let map = "heat-map = { column = \"natural\", lines = \"l\", columns = \"c\", line-names = [\"1\"], column-names = [\"1\", \"2\"], rows = [[\"a\"]] }";
        assert!(fault(map).contains("`rows` must be 1 lists of 2 rows"), "{}", fault(map));
        let share = fault("samples = { row = \"a\", share = 0.7, images = 6, radii = [], attack = \"pgd\" }");
        assert!(share.contains("`share` is 0.7, expected 0 to 0.5"), "{share}");
        assert!(fault("pie = {}").contains("unknown variant `pie`"), "{}", fault("pie = {}"));
    }
}
