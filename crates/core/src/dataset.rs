//! Data sets.

use std::fmt::Debug;
use std::sync::Arc;

use crate::{Result, Source, Split};

/// A data set that pipelines choose by name.
pub trait Dataset: Debug + Send + Sync {
    /// Opens one part of it, checking what can be checked before any work: presence, sizes, labels.
    fn open(&self, split: Split) -> Result<Arc<dyn Source>>;
}
