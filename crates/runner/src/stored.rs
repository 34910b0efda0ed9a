//! Networks that runs left behind, or that other programs trained: a run's folder, or a file of weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use temper_core::nn::{Classifier, Frozen, Numerics};
use temper_core::{Chosen, DataError, Device, Model};
use temper_data::hex;
use temper_train::{load_about, load_weights};

/// What a file of weights says of them.
#[derive(Debug, Deserialize)]
pub(crate) struct About {
    /// The network's architecture.
    pub(crate) model: Chosen<dyn Model>,
    /// Channels, height, width.
    pub(crate) input: [usize; 3],
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
}

/// A network on disk.
pub(crate) struct Stored {
    /// The file of weights.
    pub(crate) file: PathBuf,
    /// SHA-256 of that file.
    pub(crate) sha256: String,
    /// Channels, height, width.
    pub(crate) input: [usize; 3],
    /// Number of classes.
    pub(crate) classes: usize,
    /// The model's name.
    pub(crate) model: &'static str,
    /// The network, with these weights.
    pub(crate) classifier: Classifier,
}

impl Stored {
    /// The file of weights that a path names: itself, or of a run's folder the best weights, if it selected any, else the last.
    pub(crate) fn file(path: &Path) -> anyhow::Result<PathBuf> {
        let candidates = match path.is_dir() {
            true => vec![path.join("best.safetensors"), path.join("model.safetensors")],
            false => vec![path.to_path_buf()],
        };
        if let Some(file) = candidates.iter().find(|file| file.is_file()) {
            return Ok(file.clone());
        }
        let looked = candidates.iter().map(|file| file.display().to_string()).collect();
        let how = "expected a run that has ended, or a file of weights (.safetensors)".into();
        Err(temper_core::Error::from(DataError::Missing { what: "trained network".into(), looked, how })
            .into())
    }

    /// What a file of weights says of itself; `None` if another program wrote it.
    pub(crate) fn about(file: &Path) -> anyhow::Result<Option<About>> {
        let Some(about) = load_about(file)? else { return Ok(None) };
        let about = serde_json::from_str(&about).with_context(|| {
            format!("{}: its metadata entry `temper` is not what runs write", file.display())
        })?;
        Ok(Some(about))
    }

    /// The network of a file and what it says of itself.
    pub(crate) fn open(file: PathBuf, about: &About, numerics: Numerics) -> anyhow::Result<Self> {
        let at = || file.display().to_string();
        let sha256 = sha256(&file)?;
        let classes = about.classes.len();
        let network = about.model.build(about.input, classes).with_context(at)?.with_numerics(numerics);
        let classifier = Classifier::new(network, &load_weights(&file)?).with_context(at)?;
        Ok(Self { sha256, input: about.input, classes, model: about.model.name(), classifier, file })
    }

    /// The network at a path that says what it is.
    pub(crate) fn known(path: &Path, numerics: Numerics) -> anyhow::Result<Self> {
        let file = Self::file(path)?;
        match Self::about(&file)? {
            Some(about) => Self::open(file, &about, numerics),
            None => bail!(
                "{} does not say what network it is of: runs of temper write that into a file's metadata",
                file.display()
            ),
        }
    }

    /// Its weights, for passes in evaluation mode.
    pub(crate) fn frozen(&self, device: &Device) -> anyhow::Result<Frozen> {
        let network = self.classifier.network().clone();
        Ok(Frozen::new(&Classifier::new(network, &self.classifier.weights())?.to_device(device)?)?)
    }

    /// Why it does not see the same images and classes as another network; `None` if it does.
    pub(crate) fn misfit(&self, input: [usize; 3], classes: usize) -> Option<String> {
        let [c, h, w] = self.input;
        let file = self.file.display();
        (self.input != input || self.classes != classes).then(|| {
            let [own_c, own_h, own_w] = input;
            format!(
                "{file} is a network for images of {c} x {h} x {w} and {} classes, these are of {own_c} x {own_h} x {own_w}, \
                 with {classes} classes",
                self.classes
            )
        })
    }
}

/// SHA-256 of a file.
pub(crate) fn sha256(file: &Path) -> anyhow::Result<String> {
    Ok(hex(&Sha256::digest(std::fs::read(file).with_context(|| file.display().to_string())?)))
}
