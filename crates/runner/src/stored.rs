//! Stored networks, from runs or other programs: a run's folder, or a file of weights.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use temper_core::nn::{Classifier, Frozen, Layer, Network, Numerics};
use temper_core::{Chosen, DataError, Device, Model};
use temper_data::Classes;
use temper_files::hex;
use temper_results::{Results, Warning};
use temper_train::{Weights, is_checkpoint, load_about, load_weights_for};

use crate::classes::compared;
use crate::config::BadConfig;

/// The metadata of a file of weights, as runs write and read it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct About {
    /// The network's architecture.
    pub(crate) model: Chosen<dyn Model>,
    /// Channels, height, width.
    pub(crate) input: [usize; 3],
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
    /// The epoch of selected weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<usize>,
    /// SHA-256 of the file that the model reads its graph from, if it reads one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) graph: Option<String>,
}

impl About {
    /// The network of a file with this metadata. An error if the model cannot be built, or if it reads another graph
    /// than the run did.
    pub(crate) fn network(&self, file: &Path) -> anyhow::Result<Network> {
        let at = file.display().to_string();
        if let (Some(kept), Some(graph)) = (&self.graph, self.model.weights())
            && sha256(graph)? != *kept
        {
            bail!(
                "{} is not the graph that {at} was trained with: its hash differs\n  put back the file that was there",
                graph.display()
            );
        }
        self.model.build(self.input, self.classes.len()).map_err(|error| {
            // The error of a model that is itself a file already contains the path.
            let named = error.to_string().starts_with(&at);
            let error = anyhow::Error::from(error);
            if named { error } else { error.context(at) }
        })
    }
}

/// A network on disk.
pub(crate) struct Stored {
    /// The file of weights.
    pub(crate) file: PathBuf,
    /// SHA-256 of that file.
    pub(crate) sha256: String,
    /// Channels, height, width.
    pub(crate) input: [usize; 3],
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
    /// The model's name.
    pub(crate) model: &'static str,
    /// All parameters of the model.
    pub(crate) parameters: toml::Table,
    /// The file that the model reads its graph from, if it reads one.
    pub(crate) graph: Option<PathBuf>,
    /// The network, with these weights.
    pub(crate) classifier: Classifier,
    /// Warnings about its numbers.
    pub(crate) warnings: Vec<Warning>,
}

impl Stored {
    /// The file of weights that a path names: the file itself, or for a run's folder the best weights if it
    /// selected any, otherwise the last ones.
    pub(crate) fn file(path: &Path) -> anyhow::Result<PathBuf> {
        let candidates = match path.is_dir() {
            true => vec![path.join("best.safetensors"), path.join("model.safetensors")],
            false => vec![path.to_path_buf()],
        };
        if let Some(file) = candidates.iter().find(|file| file.is_file()) {
            return Ok(file.clone());
        }
        let looked = candidates.iter().map(|file| file.display().to_string()).collect();
        let how =
            "expected a run that has ended, or a file of a network (.onnx, .safetensors, .pth, .pt)".into();
        Err(temper_core::Error::from(DataError::Missing { what: "trained network".into(), looked, how })
            .into())
    }

    /// The metadata of a file of weights; `None` if another program wrote it.
    pub(crate) fn about(file: &Path) -> anyhow::Result<Option<About>> {
        let Some(about) = load_about(file)? else { return Ok(None) };
        if is_checkpoint(&about) {
            return Err(BadConfig(format!(
                "{} is a checkpoint, from which training goes on: give the run's folder, or the model.safetensors in it",
                file.display()
            ))
            .into());
        }
        let about = serde_json::from_str(&about).with_context(|| {
            format!("{}: its metadata entry `temper` is not what runs write", file.display())
        })?;
        Ok(Some(about))
    }

    /// The network and the metadata of a file.
    pub(crate) fn open(file: PathBuf, about: &About, numerics: Numerics) -> anyhow::Result<Self> {
        let at = || file.display().to_string();
        let classes = about.classes.clone();
        let network = about.network(&file)?;
        let weights = load_weights_for(&file, &network)?;
        let sha256 = sha256_of(&weights.files)?;
        let classifier =
            Classifier::new(network.with_numerics(numerics), &weights.tensors).with_context(at)?;
        let (model, parameters) = (about.model.name(), about.model.params().clone());
        let warnings = said_against(&file, &weights, &sha256);
        let graph = about.model.weights().map(Path::to_path_buf);
        Ok(Self { sha256, graph, input: about.input, classes, model, parameters, classifier, warnings, file })
    }

