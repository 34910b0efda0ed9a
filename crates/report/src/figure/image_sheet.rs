//! Sheets of images in rows and columns, each with a caption.

use super::drawing::Drawing;
use super::image::FigureImage;
use super::lettering::Align;
use super::palette::INK;
use super::{Figure, FigureError};

/// Font size of column heads and row names, in units.
const EM: f64 = 12.0;
/// Font size of captions.
const SMALL: f64 = 11.0;
/// Line height of captions.
const LINE: f64 = 14.0;
/// Maximum number of lines of a caption.
const MOST_LINES: usize = 3;
/// Gap between two tiles.
const GAP: f64 = 10.0;
/// Minimum and maximum width of a tile.
const WIDTHS: [f64; 2] = [40.0, 128.0];

/// Images below column heads, such as samples unperturbed and at several radii. Images keep their
/// proportions, and their pixels remain squares.
#[derive(Debug, Clone)]
pub struct ImageSheet {
    /// A description for people who cannot see the figure.
    pub shows: String,
    /// Head of each column.
    pub columns: Vec<String>,
    /// Rows from top to bottom.
    pub rows: Vec<ImageRow>,
}

/// A row of images.
#[derive(Debug, Clone)]
pub struct ImageRow {
    /// The name to the left of the row; may be empty.
    pub name: String,
    /// One tile per column; `None` leaves its place empty.
    pub tiles: Vec<Option<Tile>>,
}

/// An image and its caption.
#[derive(Debug, Clone)]
pub struct Tile {
    /// The image.
    pub image: FigureImage,
    /// The caption, up to three lines.
    pub caption: String,
}

impl ImageSheet {
    fn check(&self) -> Result<(), FigureError> {
        let unfit = |what: String| Err(FigureError::unfit(format!("the images of {}: {what}", self.shows)));
        if self.rows.iter().flat_map(|row| &row.tiles).all(Option::is_none) {
            return unfit("there are none".into());
        }
        for (i, row) in self.rows.iter().enumerate() {
            if row.tiles.len() != self.columns.len() {
                let (tiles, columns) = (row.tiles.len(), self.columns.len());
                return unfit(format!("row {} has {tiles} images, expected {columns}, one a column", i + 1));
            }
        }
        Ok(())
    }
}

impl Figure for ImageSheet {
    fn draw(&self) -> Result<Drawing, FigureError> {
        self.check()?;
        let mut drawing = Drawing::new(format!("images of {}", self.shows))?;
        let names = self.rows.iter().map(|row| drawing.width(&row.name, EM)).fold(0.0, f64::max).min(140.0);
        let left = if names > 0.0 { 12.0 + names + 12.0 } else { 12.0 };
        let columns = self.columns.len() as f64;
        let width = ((Drawing::WIDTH - 12.0 - left + GAP) / columns - GAP).min(WIDTHS[1]);
        if width < WIDTHS[0] {
            return Err(FigureError::unfit(format!(
                "the images of {}: {columns} columns are too many for one figure",
                self.shows
            )));
        }
        let at = |column: usize| left + (width + GAP) * column as f64;

        let heads: Vec<_> =
            self.columns.iter().map(|head| drawing.lettering.wrap(head, EM, width, 2)).collect();
        let lines = heads.iter().map(Vec::len).max().unwrap_or(0);
        for (column, head) in heads.iter().enumerate() {
            for (i, line) in head.iter().enumerate() {
                // The last lines of all heads are aligned.
                let y = 14.0 + 16.0 * (lines - head.len() + i) as f64;
                drawing.text(line, [at(column) + width / 2.0, y], EM, INK, Align::Middle);
            }
        }
        let mut top = 12.0 + 16.0 * lines as f64;
        for row in &self.rows {
            top = row.draw(&mut drawing, [left, top], width);
        }
        drawing.with_height(top)
    }
}

impl ImageRow {
    /// Draws the row; returns the position of the next one.
    fn draw(&self, drawing: &mut Drawing, [left, top]: [f64; 2], width: f64) -> f64 {
        let size = |image: &FigureImage| fitted(image, width);
        let tallest = self.tiles.iter().flatten().map(|tile| size(&tile.image)[1]).fold(0.0, f64::max);
        let name = drawing.lettering.cut(&self.name, EM, left - 24.0);
        drawing.text(&name, [12.0, top + tallest / 2.0], EM, INK, Align::Left);
        let mut lines = 0;
        for (column, tile) in self.tiles.iter().enumerate().filter_map(|(i, tile)| Some((i, tile.as_ref()?)))
        {
            let middle = left + (width + GAP) * column as f64 + width / 2.0;
            let [across, down] = size(&tile.image);
            // Aligned to whole pixels, so that all pixels of the image have the same size.
            let corner = [(middle - across / 2.0).round(), (top + (tallest - down) / 2.0).round()];
            drawing.picture(&tile.image, corner, [across, down]);
            let caption = drawing.lettering.wrap(&tile.caption, SMALL, width + GAP - 4.0, MOST_LINES);
            for (i, line) in caption.iter().enumerate() {
                let y = top.round() + tallest + 11.0 + LINE * i as f64;
                drawing.text(line, [middle, y], SMALL, INK, Align::Middle);
            }
            lines = lines.max(caption.len());
        }
        (top + tallest + 4.0 + LINE * lines as f64 + GAP).ceil()
    }
}

/// Size of an image in a column: fitted to the column, with an integer number of pixels per image pixel if it
/// is smaller.
fn fitted(image: &FigureImage, width: f64) -> [f64; 2] {
    let longest = image.width().max(image.height()) as f64;
    let each = width / longest;
    // A PNG has two pixels per unit.
    let each = if each >= 0.5 { (each * 2.0).floor() / 2.0 } else { each };
    [image.width(), image.height()].map(|side| (side as f64 * each).max(1.0))
}
