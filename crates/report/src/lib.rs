//! Tables and figures from the files of runs. This crate only reads files and does not depend on how they
//! were made.

mod attacked;
mod details;
mod figure;
#[cfg(test)]
mod markup;
mod page;
mod radii_figures;
mod results;
mod table;

pub use attacked::{Attacked, read_attacked};
pub use figure::{
    Chart, Datum, Drawing, Figure, FigureError, FigureImage, HeatMap, Histogram, Histograms, ImageRow,
    ImageSheet, PlotAxis, Series, Tile,
};
pub use page::Page;
pub use radii_figures::{histograms_of_radii, radii_over_epochs};
pub use results::table_of;
pub use table::{Table, interval, percent};
