//! Figures, as SVG for a page and as PNG for everywhere else. Both are made from one list of marks, and the same figure gives
//! the same bytes, whatever fonts a machine has.

mod axis;
mod chart;
mod drawing;
mod heat_map;
mod histograms;
mod image;
mod image_sheet;
mod lettering;
mod palette;
mod places;
mod svg;

pub use axis::Axis;
pub use chart::{Chart, Datum, Series};
pub use drawing::Drawing;
pub use heat_map::HeatMap;
pub use histograms::{Histogram, Histograms};
pub use image::FigureImage;
pub(crate) use image::data_uri;
pub use image_sheet::{ImageRow, ImageSheet, Tile};
pub(crate) use svg::escaped;

/// Something that can be drawn.
pub trait Figure {
    /// Lays it out; an error says which number or name cannot be drawn.
    fn draw(&self) -> Result<Drawing, FigureError>;

    /// As an SVG document, its text in the viewer's own font without serifs.
    fn svg(&self) -> Result<String, FigureError> {
        self.draw()?.svg()
    }

    /// As a PNG file, two pixels for each unit of the SVG's size.
    fn png(&self) -> Result<Vec<u8>, FigureError> {
        self.draw()?.png()
    }
}

/// Why a figure cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// What it is given makes no figure.
    #[error("{0}")]
    Unfit(String),
    /// The drawing itself failed.
    #[error("cannot draw the figure: {0}")]
    Backend(String),
    /// A PNG file could not be encoded.
    #[error("cannot encode the PNG file: {0}")]
    Encode(#[from] png::EncodingError),
}

impl FigureError {
    /// What it is given makes no figure.
    fn unfit(what: impl Into<String>) -> Self {
        Self::Unfit(what.into())
    }
}

#[cfg(test)]
mod tests;
