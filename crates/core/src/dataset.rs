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

    /// Facts that are known without opening the data set; nothing about images that are known only from a
    /// folder.
    fn facts(&self) -> Facts {
        Facts::default()
    }
}

/// Facts about a data set that are known without opening it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The numbers and the shape of its images, as published or as selected by its parameters.
    pub size: Option<Size>,
    /// The means and standard deviations with which networks usually normalise its pixels.
    pub normalisation: Option<Normalisation>,
    /// Name of the published set of corrupted versions of its test images.
    pub corrupted: Option<&'static str>,
}

/// The numbers of images and classes of a data set, and the shape of the images.
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
    /// Its name.
    pub name: &'static str,
    /// Means.
    pub mean: &'static [f64],
    /// Standard deviations.
    pub std: &'static [f64],
}
