//! Pipelines: TOML files with changes from the command line, read into typed plans. All errors are reported here,
//! before any work.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path as FilePath, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temper_core::{Chosen, Dataset, Model, Norm, Positive, nn};
use temper_evaluate::Entry;
use temper_train::Plan;
use toml::Spanned;
use toml::de::DeTable;

use crate::device::DeviceName;
use crate::model_weights::{self, ModelWeights};
use crate::place::set;
use crate::reading::{Fault, Reading};
use crate::select::Select;
use crate::toml_file;
use crate::written::WrittenKeys;

/// A pipeline.
#[derive(Debug, Serialize)]
pub struct Pipeline {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Device on which tensors are stored.
    pub(crate) device: DeviceName,
    /// How convolutions compute their sums.
    pub(crate) numerics: NumericsOption,
    /// Minutes between two checkpoints within an epoch.
    pub(crate) checkpoint_minutes: Positive,
    /// Accepts networks whose class names, or their order, differ from those of the images: only labels are compared.
    pub(crate) ignore_class_names: bool,
    /// The data set.
    pub dataset: Chosen<dyn Dataset>,
    /// Number of images of each split; all if left out.
    pub subset: Parts,
    /// Network architecture.
    pub model: Chosen<dyn Model>,
    /// How the network is trained; `epochs` is 0 if it is only evaluated.
    pub train: Plan,
    /// How the best weights are selected; if left out, only the last weights exist.
    pub select: Option<Select>,
    /// How the network is evaluated.
    pub evaluate: Vec<Entry>,
    /// Positions of the parts, for mistakes that are found only when a part is used.
    #[serde(skip)]
    written: WrittenKeys,
}

temper_core::options! {
    /// How convolutions take their sums on a CPU.
    #[derive(Default)]
    pub enum NumericsOption {
        /// In the fastest way: by Winograd's method where it fits.
        #[default]
        Fast = "fast",
        /// By the definition.
        Exact = "exact",
    }
}

impl From<NumericsOption> for nn::Numerics {
    fn from(numerics: NumericsOption) -> Self {
        match numerics {
            NumericsOption::Fast => Self::Fast,
            NumericsOption::Exact => Self::Exact,
        }
    }
}

/// Number of images used of each split, spread evenly over it.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parts {
    /// Images to train on.
    pub train: Option<NonZeroUsize>,
    /// Images to evaluate on.
    pub test: Option<NonZeroUsize>,
}

/// A pipeline as it is read. Required parts are optional here and checked after everything else, so that every
/// mistake is found.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "pipeline", description = "A pipeline: what temper trains and evaluates.")]
pub(crate) struct Draft {
    /// Seed of all random numbers.
    #[serde(default)]
    seed: u64,
    /// Device of training and evaluation: "cpu" or "cuda:0".
    #[serde(default)]
    device: DeviceName,
    /// How convolutions take their sums on a CPU.
    #[serde(default)]
    numerics: NumericsOption,
    /// Minutes between two checkpoints within an epoch.
    #[serde(default = "ten")]
    checkpoint_minutes: Positive,
    /// Accepts networks whose class names, or their order, differ from those of the images: only labels are compared.
    #[serde(default)]
    ignore_class_names: bool,
    /// The data set.
    dataset: Option<Chosen<dyn Dataset>>,
    /// Number of images used of each split, spread evenly over it; by default all.
    #[serde(default)]
    subset: Parts,
    /// The network, and a file of weights if it does not start from random ones.
    model: Option<Chosen<dyn Model>>,
    /// How the network is trained; may be left out if `model` names weights.
    train: Option<Plan>,
    /// How the best weights are selected; by default only the last weights exist.
    select: Option<Select>,
    /// The evaluations, one table each.
    #[serde(default)]
    evaluate: Vec<Entry>,
}

fn ten() -> Positive {
    Positive::of(10.0)
}

/// An invalid configuration or command, described for its author.
#[derive(Debug)]
pub struct BadConfig(pub(crate) String);

impl BadConfig {
    /// Joins the messages of several mistakes.
    pub(crate) fn of(messages: impl IntoIterator<Item = String>) -> Self {
        Self(messages.into_iter().collect::<Vec<_>>().join("\nerror: "))
    }

    /// The messages of all mistakes, one by one.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &str> {
        self.0.split("\nerror: ")
    }
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadConfig {}

/// One `--set KEY=VALUE`.
struct Set {
    argument: String,
    /// The argument as a line of TOML, preceded by as many spaces as the text before it is long: its spans lie beyond
    /// those of the file.
    line: String,
    keys: Vec<String>,
}

