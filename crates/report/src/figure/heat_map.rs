//! Heat maps: numbers in rows and columns, darker where they are larger.

use super::drawing::Drawing;
use super::lettering::Align;
use super::palette::{INK, VOID, graded, readable_on};
use super::{Figure, FigureError};
use temper_results::Corrupted;

/// Font size, in units.
const EM: f64 = 12.0;
/// Height of a cell.
const HEIGHT: f64 = 26.0;
/// Maximum number of decimals.
const MOST_DIGITS: usize = 9;
/// Minimum and maximum width of a cell.
const WIDTHS: [f64; 2] = [34.0, 96.0];

/// A heat map, rows from top to bottom.
#[derive(Debug, Clone)]
pub struct HeatMap {
    /// What the numbers are, for people who cannot see the figure.
    pub shows: String,
    /// Name of the rows, shown beside them.
    pub rows: String,
    /// Name of the columns, shown above them.
    pub columns: String,
    /// Name of each row.
    pub row_names: Vec<String>,
    /// Name of each column.
    pub column_names: Vec<String>,
    /// The numbers `[rows][columns]`; `None` if there is none.
    pub cells: Vec<Vec<Option<f64>>>,
    /// Factor of the numbers shown, for example 100 for shares in per cent.
    pub times: f64,
    /// Number of decimals, at most 9.
    pub digits: usize,
}

impl HeatMap {
    /// Accuracy in per cent by kind of corruption and severity.
    pub fn of_corruptions(corrupted: &Corrupted) -> Self {
        let severity = |cell: &temper_results::Corruption| cell.severity.unwrap_or_default();
        let mut severities: Vec<u8> = corrupted.cells.iter().map(severity).collect();
        severities.sort_unstable();
        severities.dedup();
        let kinds = || corrupted.cells.chunk_by(|a, b| a.kind == b.kind);
        let row = |cells: &[temper_results::Corruption]| {
            let at =
                |wanted: &u8| cells.iter().find(|cell| severity(cell) == *wanted).map(|cell| cell.accuracy);
            severities.iter().map(at).collect()
        };
        Self {
            shows: "accuracy on corrupted images (%)".into(),
            rows: String::new(),
            columns: "severity".into(),
            row_names: kinds().map(|cells| cells[0].kind.clone().unwrap_or_default()).collect(),
            column_names: severities.iter().map(ToString::to_string).collect(),
            cells: kinds().map(row).collect(),
            times: 100.0,
            digits: 1,
        }
    }

    /// The numbers as text.
    fn shown(&self) -> Result<Vec<Vec<Option<f64>>>, FigureError> {
        let (rows, columns) = (self.row_names.len(), self.column_names.len());
        let unfit = |what: String| Err(FigureError::unfit(format!("the heat map of {}: {what}", self.shows)));
        if rows == 0 || columns == 0 {
            return unfit("it has no cells".into());
        }
        if self.cells.len() != rows || self.cells.iter().any(|row| row.len() != columns) {
            return unfit(format!("{rows} rows and {columns} columns have names, but the cells are others"));
        }
        if self.cells.iter().flatten().all(Option::is_none) {
            return unfit("none of its cells has a number".into());
        }
        for (row, name) in self.cells.iter().zip(&self.row_names) {
            for (cell, column) in row.iter().zip(&self.column_names) {
                if let Some(value) = cell.filter(|value| !(value * self.times).is_finite()) {
                    return unfit(format!("{value} in row `{name}`, column `{column}` cannot be drawn"));
                }
            }
        }
        Ok(self
            .cells
            .iter()
            .map(|row| row.iter().map(|cell| cell.map(|v| v * self.times)).collect())
            .collect())
    }
}

impl Figure for HeatMap {
    fn draw(&self) -> Result<Drawing, FigureError> {
        let cells = self.shown()?;
        let mut drawing = Drawing::new(format!("heat map of {}", self.shows))?;
        let words = |value: f64| format!("{value:.*}", self.digits.min(MOST_DIGITS)).replace('-', "−");
        let numbers = || cells.iter().flatten().flatten().copied();
        let widest = |texts: &mut dyn Iterator<Item = String>, drawing: &Drawing| {
            texts.map(|text| drawing.width(&text, EM)).fold(0.0, f64::max)
        };

        let side = if self.rows.is_empty() { 10.0 } else { 32.0 };
        let names = widest(&mut self.row_names.iter().cloned(), &drawing).min(220.0);
        let left = side + names + 10.0;
        let columns = self.column_names.len() as f64;
        let room = (Drawing::WIDTH - 12.0 - left) / columns;
        let needed = widest(&mut numbers().map(words), &drawing) + 8.0;
        if room < needed.max(WIDTHS[0]) {
            return Err(FigureError::unfit(format!(
                "the heat map of {} has {columns} columns, too many for one figure",
                self.shows
            )));
        }
        let width = room.min(WIDTHS[1].max(needed));
        let heads = widest(&mut self.column_names.iter().cloned(), &drawing);
        let upward = heads > width - 6.0;
        let head = if upward { heads.min(160.0) + 10.0 } else { 20.0 };
        let top = if self.columns.is_empty() { head + 6.0 } else { head + 24.0 };

        let (right, bottom) = (left + width * columns, top + HEIGHT * cells.len() as f64);
        let name = drawing.lettering.cut(&self.columns, EM, Drawing::WIDTH - left);
        drawing.text(&name, [f64::midpoint(left, right), 13.0], EM, INK, Align::Middle);
        let name = drawing.lettering.cut(&self.rows, EM, (bottom - top).max(HEIGHT));
        let beside = [14.0, f64::midpoint(top, bottom)];
        // Names of one or two letters are not rotated.
        match drawing.width(&name, EM) <= 2.0 * EM {
            true => drawing.text(&name, beside, EM, INK, Align::Middle),
            false => drawing.upward(&name, beside, EM, INK, Align::Middle),
        }
        for (i, name) in self.column_names.iter().enumerate() {
            let x = left + width * (i as f64 + 0.5);
            if upward {
                let name = drawing.lettering.cut(name, EM, head - 10.0);
                drawing.upward(&name, [x, top - 6.0], EM, INK, Align::Left);
            } else {
                drawing.text(name, [x, top - 11.0], EM, INK, Align::Middle);
            }
        }
        let (low, high) =
            numbers().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        for (i, (row, row_name)) in cells.iter().zip(&self.row_names).enumerate() {
            let y = top + HEIGHT * i as f64;
            let name = drawing.lettering.cut(row_name, EM, names);
            drawing.text(&name, [left - 8.0, y + HEIGHT / 2.0], EM, INK, Align::Right);
            for (j, cell) in row.iter().enumerate() {
                let x = left + width * j as f64;
                let grade = |value: f64| graded(if high > low { (value - low) / (high - low) } else { 0.0 });
                let color = cell.map_or(VOID, grade);
                drawing.rectangle([x + 0.5, y + 0.5], [width - 1.0, HEIGHT - 1.0], color);
                let text = cell.map_or_else(|| "–".into(), words);
                drawing.text(
                    &text,
                    [x + width / 2.0, y + HEIGHT / 2.0],
                    EM,
                    readable_on(color),
                    Align::Middle,
                );
                let hover = format!("{row_name}, {}: {text}", self.column_names[j]);
                drawing.hover([x, y], [width, HEIGHT], hover);
            }
        }
        drawing.with_height(bottom + 8.0)
    }
}
