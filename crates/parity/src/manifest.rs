//! `parity.json`: what `python/make.py` wrote into a folder.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use temper_core::Norm;

/// All networks of a folder.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// Where the randomness of weights and images begins.
    pub seed: u64,
    /// Test images.
    pub n: usize,
    /// The libraries that made it.
    pub versions: BTreeMap<String, String>,
    /// The networks.
    pub networks: Vec<NetworkEntry>,
}

/// One network in several files.
#[derive(Debug, Deserialize)]
pub struct NetworkEntry {
    /// Its name in files and tables.
    pub name: String,
    /// What is particular about it.
    pub what: String,
    /// Trained numbers.
    pub parameters: u64,
    /// Share of the images that it classifies correctly.
    pub accuracy: f64,
    /// The images.
    pub images: ImageFiles,
    /// File of logits and gradients.
    pub reference: String,
    /// Largest difference between the logits that `PyTorch` takes in float32 and in float64.
    pub float32: f64,
    /// The same network in several formats.
    pub files: Vec<NetworkFile>,
    /// What other libraries' attacks did.
    pub attacks: Vec<PeerAttack>,
}

/// Where images are.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFiles {
    /// In a file: pixels as bytes, and labels.
    File(String),
    /// In a data set, in temper's TOML: as many of its test images as the manifest says, spread evenly.
    Dataset(String),
}

/// A file that holds a network.
#[derive(Debug, Deserialize)]
pub struct NetworkFile {
    /// Its name.
    pub file: String,
    /// Its format, as tables name it.
    pub format: String,
    /// The architecture in TOML, where the file has weights alone.
    pub model: Option<String>,
}

/// An attack, and what libraries' versions of it did.
#[derive(Debug, Deserialize)]
pub struct PeerAttack {
    /// Its name in tables.
    pub name: String,
    /// The attack in temper's TOML.
    pub temper: String,
    /// Norm of the radius.
    pub norm: Norm,
    /// The radius; minimum-norm attacks ignore it.
    pub radius: f64,
    /// How many of the images it attacked, from the first on.
    pub images: usize,
    /// Whether temper must agree.
    pub bound: bool,
    /// The libraries. Temper is held to the first of float64, or to the only one.
    pub peers: Vec<Peer>,
}

/// What an attack of a library did.
#[derive(Debug, Deserialize)]
pub struct Peer {
    /// The library.
    pub library: String,
    /// `float32` or `float64`.
    pub precision: String,
    /// Of attacks within a ball: 1 for each image that is misclassified, or was from the beginning.
    pub broken: Option<String>,
    /// Of minimum-norm attacks: distances; none where nothing was found, and where the clean image is misclassified.
    pub distances: Option<Vec<Option<f64>>>,
}

impl Manifest {
    /// Reads `parity.json` of a folder.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("parity.json");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }
}
