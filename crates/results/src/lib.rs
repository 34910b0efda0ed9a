//! What runs, attacks and transfer matrices leave on disk: one set of types, which the programs that write these files
//! fill and the programs that read them get back.
//!
//! - `results.json`: [`Results`], described by the JSON Schema of [`schema`];
//! - `metrics.jsonl`: an [`Epoch`] a line;
//! - `records.jsonl`: a [`Line`] a judged batch, kept by [`Records`];
//! - `epsilon/epoch-*.safetensors`: the radius of each training sample, [`EpochRadii`];
//! - `images.safetensors`: [`SavedImages`].
//!
//! Keys may be added, and readers ignore keys that they do not know.

mod corrupted;
mod digest;
mod epoch;
mod error;
mod evaluation;
mod files;
mod images;
mod interval;
mod line;
mod norm;
mod radii;
mod record;
mod records;
mod results;
pub mod shell;
mod warning;

pub use corrupted::{Corrupted, Corruption};
pub use digest::DataDigest;
pub use epoch::{Epoch, HeldOut, Percentiles, quantile, read_metrics, write_metrics};
pub use error::{Error, RecordsError};
pub use evaluation::{Cost, Curve, Distances, Evaluation, Hits, Over, Point, Queries};
pub use files::text;
pub use images::SavedImages;
pub use interval::wilson;
pub use line::Line;
pub use norm::Norm;
pub use radii::{EpochRadii, RadiiFile};
pub use record::{Columns, Record};
pub use records::Records;
pub use results::{
    Best, CommandName, DatasetSummary, Machine, NetworkSummary, PngAccuracy, Results, SavedSummary,
    SplitSummary, Training, Versions, schema,
};
pub use warning::{Severity, Warning};

/// For `skip_serializing_if`: a count that is left out where it is 0.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// For `skip_serializing_if`: a flag that is left out where it is false.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
