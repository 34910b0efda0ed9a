//! Radii that training left to its images, for `--eps own`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use sha2::{Digest, Sha256};
use temper_core::{Part, Pixels, Source};
use temper_data::hex;
use temper_report::RadiiFile;

use crate::config::BadConfig;

/// Radii of a run's last epoch.
#[derive(Debug)]
pub(crate) struct OwnRadii {
    /// Their file.
    pub(crate) file: PathBuf,
    /// By index in the whole training split, in pixel values of [0, 1].
    pub(crate) radii: BTreeMap<u64, f64>,
}

impl OwnRadii {
    /// Those of the run that a path names, or in whose folder the file of weights lies.
    pub(crate) fn of(network: &Path) -> anyhow::Result<Self> {
        let run = if network.is_dir() { network } else { network.parent().unwrap_or(network) };
        let files = RadiiFile::of(run)?;
        let last = files.last().with_context(|| format!("{} holds no radii", run.display()))?;
        let read = last.read()?;
        let radii = read.index.iter().zip(read.radii).filter_map(|(i, r)| Some((u64::try_from(*i).ok()?, r)));
        Ok(Self { file: last.file.clone(), radii: radii.collect() })
    }

    /// The images that have a radius above 0.
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

    /// The radius of an image; the error says that it was not trained on.
    pub(crate) fn check(&self, image: usize) -> Result<(), BadConfig> {
        match self.radii.contains_key(&(image as u64)) {
            true => Ok(()),
            false => Err(BadConfig(format!(
                "--eps own: image {image} was not trained on, {} has no radius for it",
                self.file.display()
            ))),
        }
    }

    /// The largest of them.
    pub(crate) fn largest(&self) -> anyhow::Result<Pixels> {
        let largest = self.radii.values().copied().fold(0.0, f64::max);
        Pixels::new(largest).with_context(|| format!("{} has the radius {largest}", self.file.display()))
    }

    /// All of them, hashed.
    pub(crate) fn hash(&self) -> String {
        let bytes = self.radii.iter().flat_map(|(i, r)| [i.to_le_bytes(), r.to_le_bytes()].concat());
        hex(&Sha256::digest(bytes.collect::<Vec<u8>>())[..16])
    }
}
