//! `results.json`, the interface between runs and everything that reads them.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temper_files::save_atomically;

use crate::epoch::Percentiles;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::norm::Norm;
use crate::warning::Warning;
use crate::{files, is_false, is_zero};

/// What a command of temper measured: the contents of `results.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Results {
    /// The command.
    #[serde(default)]
    pub command: CommandName,
    /// The words of a command that measures the same, from the same folder; of attacks and transfer matrices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// One entry an evaluation, in the order of the pipeline, for each of the weights that were judged.
    pub evaluations: Vec<Evaluation>,
    /// Why none of its numbers should be believed; absent if there is no reason. Each evaluation has its own
    /// warnings besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The seed, where all randomness begins.
    pub seed: u64,
    /// The program that measured.
    pub versions: Versions,
    /// The machine that times are of.
    pub machine: Machine,
    /// The images.
    pub dataset: DatasetSummary,
    /// The networks that were judged: of a run one entry for each of the weights, else in the order of the
    /// command line.
    pub networks: Vec<NetworkSummary>,
    /// How the network was trained; of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// The epoch whose weights were best on the images held out; of a run that selects them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// Radii that training ended with; of a run with an epsilon policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radii: Option<Percentiles>,
    /// What the images that were written are worth when they are read back; of an attack that saved them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved: Option<SavedSummary>,
}

/// The command that made results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandName {
    /// `temper run`.
    #[default]
    Run,
    /// `temper attack`.
    Attack,
    /// `temper transfer`.
    Transfer,
}

/// The program that measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    /// Of temper.
    pub temper: String,
    /// Of candle.
    pub candle: String,
}

/// The machine that times are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Name of the processor, or its architecture where the system does not tell a name.
    pub processor: String,
    /// Threads at hand.
    pub threads: usize,
}

/// The images that a command used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetSummary {
    /// The data set's name.
    pub name: String,
    /// Training images; of a run, and of an attack on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<SplitSummary>,
    /// Training images held out for the selection of weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<SplitSummary>,
    /// Test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<SplitSummary>,
    /// Whether the network names its classes differently from these images, which was let pass; absent if not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub other_classes: bool,
}

/// Images of one split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SplitSummary {
    /// Where they come from.
    pub origin: String,
    /// How many.
    pub n: usize,
    /// A hash of all of them, where they were read whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Test images that are training images too; absent if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub also_trained_on: usize,
    /// Why images could not be decoded, one entry an image; absent if all could be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
    /// The file of radii that training left to each of these images, where each was attacked within its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radii: Option<PathBuf>,
}

/// A network that was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkSummary {
    /// Its architecture: the model's name.
    pub name: String,
    /// The model's parameters, defaults included; absent in reports of before.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// How its sums are computed: `fast` or `exact`; absent in reports of before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub numerics: String,
    /// Which weights of a run these are, `last` or `best`; of a transfer matrix its name in evaluations.
    pub label: String,
    /// The file of weights: in a run's results relative to its folder, else as it was opened.
    pub file: PathBuf,
    /// SHA-256 of that file.
    pub sha256: String,
    /// Number of trained parameters.
    pub parameters: usize,
    /// Names of its classes, by their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// How a network was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Training {
    /// Epochs done.
    pub epochs: usize,
    /// Wall time of all epochs.
    pub seconds: f64,
    /// Forward passes a sample, summed over the epochs.
    pub forwards_per_sample: f64,
    /// Backward passes a sample, summed over the epochs.
    pub backwards_per_sample: f64,
    /// The norm of its attack; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Whether the weights judged are an average over steps; absent if not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub averaged: bool,
}

/// The best weights of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Best {
    /// Epoch that left them, from 1.
    pub epoch: usize,
    /// Their accuracy on the images held out, 0 to 1.
    pub accuracy: f64,
}

/// What saved images are worth when they are read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SavedSummary {
    /// Images.
    pub n: usize,
    /// Those that the network got wrong in the attack.
    pub broken: usize,
    /// Those that it gets wrong as floats read back; the same number, or the command fails.
    pub floats_broken: usize,
    /// As PNG files of 8 bits.
    pub png: PngAccuracy,
}

