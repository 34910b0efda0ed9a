//! Data sets.

use std::fmt::Debug;
use std::sync::Arc;

use crate::{Publication, Result, Source, Split};

/// A data set that pipelines choose by name.
pub trait Dataset: Debug + Send + Sync {
    /// Opens one split. Everything that can be checked early is checked here: missing files, sizes, labels.
    fn open(&self, split: Split) -> Result<Arc<dyn Source>>;

    /// Parameters that a resumed run may change. They may decide whether training continues, but not its
    /// results.
    fn free_to_change(&self) -> &'static [&'static str] {
        &[]
    }

    /// Where its publisher hosts it; `None` if it cannot be downloaded.
    fn publication(&self) -> Option<Publication> {
        None
    }

    /// What is known of it without opening it; nothing of images that only a folder knows.
    fn facts(&self) -> Facts {
        Facts::default()
    }
}

/// What is known of a data set without opening it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Its images, as published or as its parameters choose them.
    pub size: Option<Size>,
    /// By which means and standard deviations networks usually normalise its pixels.
    pub normalisation: Option<Normalisation>,
    /// Name of the published set of corrupted versions of its test images.
    pub corrupted: Option<&'static str>,
}

/// How many images of which kind a data set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Training images.
    pub train: u64,
    /// Test images.
    pub test: u64,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Classes.
    pub classes: usize,
}

/// Means and standard deviations of pixel values of [0, 1], by channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// What it is called.
    pub name: &'static str,
    /// Means.
    pub mean: &'static [f64],
    /// Standard deviations.
    pub std: &'static [f64],
}