impl Set {
    /// Parses an argument. `before` is the length of the file and of the settings before this one.
    fn parse(argument: &str, before: usize) -> Result<Self, BadConfig> {
        let bad = |why: &str| BadConfig(format!("--set {argument}: {why}"));
        let (key, value) = argument.split_once('=').ok_or_else(|| bad("expected KEY=VALUE"))?;
        let keys = key.trim().split('.').map(|k| k.trim().trim_matches('"').to_string()).collect();
        let line = |value: &str| format!("{:before$} {} = {value}", "", key.trim());
        let written = line(value.trim());
        if value.trim().contains('\n') {
            return Err(bad("a value stands on one line"));
        }
        if DeTable::parse(&written).is_ok() {
            return Ok(Self { argument: argument.into(), line: written, keys });
        }
        // A bare word is text, because the shell removes quotes.
        let quoted = line(&toml::Value::from(value.trim()).to_string());
        match DeTable::parse(&quoted) {
            Ok(_) => Ok(Self { argument: argument.into(), line: quoted, keys }),
            Err(error) => Err(bad(error.message())),
        }
    }
}

impl Pipeline {
    /// Reads a file and applies `sets` to it.
    pub fn load(file: &FilePath, sets: &[String]) -> Result<Self, BadConfig> {
        let text = toml_file::pipeline(file)?;
        Self::parse(&file.display().to_string(), &text, sets)
    }

    /// Reads a text; `file` is its name for messages.
    pub(crate) fn parse(file: &str, text: &str, sets: &[String]) -> Result<Self, BadConfig> {
        let mut document = toml_file::document(file, text)?;
        let mut changes: Vec<Set> = vec![];
        let mut bad = vec![];
        for argument in sets {
            let before = changes.last().map_or(text.len(), |last| last.line.len());
            match Set::parse(argument, before) {
                Ok(set) => changes.push(set),
                Err(error) => bad.push(error.0),
            }
        }
        for change in &changes {
            let table = DeTable::parse(&change.line).map_err(|error| BadConfig(error.to_string()))?;
            if let Err(error) = set(document.get_mut(), table.into_inner(), &change.keys) {
                bad.push(format!("--set {}: {error}", change.argument));
            }
        }
        if !bad.is_empty() {
            return Err(BadConfig::of(bad));
        }
        let written = WrittenKeys::new(
            file,
            text,
            changes.iter().map(|set| (set.line.len(), set.argument.clone())).collect(),
            document.get_ref(),
        );
        match Self::of(&document) {
            Ok(pipeline) => Ok(Self { written, ..pipeline }),
            Err(faults) => {
                Err(BadConfig::of(faults.iter().map(|f| written.told(f.offset, &f.path, &f.message))))
            }
        }
    }

