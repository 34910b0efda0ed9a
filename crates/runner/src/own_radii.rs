//! The radii of training images for `--eps own`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use sha2::{Digest, Sha256};
use temper_core::{Distance, Part, Source};
use temper_files::hex;
use temper_results::RadiiFile;

use crate::config::BadConfig;
use crate::stored::epoch_of;

/// The radii at the end of an epoch of a run.
#[derive(Debug)]
pub(crate) struct OwnRadii {
    /// Their file.
    pub(crate) file: PathBuf,
    /// Radius by index in the whole training split, in pixel values of [0, 1].
    pub(crate) radii: BTreeMap<u64, f64>,
}

impl OwnRadii {
    /// The radii of the epoch of these weights, from the run's folder. Selected weights record their epoch; for
    /// others it is the last one.
    pub(crate) fn of(weights: &Path) -> anyhow::Result<Self> {
        let run = weights.parent().unwrap_or(weights);
        let files = RadiiFile::of(run)?;
        let epoch = epoch_of(weights)?;
        let named = |file: &&RadiiFile| epoch.is_none_or(|epoch| file.epoch == epoch);
        let file = files.iter().rev().find(named).with_context(|| {
            format!("{} has no radii of epoch {}", run.display(), epoch.unwrap_or_default())
        })?;
        let read = file.read()?;
        let radii = read.index.iter().zip(read.radii).filter_map(|(i, r)| Some((u64::try_from(*i).ok()?, r)));
        Ok(Self { file: file.file.clone(), radii: radii.collect() })
    }

    /// The images with a radius above 0.
    pub(crate) fn with_one(&self, source: &Arc<dyn Source>) -> anyhow::Result<Arc<dyn Source>> {
        let above: Vec<usize> = self
            .radii
            .iter()
            .filter(|(_, r)| **r > 0.0)
            .filter_map(|(i, _)| usize::try_from(*i).ok())
            .collect();
        if above.is_empty() {
            return Err(BadConfig(format!("--eps own: all radii in {} are 0", self.file.display())).into());
        }
        match Part::of(source, &above) {
            Ok(part) => Ok(Arc::new(part)),
            Err(missing) => Err(BadConfig(format!(
                "--eps own: {} has a radius for image {missing}, which the data set does not have: {}",
                self.file.display(),
                source.origin()
            ))
            .into()),
        }
    }

    /// Checks that an image has a radius. An error if it was not a training image.
    pub(crate) fn check(&self, image: usize) -> Result<(), BadConfig> {
        match self.radii.contains_key(&(image as u64)) {
            true => Ok(()),
            false => Err(BadConfig(format!(
                "--eps own: image {image} was not trained on, {} has no radius for it",
                self.file.display()
            ))),
        }
    }

    /// The largest radius.
    pub(crate) fn largest(&self) -> anyhow::Result<Distance> {
        let largest = self.radii.values().copied().fold(0.0, f64::max);
        Distance::new(largest).with_context(|| format!("{} has the radius {largest}", self.file.display()))
    }

    /// A hash of all radii.
    pub(crate) fn hash(&self) -> String {
        let bytes = self.radii.iter().flat_map(|(i, r)| [i.to_le_bytes(), r.to_le_bytes()].concat());
        hex(&Sha256::digest(bytes.collect::<Vec<u8>>())[..16])
    }
}
