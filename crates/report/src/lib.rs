//! Tables and figures from the files of runs. This crate only reads files and does not depend on how they
//! were made.

mod attacked;
mod details;
mod figure;
#[cfg(test)]
mod markup;
mod measured;
mod page;
mod radii_figures;
mod report;
mod results;
mod table;

pub use attacked::{Attacked, read_attacked};
pub use figure::{
    Chart, Datum, Drawing, Fall, Figure, FigureError, FigureImage, HeatMap, Histogram, Histograms, ImageRow,
    ImageSheet, PlotAxis, Series, Tile, Waterfall,
};
pub use measured::{Measured, MeasuredError};
pub use page::{KeyFigure, Page};
pub use radii_figures::{epochs_in_words, histograms_of_radii, radii_over_epochs};
pub use report::report_of;
pub use results::table_of;
pub use table::{Table, interval, percent, radius_in_words};