    /// The network at a path with metadata.
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

    /// Why it does not fit images of this shape or this number of classes; `None` if it fits.
    pub(crate) fn misfit(&self, input: [usize; 3], classes: usize) -> Option<String> {
        let [c, h, w] = self.input;
        let file = self.file.display();
        (self.input != input || self.classes.len() != classes).then(|| {
            let [own_c, own_h, own_w] = input;
            format!(
                "{file} is a network for images of {c} x {h} x {w} and {} classes, these are of {own_c} x {own_h} x {own_w}, \
                 with {classes} classes",
                self.classes.len()
            )
        })
    }

    /// A description of how its pixels are normalised.
    pub(crate) fn normalisation(&self) -> String {
        let nodes = self.classifier.network().nodes();
        let normalises = nodes.iter().find_map(|node| match &node.layer {
            Layer::Normalize { mean, std } => Some(format!("mean {mean:?}, std {std:?}")),
            _ => None,
        });
        normalises.unwrap_or_else(|| "no normalisation".into())
    }

    /// Compares its classes with those of images, like [`compared`].
    pub(crate) fn classes_of(
        &self,
        images: &[String],
        ignored: bool,
        how: &str,
    ) -> Result<Option<Warning>, String> {
        let network = Classes { by: &self.file.display().to_string(), names: &self.classes };
        compared(network, Classes { by: "the images", names: images }, ignored, how)
    }
}

/// Warnings about weights: wrappers that were stripped or entries that were left out in a file of another program,
/// rounded values, or weights that are not those of the results in the same folder.
pub(crate) fn said_against(file: &Path, weights: &Weights, sha256: &str) -> Vec<Warning> {
    let said = |id: &str, how: &String| Warning::caution(id, how).about(file.display());
    let foreign = weights.told.iter().map(|how| said("foreign-weights", how));
    let rounded = weights.rounded.iter().map(|how| said("rounded-weights", how));
    foreign.chain(rounded).chain(swapped(file, sha256)).collect()
}

/// The results of the run whose folder contains a file, if there are any. The error states that they cannot be read,
/// and that `unknown` is therefore not known.
pub(crate) fn results_beside(file: &Path, unknown: &str) -> Result<Option<Results>, String> {
    let results = file.with_file_name("results.json");
    match results.exists() {
        true => {
            Results::read(&results).map(Some).map_err(|error| format!("it is not known {unknown}: {error}"))
        }
        false => Ok(None),
    }
}

/// The epoch of the weights in a file, from 1, if a run that selects weights wrote it.
pub(crate) fn epoch_of(file: &Path) -> anyhow::Result<Option<usize>> {
    #[derive(Deserialize)]
    struct Selected {
        epoch: usize,
    }
    let about = load_about(file)?.and_then(|about| serde_json::from_str::<Selected>(&about).ok());
    Ok(about.map(|selected| selected.epoch))
}

/// A warning if a file of weights is in a run's folder but is not the one that the run's results belong to.
fn swapped(file: &Path, sha256: &str) -> Option<Warning> {
    let word = match file.file_name()?.to_str()? {
        "model.safetensors" => "last",
        "best.safetensors" => "best",
        _ => return None,
    };
    let at = file.display();
    let results = match results_beside(file, &format!("whether {at} was replaced after the run")) {
        Ok(results) => results?,
        Err(unknown) => return Some(Warning::caution("unreadable-results", unknown)),
    };
    let kept = results.sha256(word)?;
    (kept != sha256).then(|| {
        let text = format!("{at} was replaced after the run: its hash is not that in results.json, whose numbers are of other weights");
        Warning::caution("replaced-weights", text)
    })
}

/// SHA-256 of a file.
pub(crate) fn sha256(file: &Path) -> anyhow::Result<String> {
    sha256_of(&[file.to_path_buf()])
}

/// SHA-256 of the concatenated files, because weights may be divided between several.
fn sha256_of(files: &[PathBuf]) -> anyhow::Result<String> {
    let (mut hash, mut part) = (Sha256::new(), vec![0; 1 << 20]);
    for file in files {
        let at = || file.display().to_string();
        let mut input = std::fs::File::open(file).with_context(at)?;
        loop {
            match input.read(&mut part).with_context(at)? {
                0 => break,
                n => hash.update(&part[..n]),
            }
        }
    }
    Ok(hex(&hash.finalize()))
}
