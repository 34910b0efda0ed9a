//! Data sets.

use std::fmt::Debug;
use std::sync::Arc;

use crate::{Publication, Result, Source, Split};

/// A data set that pipelines choose by name.
pub trait Dataset: Debug + Send + Sync {
    /// Opens one part of it, checking what can be checked before any work: presence, sizes, labels.
    fn open(&self, split: Split) -> Result<Arc<dyn Source>>;

    /// Parameters that a resumed run may change: they decide whether training goes on, not what comes of it.
    fn free_to_change(&self) -> &'static [&'static str] {
        &[]
    }

    /// Where its publisher keeps it; `None` if it cannot be fetched.
    fn publication(&self) -> Option<Publication> {
        None
    }
}
