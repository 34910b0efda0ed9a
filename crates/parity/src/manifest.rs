//! `parity.json`, written by `python/make.py` into a folder.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use temper_core::Norm;

/// All networks of a folder.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// Seed of the weights and images.
    pub seed: u64,
    /// Number of test images.
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
    /// The special feature of the network.
    pub what: String,
    /// Number of trained parameters.
    pub parameters: u64,
    /// Share of the images that it classifies correctly.
    pub accuracy: f64,
    /// The images.
    pub images: ImageFiles,
    /// File of logits and gradients.
    pub reference: String,
    /// Largest difference between the logits that `PyTorch` computes in float32 and in float64.
    pub float32: f64,
    /// The same network in several formats.
    pub files: Vec<NetworkFile>,
    /// Results of other libraries' attacks.
    pub attacks: Vec<PeerAttack>,
}

/// The location of images.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFiles {
    /// In a file: pixels as bytes, and labels.
    File(String),
    /// In a data set, in temper's TOML: as many of its test images as the manifest states, spread evenly.
    Dataset(String),
}

/// A file that holds a network.
#[derive(Debug, Deserialize)]
pub struct NetworkFile {
    /// Its name.
    pub file: String,
    /// Its format, as named in tables.
    pub format: String,
    /// The architecture in TOML, if the file contains only weights.
    pub model: Option<String>,
}

/// An attack, and the results of libraries' versions of it.
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
    /// Number of images attacked, from the first on.
    pub images: usize,
    /// Whether temper must agree.
    pub bound: bool,
    /// The libraries. Of an attack within a radius, temper must agree with the first one in float64; of a minimum-norm
    /// attack, with all.
    pub peers: Vec<Peer>,
}

/// The results of a library's attack.
#[derive(Debug, Deserialize)]
pub struct Peer {
    /// The library.
    pub library: String,
    /// `float32` or `float64`.
    pub precision: String,
    /// For attacks within a ball: 1 for each image that is misclassified after the attack or was from the beginning.
    pub broken: Option<String>,
    /// For minimum-norm attacks: the distances; `None` if none was found or the clean image is misclassified.
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
