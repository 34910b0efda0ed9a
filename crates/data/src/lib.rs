//! Images, where they come from, and batches of them.
//!
//! Everything random is keyed by what it is for (seed, purpose, epoch, sample), never by when it happens, so that
//! order, augmentation and noise are the same for any number of threads and after any interruption.

mod batches;
mod error;
mod rng;
mod source;

pub use batches::{Batches, RawBatch};
pub use error::{Error, Result};
pub use rng::Rng;
pub use source::{Image, Source, Split};
