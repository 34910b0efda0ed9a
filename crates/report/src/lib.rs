//! Tables from what runs leave behind. This crate reads files and knows nothing of how they came to be.

mod details;
mod metrics;
mod radii;
mod results;
mod table;

pub use metrics::{Epoch, read_metrics};
pub use radii::{EpochRadii, RadiiFile};
pub use results::{
    Corrupted, Corruption, Cost, Curve, Distances, Error, Evaluation, Hits, Point, Radii, Results,
};
pub use table::{Table, interval, percent};
