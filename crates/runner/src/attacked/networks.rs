//! The networks of a command, and the training that their runs record.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use temper_core::nn::Frozen;
use temper_core::{Chosen, Dataset, Device, Kind, Model, Norm, Source, Split};
use temper_data::shared_images;
use temper_results::{NetworkSummary, Warning};
use temper_train::is_onnx;
use toml::Table;

use crate::classes::IN_OPTIONS;
use crate::config::{BadConfig, NumericsOption, first_line};
use crate::material::leaks;
use crate::run_dir::{CONFIG, MARK, marked};
use crate::stored::{About, Stored, results_beside};
use crate::summary::network_summary;

/// A network to attack.
pub(crate) struct AttackedNetwork {
    /// Its path as given on the command line.
    pub(crate) path: PathBuf,
    /// Its name in a transfer matrix, if it is part of one.
    pub(crate) name: Option<String>,
    pub(crate) stored: Stored,
    pub(crate) frozen: Frozen,
    pub(super) numerics: NumericsOption,
    /// The norm of its training attack, if it comes from a run with one.
    pub(super) trained_in: Option<Norm>,
    /// Whether its architecture comes from `--model`, because its file does not contain it.
    pub(super) told: bool,
    /// Whether its class names differ from those of the images, which was accepted.
    pub(crate) other_classes: bool,
}

impl AttackedNetwork {
    /// The name of its weights in records.
    pub(super) fn word(&self) -> &'static str {
        if self.stored.file.ends_with("best.safetensors") { "best" } else { "last" }
    }

    /// Its name in results: in a transfer matrix its own name, otherwise that of its weights.
    pub(crate) fn label(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.word())
    }

    /// Its summary for the results.
    pub(crate) fn summary(&self) -> anyhow::Result<NetworkSummary> {
        let Stored { file, sha256, model, parameters, classifier, classes, .. } = &self.stored;
        let summary = network_summary(model, parameters, self.numerics, classifier.network())?;
        Ok(NetworkSummary {
            label: self.label().into(),
            file: file.clone(),
            sha256: sha256.clone(),
            classes: classes.clone(),
            ..summary
        })
    }
}

/// The part of a run's configuration that concerns evaluation.
#[derive(Deserialize)]
pub(super) struct Ran {
    pub(super) dataset: Chosen<dyn Dataset>,
    #[serde(default)]
    pub(super) numerics: NumericsOption,
    train: Trained,
    #[serde(skip)]
    folder: PathBuf,
}

/// The part that concerns training.
#[derive(Deserialize)]
struct Trained {
    epochs: usize,
    #[serde(default)]
    norm: Option<Norm>,
    attack: Option<toml::Value>,
}

impl Ran {
    /// The configuration of the run that a path names, or whose folder contains the file.
    pub(super) fn of(path: &Path) -> anyhow::Result<Option<Self>> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let file = folder.join(CONFIG);
        if !marked(&file, MARK) {
            return Ok(None);
        }
        let text = crate::toml_file::of_run(&file)?;
        let ran: Self = toml::from_str(&text).map_err(|error| {
            let why = first_line(error.message());
            anyhow::anyhow!("{}: {why}\n  is it a run of another version?", file.display())
        })?;
        Ok(Some(Self { folder: folder.into(), ..ran }))
    }

    /// The norm of its training attack; `None` without one.
    pub(super) fn trained_in(&self) -> Option<Norm> {
        let attack = self.train.attack.as_ref()?;
        (attack.as_str() != Some("none")).then(|| self.train.norm.unwrap_or(Norm::Linf))
    }

    /// A warning if the network was trained on images of the data set's test split, or if this is unknown. For the
    /// run's own data set this information comes from the run's results; otherwise from a comparison with the run's
    /// training images, if they are available.
    pub(super) fn trained_on_test(
        &self,
        dataset: &Chosen<dyn Dataset>,
        test: &dyn Source,
    ) -> Option<Warning> {
        if self.train.epochs == 0 {
            return None;
        }
        if dataset.name() != self.dataset.name() || dataset.params() != self.dataset.params() {
            let train = self.dataset.open(Split::Train).ok()?;
            return leaks(shared_images(&*train, test), test.len());
        }
        let unknown = "whether test images are training images, too";
        match results_beside(&self.folder.join(CONFIG), unknown) {
            Ok(results) => results?.dataset.test.and_then(|test| leaks(test.also_trained_on, test.n)),
            Err(unknown) => Some(Warning::caution("unreadable-results", unknown)),
        }
    }
}

/// A network named on the command line.
pub(super) struct Named<'p> {
    pub(super) path: &'p Path,
    pub(super) file: PathBuf,
    /// The metadata in the file.
    pub(super) about: Option<About>,
    /// The configuration of its run, if it comes from one.
    pub(super) ran: Option<Ran>,
    /// Whether it is an ONNX graph, which contains its own architecture.
    graph: bool,
}

impl<'p> Named<'p> {
    /// Finds the file of a path without reading weights.
    pub(super) fn look(path: &'p Path) -> anyhow::Result<Self> {
        let file = Stored::file(path)?;
        let about = Stored::about(&file)?;
        let graph = is_onnx(&file);
        Ok(Self { path, file, about, ran: Ran::of(path)?, graph })
    }