/// What images are worth as PNG files of 8 bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PngAccuracy {
    /// Those that the network gets wrong.
    pub broken: usize,
    /// Of those that were broken in the attack: still broken.
    pub still_broken: usize,
    /// Share that it gets right, 0 to 1.
    pub accuracy: f64,
    /// Its 95 % Wilson interval.
    pub interval: [f64; 2],
    /// Whether clean images had to be rounded to 8 bits: balls then lie around the rounded ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clean_rounded: bool,
}

/// The JSON Schema of `results.json`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Results).to_value()
}

impl Results {
    /// Reads a file. Keys that are not known are passed over.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = files::text(file)?;
        serde_json::from_str(&text).map_err(|fault| Error::Malformed { file: file.into(), fault })
    }

    /// The command that wrote a file of results, even if another version of temper did and the rest of it
    /// cannot be read. `None` if it is no such file.
    pub fn command_of(file: &Path) -> Option<CommandName> {
        #[derive(Deserialize)]
        struct Command {
            command: CommandName,
        }
        let command: Command = serde_json::from_str(&files::text(file).ok()?).ok()?;
        Some(command.command)
    }

    /// Writes a file, whole or not at all.
    pub fn write(&self, file: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|fault| Error::Malformed { file: file.into(), fault })? + "\n";
        Ok(save_atomically(file, text.as_bytes())?)
    }

    /// The first evaluation of this name.
    pub fn get(&self, name: &str) -> Option<&Evaluation> {
        self.evaluations.iter().find(|evaluation| evaluation.name == name)
    }

    /// SHA-256 of the file of these weights, `last` or `best`.
    pub fn sha256(&self, label: &str) -> Option<&str> {
        self.networks.iter().find(|network| network.label == label).map(|network| network.sha256.as_str())
    }

    /// All warnings: those of all numbers, then those of each evaluation with its name.
    pub fn all_warnings(&self) -> Vec<Warning> {
        let of = |e: &Evaluation| -> Vec<Warning> {
            e.warnings.iter().map(|warning| warning.clone().about(format!("`{}`", e.name))).collect()
        };
        self.warnings.iter().cloned().chain(self.evaluations.iter().flat_map(of)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_docs_is_that_of_the_types() {
        let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        expect_test::expect_file!["../../../docs/results.schema.json"].assert_eq(&text);
    }

    #[test]
    fn a_fault_names_file_line_and_column() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\n  \"evaluations\": 3\n}").unwrap();
        let fault = Results::read(file.path()).unwrap_err().to_string();
        assert!(fault.contains(":2:18: invalid type: integer `3`"), "{fault}");
        assert!(!fault.contains("at line"), "the place is told twice: {fault}");
    }

    #[test]
    fn keys_of_later_versions_are_passed_over_at_every_level() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cost = "{\"attack\": \"pgd\", \"attacked\": 4, \"broken\": 1, \"forwards\": 8, \"backwards\": 8, \"seconds\": 0.5, \"later\": 1}";
        let evaluation = format!(
            "{{\"name\": \"pgd\", \"accuracy\": 0.75, \"n\": 4, \"interval\": [0.3, 0.95], \"seconds\": 0.5, \"forwards\": 8, \
             \"backwards\": 8, \"attacks\": [{cost}], \"later\": {{}}}}"
        );
        let whole = format!(
            "{{\"command\": \"transfer\", \"seed\": 0, \"evaluations\": [{evaluation}], \"networks\": [], \"dataset\": \
             {{\"name\": \"d\", \"later\": 1}}, \"versions\": {{\"temper\": \"0\", \"candle\": \"0\"}}, \"machine\": \
             {{\"processor\": \"p\", \"threads\": 1}}, \"later\": []}}"
        );
        std::fs::write(file.path(), &whole).unwrap();
        assert_eq!(Results::read(file.path()).unwrap().evaluations[0].attacks[0].attacked, 4);
        // The command is known of a file whose other keys are those of another version.
        std::fs::write(file.path(), whole.replace("\"seed\"", "\"seeds\"")).unwrap();
        assert!(Results::read(file.path()).is_err());
        assert_eq!(Results::command_of(file.path()), Some(CommandName::Transfer));
    }
}
