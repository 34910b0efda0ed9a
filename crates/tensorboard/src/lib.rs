//! Event files that TensorBoard shows while a run trains: scalars, histograms and images, each at a step.
//!
//! An [`EventFile`] grows by one record a call, so it shows a run and does not store it. A run that is continued makes
//! a new file and writes its earlier steps again.
//!
//! The file is a sequence of records (`record`) of protocol buffers (`message`) as in TensorFlow's `event.proto` and
//! `summary.proto`. Values have no `SummaryMetadata`: TensorBoard derives it from the kind of a value.

mod error;
mod file;
mod histogram;
mod message;
#[cfg(test)]
mod read;
mod record;

pub use error::{Error, Result};
pub use file::EventFile;