    /// Opens the network. `told` describes files without metadata. An error if it does not fit the images and
    /// classes.
    pub(super) fn open(
        self,
        told: Option<&About>,
        (input, classes): ([usize; 3], &[String]),
        ignore_class_names: bool,
        device: &Device,
    ) -> anyhow::Result<AttackedNetwork> {
        let Self { path, file, about, ran, graph } = self;
        let numerics = ran.as_ref().map(|ran| ran.numerics).unwrap_or_default();
        let is_told = about.is_none();
        if graph && told.is_some_and(|told| !names(told, &file)) {
            return Err(BadConfig(format!(
                "--model: {0} is a graph itself: say --model 'onnx = {{ path = \"{0}\", mean = .., std = .. }}', or leave \
                 the option out",
                file.display()
            ))
            .into());
        }
        let of_graph = (graph && told.is_none()).then(|| graph_of(&file, input, classes)).transpose()?;
        let about =
            about.as_ref().or(told).or(of_graph.as_ref()).with_context(|| file.display().to_string())?;
        let mut stored = Stored::open(file, about, numerics.into())?;
        if let Some(misfit) = stored.misfit(input, classes.len()) {
            return Err(BadConfig(misfit).into());
        }
        let compared = stored.classes_of(classes, ignore_class_names, IN_OPTIONS).map_err(BadConfig)?;
        let other_classes = compared.is_some();
        stored.warnings.extend(compared);
        let (frozen, trained_in) = (stored.frozen(device)?, ran.as_ref().and_then(Ran::trained_in));
        Ok(AttackedNetwork {
            path: path.into(),
            name: None,
            stored,
            frozen,
            numerics,
            trained_in,
            told: is_told,
            other_classes,
        })
    }
}

/// The network that `--model` describes, for images of this shape and these classes.
pub(super) fn told(
    model: Chosen<dyn Model>,
    input: [usize; 3],
    classes: &[String],
) -> Result<About, BadConfig> {
    let ([c, h, w], n) = (input, classes.len());
    model.build(input, n).map_err(|error| {
        BadConfig(format!(
            "--model {}: {error}\n  images are {c} x {h} x {w}, with {n} classes",
            model.name()
        ))
    })?;
    Ok(About { model, input, classes: classes.to_vec(), epoch: None, graph: None })
}

/// Whether a description names this file as its graph.
fn names(told: &About, file: &Path) -> bool {
    told.model.weights().is_some_and(|path| path == file)
}

/// The description of an ONNX file, as the model `onnx`, for images of this shape and these classes.
fn graph_of(file: &Path, input: [usize; 3], classes: &[String]) -> anyhow::Result<About> {
    let path = Table::from_iter([("path".to_string(), file.display().to_string().into())]);
    let model = Table::from_iter([("onnx".to_string(), path.into())]).try_into()?;
    Ok(About { model, input, classes: classes.to_vec(), epoch: None, graph: None })
}

/// An error for files whose architecture is unknown, or given twice.
pub(super) fn check_model(files: &[Named], model: Option<&Chosen<dyn Model>>) -> Result<(), BadConfig> {
    let silent = files.iter().find(|named| named.about.is_none() && !named.graph);
    match (silent, model, files.first()) {
        (Some(Named { file, .. }), None, _) => Err(BadConfig(format!(
            "{} does not say what network it is of\n  say it, for example with --model 'resnet = {{ depth = 18 }}'",
            file.display()
        ))),
        (None, Some(_), Some(Named { about: Some(about), file, .. })) => Err(BadConfig(format!(
            "--model: {} says itself that it is of a `{}`, with all parameters: leave the option out",
            file.display(),
            about.model.name()
        ))),
        _ => Ok(()),
    }
}

/// The data set of the networks' runs.
pub(super) fn own_data(files: &[Named]) -> anyhow::Result<Chosen<dyn Dataset>> {
    let mut own = files.iter().filter_map(|named| Some((named.path, &named.ran.as_ref()?.dataset)));
    let Some((path, dataset)) = own.next() else {
        let file = files.first().map_or_else(String::new, |named| named.file.display().to_string());
        return Err(BadConfig(format!(
            "{file} does not lie in a run's folder, whose data set would be taken\n  say which one, for example with --data \
             fashion-mnist"
        ))
        .into());
    };
    match own.find(|(_, other)| other.name() != dataset.name() || other.params() != dataset.params()) {
        None => Ok(again(dataset)?),
        Some((other, _)) => Err(BadConfig(format!(
            "{} and {} are runs on different data sets: choose one with --data",
            path.display(),
            other.display()
        ))
        .into()),
    }
}

/// A copy of a choice: the same plugin with the same parameters.
pub(super) fn again<T: ?Sized + Kind>(chosen: &Chosen<T>) -> Result<Chosen<T>, toml::de::Error> {
    toml::Table::from_iter([(chosen.name().to_string(), chosen.params().clone().into())]).try_into()
}

/// The norm of the training attacks of all runs. The error names two runs that differ.
pub(super) fn own_norm(files: &[Named]) -> Result<Option<Norm>, BadConfig> {
    let trained =
        |named: &Named<'_>| Some((named.path.display().to_string(), named.ran.as_ref()?.trained_in()?));
    let mut norms = files.iter().filter_map(trained);
    let Some((path, norm)) = norms.next() else { return Ok(None) };
    match norms.find(|(_, other)| *other != norm) {
        None => Ok(Some(norm)),
        Some((other, its)) => {
            Err(BadConfig(format!("{path} was trained in {norm}, {other} in {its}: choose one with --norm")))
        }
    }
}
