//! What a command left on disk, read for a report.

use std::path::Path;

use temper_results::{
    CommandName, Epoch, Error, Evaluation, Line, RadiiFile, Record, Records, RecordsError, Results,
    SavedImages, read_metrics, text,
};

/// Everything that a command left: a run, an attack with `--save`, or a transfer matrix.
#[derive(Debug)]
pub struct Measured {
    /// Name of the folder or file, as it was given.
    pub name: String,
    /// Its `results.json`.
    pub results: Results,
    /// The judged batches; empty if there is no file of them.
    pub lines: Vec<Line>,
    /// The epochs of training; empty without training.
    pub epochs: Vec<Epoch>,
    /// The files of radii by epoch; empty without an epsilon policy.
    pub radii: Vec<RadiiFile>,
    /// The images that an attack saved.
    pub images: Option<SavedImages>,
    /// The pipeline, or the options of an attack, with defaults.
    pub config: Option<String>,
}

/// Why something cannot be read for a report.
#[derive(Debug, thiserror::Error)]
pub enum MeasuredError {
    /// There are no results.
    #[error(
        "{0} holds no results.json: expected the folder of a run that has ended or of `temper attack --save`, or the \
         file of `temper transfer --save`\n  a run that was interrupted ends with `temper run FILE --resume`"
    )]
    Missing(String),
    /// A file cannot be read.
    #[error(transparent)]
    Results(#[from] Error),
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Measured {
    /// Reads a folder, or a file of results.
    pub fn read(path: &Path) -> Result<Self, MeasuredError> {
        let name = path.display().to_string();
        let folder = path.is_dir();
        let file = if folder { path.join("results.json") } else { path.into() };
        if !file.exists() {
            return Err(MeasuredError::Missing(name));
        }
        let alone = Self {
            name,
            results: Results::read(&file)?,
            lines: vec![],
            epochs: vec![],
            radii: vec![],
            images: None,
            config: None,
        };
        if folder { alone.with_folder(path) } else { Ok(alone) }
    }

    /// Adds the other files of its folder.
    fn with_folder(mut self, folder: &Path) -> Result<Self, MeasuredError> {
        let there = |name: &str| Some(folder.join(name)).filter(|file| file.is_file());
        self.lines = Records::read(&folder.join("records.jsonl"))?;
        if let Some(file) = there("metrics.jsonl") {
            self.epochs = read_metrics(&file)?;
        }
        // A run without an epsilon policy has no files; the page says where files are missing.
        self.radii = RadiiFile::of(folder).unwrap_or_default();
        if let Some(file) = there("images.safetensors") {
            self.images = Some(SavedImages::read(&file)?);
        }
        if let Some(file) = there("config.toml").or_else(|| there("attack.toml")) {
            self.config = Some(text(&file)?);
        }
        Ok(self)
    }

    /// The records of an evaluation; empty if they are not at hand, or not all of them.
    pub(crate) fn records(&self, evaluation: &Evaluation) -> Vec<Record> {
        let own = |line: &&Line| line.key == evaluation.key && line.corruption.is_none();
        let records: Vec<Record> =
            self.lines.iter().filter(own).flat_map(|line| line.samples.records()).collect();
        let complete = !evaluation.key.is_empty() && records.len() == evaluation.n;
        if complete { records } else { vec![] }
    }

    /// The names of the classes; none where they are not known, or where images and network name them differently.
    fn classes(&self) -> &[String] {
        let network = self.results.networks.first().filter(|_| !self.results.dataset.other_classes);
        network.map_or(&[], |network| &network.classes)
    }

    /// The name of a class.
    pub(crate) fn class(&self, class: u32) -> String {
        self.classes().get(class as usize).cloned().unwrap_or_else(|| class.to_string())
    }

    /// Whether several sets of weights were judged.
    pub(crate) fn selects(&self) -> bool {
        self.results.evaluations.iter().any(|e| e.weights.as_deref().is_some_and(|weights| weights != "last"))
    }

    /// The name of an evaluation, with the weights if there are several sets of them.
    pub(crate) fn title(&self, evaluation: &Evaluation) -> String {
        match &evaluation.weights {
            Some(weights) if self.selects() => format!("{}, {weights} weights", evaluation.name),
            _ => evaluation.name.clone(),
        }
    }

    /// Whether each image was attacked within its own radius.
    pub(crate) fn own_radii(&self) -> bool {
        self.results.dataset.train.as_ref().is_some_and(|train| train.radii.is_some())
    }

    /// Whether it is a transfer matrix, whose evaluations are of several networks.
    pub(crate) fn is_matrix(&self) -> bool {
        self.results.command == CommandName::Transfer
    }
}
