//! Common corruptions, Hendrycks & Dietterich 2019, <https://arxiv.org/abs/1903.12261>: 19 kinds at five severities.
//!
//! [`Generator`] generates them with the published parameters and formulas from a seed. The published files
//! were drawn without a seed and cannot be reproduced. Results on generated images are therefore comparable
//! only with each other.

mod alexnet;
mod blur;
#[cfg(test)]
mod closed_forms;
mod colour;
mod filters;
mod frost;
mod generator;
mod geometry;
#[cfg(test)]
mod golden;
mod jpeg;
mod kind;
mod metric;
mod noise;
mod npy;
mod parameters;
mod planes;
mod published;
mod refusal;
mod source;
mod spatter;
#[cfg(test)]
mod tests;
mod weather;

pub use alexnet::{ALEXNET_CLEAN, alexnet};
pub use frost::Frost;
pub use generator::Generator;
pub use kind::{CorruptionKind, CorruptionSeverity};
pub use metric::{AccuracyCell, Cells};
pub use parameters::Parameters;
pub use published::{PublishedCifar, PublishedSet, published_imagenet};
pub use refusal::Refusal;
pub use source::CorruptedSource;