    /// Reads a document.
    fn of<'d>(document: &'d Spanned<DeTable<'d>>) -> Result<Self, Vec<Fault>> {
        let (document, weights) = model_weights::lifted(document);
        let (draft, mut reading) = Reading::without::<Draft>(&document, model_weights::lifted_key);
        let pipeline = draft.and_then(|draft| Self::complete(draft, weights, &mut reading));
        let faults = reading.into_faults();
        pipeline.filter(|_| faults.is_empty()).ok_or(faults)
    }

    /// Reads a composed pipeline, which is in no file. The error lists its mistakes, each with its path.
    pub(crate) fn composed(pipeline: &toml::Table) -> Result<Self, Vec<String>> {
        let text = pipeline.to_string();
        let document = DeTable::parse(&text).map_err(|error| vec![error.to_string()])?;
        Self::of(&document).map_err(|faults| {
            faults.into_iter().map(|fault| format!("{}, at {}", fault.message, fault.path)).collect()
        })
    }

    /// The mistakes in a part of a pipeline. Missing fields are not mistakes, because other parts may contain them.
    pub(crate) fn faults_of_part<'d>(document: &'d Spanned<DeTable<'d>>) -> Vec<Fault> {
        let (document, _) = model_weights::lifted(document);
        let (_, reading) = Reading::without::<Draft>(&document, model_weights::lifted_key);
        let faults = reading.into_faults().into_iter();
        faults.filter(|fault| !fault.message.starts_with("missing field")).collect()
    }

    /// Completes a draft, and adds the faults that no single field shows; `None` if a part is missing.
    fn complete(draft: Draft, weights: Option<ModelWeights>, reading: &mut Reading) -> Option<Self> {
        let Draft {
            seed,
            device,
            numerics,
            checkpoint_minutes,
            ignore_class_names,
            dataset,
            subset,
            model,
            train,
            mut select,
            mut evaluate,
        } = draft;
        let written = weights.is_some() || reading.meant_lifted();
        let weights = weights.and_then(|weights| weights.checked(train.as_ref(), reading));
        // A model that comes with weights starts with them, unless other weights are named.
        let weights = weights.or_else(|| model.as_ref().and_then(|model| model.weights().map(Into::into)));
        let judges_only = train.is_none() && !reading.spoilt(&["train"]);
        let train = match (train, &weights) {
            (None, Some(weights)) if judges_only => Some(Plan::untrained(weights.clone())),
            // The mistake in these weights is already reported.
            (None, None) if judges_only && written => Some(Plan::untrained(PathBuf::new())),
            (train, _) => train,
        };
        missing_parts(reading, [dataset.is_none(), model.is_none(), train.is_none()]);
        if !reading.spoilt_within(&["train"]) {
            for (keys, message) in train.as_ref().map(Plan::problems).unwrap_or_default() {
                reading.add(&[&["train"], &*keys].concat(), message);
            }
        }
        if let Some(why) = train.as_ref().and_then(|train| device.refuses(train.attack_precision)) {
            reading.add(&["train", "attack_precision"], why.into());
        }
        // A network is evaluated in the norm of its training, unless a table names another norm.
        let trained_in = train.as_ref().and_then(Plan::attacked_in).filter(|norm| *norm != Norm::Linf);
        for entry in evaluate.iter_mut().chain(select.as_mut().map(|select| &mut select.entry)) {
            if entry.norm.is_none() && entry.attacked() {
                entry.norm = trained_in;
            }
        }
        bad_entries(reading, select.as_ref(), &evaluate);
        let (dataset, model, mut train) = (dataset?, model?, train?);
        train.init = train.init.or(weights);
        for (keys, message) in
            model_weights::nothing_to_train(&train, written, select.is_some(), evaluate.is_empty())
        {
            reading.add(keys, message.into());
        }
        Some(Self {
            seed,
            device,
            numerics,
            checkpoint_minutes,
            ignore_class_names,
            dataset,
            subset,
            model,
            train,
            select,
            evaluate,
            written: WrittenKeys::default(),
        })
    }

    /// An error about the part at these keys, with its position.
    pub(crate) fn bad(&self, keys: &[&str], message: &str) -> BadConfig {
        BadConfig(self.written.told_at(keys, message))
    }

    /// Like [`Self::bad`], for a field of an evaluation.
    pub(crate) fn bad_evaluation(&self, evaluation: usize, field: &str, message: &str) -> BadConfig {
        self.bad(&["evaluate", &evaluation.to_string(), field], message)
    }

    /// The keys that name the weights to start from.
    pub(crate) fn weights_keys(&self) -> Vec<&str> {
        let of_model = vec!["model", self.model.name(), "weights"];
        match self.written.has(&["train", "init"]) {
            true => vec!["train", "init"],
            false if self.written.has(&of_model) => of_model,
            // The model itself is a file.
            false => vec!["model", self.model.name()],
        }
    }

    /// An error about the choice of data set that is found only when the data set is opened.
    pub(crate) fn bad_dataset(&self, message: &str) -> BadConfig {
        let name = self.dataset.name();
        self.bad(&["dataset", name], &format!("dataset `{name}`: {message}"))
    }

    /// The resolved pipeline as TOML: every parameter, defaults included.
    pub(crate) fn resolved(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// Everything that determines the trained network, as TOML. Only a pipeline with the same table can use a
    /// checkpoint.
    pub(crate) fn trained_by(&self) -> anyhow::Result<toml::Table> {
        let mut table = toml::Table::try_from(self)?;
        table.remove("evaluate");
        table.remove("device");
        table.remove("checkpoint_minutes");
        table.remove("ignore_class_names");
        if let Some(select) = table.get_mut("select").and_then(toml::Value::as_table_mut) {
            select.remove("weights");
        }
        let dataset = table.get_mut("dataset").and_then(|set| set.get_mut(self.dataset.name()));
        if let Some(parameters) = dataset.and_then(toml::Value::as_table_mut) {
            for parameter in self.dataset.free_to_change() {
                parameters.remove(*parameter);
            }
        }
        if let Some(subset) = table.get_mut("subset").and_then(toml::Value::as_table_mut) {
            subset.remove("test");
        }
        Ok(table)
    }
}

/// Adds a fault for each required part that the pipeline lacks: its data set, its model, its training.
fn missing_parts(reading: &mut Reading, missing: [bool; 3]) {
    let hint =
        "; a pipeline without it needs a model with weights, as in `model.resnet = { weights = \"w.pth\" }`";
    for ((part, hint), missing) in [("dataset", ""), ("model", ""), ("train", hint)].into_iter().zip(missing)
    {
        if missing && !reading.spoilt(&[part]) {
            reading.add(&[], format!("missing field `{part}`{hint}"));
        }
    }
}

/// Adds the faults of evaluations whose single fields are all valid, and of names that two evaluations share.
fn bad_entries(reading: &mut Reading, select: Option<&Select>, evaluate: &[Entry]) {
    if let Some((field, message)) = select.and_then(|select| select.entry.problem())
        && !reading.spoilt_within(&["select"])
    {
        reading.add(&["select", field], message);
    }
    let mut names = HashSet::new();
    for (i, entry) in evaluate.iter().enumerate() {
        let known = !names.insert(entry.name.as_str());
        let index = i.to_string();
        let at = ["evaluate", index.as_str()];
        let sweep = ["evaluate", index.as_str(), "sweep"];
        if reading.spoilt(&at) || reading.spoilt_within(&at) || reading.spoilt_within(&sweep) {
            continue;
        }
        if let Some((field, message)) = entry.problem() {
            reading.add(&["evaluate", &index, field], message);
        }
        if known {
            reading.add(&["evaluate", &index, "name"], format!("a second evaluation named `{}`", entry.name));
        }
    }
}

pub(crate) fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message)
}
