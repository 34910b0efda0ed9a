//! Tables from what runs leave behind. This crate reads files and knows nothing of how they came to be.

mod details;
mod results;
mod table;

pub use results::{Corrupted, Corruption, Cost, Curve, Distances, Error, Evaluation, Hits, Point, Results};
pub use table::{Table, interval, percent};
