//! Figures, as SVG and PNG. Both are drawn from one list of marks, and the same figure always produces the same
//! bytes, whatever fonts are installed.

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
mod waterfall;

pub use axis::PlotAxis;
pub use chart::{Chart, Datum, Series};
pub use drawing::Drawing;
pub use heat_map::HeatMap;
pub use histograms::{Histogram, Histograms};
pub use image::FigureImage;
pub(crate) use image::data_uri;
pub use image_sheet::{ImageRow, ImageSheet, Tile};
pub(crate) use svg::escaped;
pub use waterfall::{Fall, Waterfall};

/// A figure that can be drawn.
pub trait Figure {
    /// Computes the layout. The error names the number or name that cannot be drawn.
    fn draw(&self) -> Result<Drawing, FigureError>;

    /// The figure as an SVG document. Its text is in the viewer's own sans-serif font.
    fn svg(&self) -> Result<String, FigureError> {
        self.draw()?.svg()
    }

    /// The figure as a PNG file, two pixels per unit of the SVG.
    fn png(&self) -> Result<Vec<u8>, FigureError> {
        self.draw()?.png()
    }
}

/// Why a figure cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// The data cannot be drawn.
    #[error("{0}")]
    Unfit(String),
    /// Drawing failed.
    #[error("cannot draw the figure: {0}")]
    Backend(String),
    /// A PNG file could not be encoded.
    #[error("cannot encode the PNG file: {0}")]
    Encode(#[from] png::EncodingError),
}

impl FigureError {
    /// An error about data that cannot be drawn.
    fn unfit(what: impl Into<String>) -> Self {
        Self::Unfit(what.into())
    }
}

#[cfg(test)]
mod tests;
