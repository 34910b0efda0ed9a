//! The networks and images of `temper attack` and `temper transfer`.

mod networks;
mod normalisations;
mod options;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use temper_core::{Chosen, Dataset, Device, Distance, Kind, Norm, Source};
use temper_evaluate::{
    BatchGlimpse, Cell, Entry, Inspection, Outcome, Setting, Surrogate, estimate, evaluate, inspect,
};
use temper_results::shell::command;
use temper_results::{
    CommandName, DatasetSummary, Evaluation, NetworkSummary, Records, Results, SplitSummary, Warning,
};
use temper_train::is_onnx;

use crate::catalogue::wrap;
use crate::config::BadConfig;
use crate::device::DeviceName;
use crate::images::{SplitOption, opened_images};
use crate::interrupt::Interrupt;
use crate::judge::{Arithmetic, hash};
use crate::machine::{machine, versions};
use crate::material::{self, parameters};
use crate::own_radii::OwnRadii;
use crate::progress::{EvaluationBar, announce};
use crate::summary::split_summary;

pub(crate) use networks::AttackedNetwork;
use networks::{Named, check_model, own_data, own_norm, told};
pub(crate) use options::{AttackPlan, Shared, count};
use options::{in_options, problem};

/// Networks and the images on which they are attacked.
pub(crate) struct Opened {
    pub(crate) targets: Vec<AttackedNetwork>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) input: [usize; 3],
    dataset: Chosen<dyn Dataset>,
    pub(crate) images: SplitOption,
    /// The radius of each image, if images have individual radii.
    pub(crate) own: Option<OwnRadii>,
    /// A hash of the images.
    hash: String,
    device: Device,
    place: DeviceName,
    seed: u64,
    batch: usize,
    ignore_class_names: bool,
    /// Warnings about all numbers of the command.
    pub(crate) warnings: Vec<Warning>,
}

impl Opened {
    /// Opens data and networks; also returns the entry to evaluate.
    pub(crate) fn open(
        paths: &[PathBuf],
        plan: AttackPlan,
        interrupt: &Interrupt,
    ) -> anyhow::Result<(Self, Entry)> {
        let AttackPlan {
            data,
            images,
            model,
            mut entry,
            own: each,
            ignore_class_names,
            seed,
            batch,
            device: place,
        } = plan;
        let device = place.open()?;
        let mut files = vec![];
        for path in paths {
            files.push(Named::look(path)?);
        }
        check_model(&files, model.as_ref())?;
        settle_norm(&mut entry, each, &files)?;
        let dataset = data.map_or_else(|| own_data(&files), Ok)?;
        let radii = match (each, &files[..]) {
            (false, _) => None,
            (true, [named]) => Some(OwnRadii::of(&named.file)?),
            (true, _) => {
                return Err(
                    BadConfig("--eps own: images have the radii of one run, not of several".into()).into()
                );
            }
        };
        let source = opened_images(&dataset, images, &entry, radii.as_ref())?;
        if let Some(radii) = &radii {
            entry.radius = Some(radii.largest()?);
        }
        let input = material::look(&source, dataset.name())?;
        if let Some((field, message)) = entry.oversize(Some(input)).filter(|_| !each) {
            return Err(BadConfig(in_options(field, &message)).into());
        }
        let few = entry.problem_of_classes(source.classes().len());
        if let Some((field, message)) = few {
            return Err(BadConfig(in_options(field, &message)).into());
        }
        let told = model.map(|model| told(model, input, source.classes())).transpose()?;
        let (mut targets, mut warnings) = (vec![], vec![]);
        for named in files {
            if let Some(ran) = named.ran.as_ref().filter(|_| images == SplitOption::Test) {
                warnings.extend(ran.trained_on_test(&dataset, &*source));
            }
            let target = named.open(told.as_ref(), (input, source.classes()), ignore_class_names, &device)?;
            warnings.extend(target.stored.warnings.clone());
            targets.push(target);
        }
        let Some(hash) = hash(&source, interrupt)? else {
            return Err(interrupt.ended("before anything was attacked"));
        };
        let opened = Self {
            targets,
            source,
            input,
            dataset,
            images,
            own: radii,
            hash,
            device,
            place,
            seed,
            batch,
            ignore_class_names,
            warnings,
        };
        Ok((opened, entry))
    }

    /// All images of the split, regardless of `--samples` and `--indices`.
    fn whole_split(&self) -> anyhow::Result<Arc<dyn Source>> {
        opened_images(&self.dataset, self.images, &Entry::default(), None)
    }

    /// The key of an evaluation by [`judge`](Self::judge) in its records.
    pub(crate) fn key(
        &self,
        entry: &Entry,
        (by, surrogate): (&AttackedNetwork, Option<&AttackedNetwork>),
    ) -> anyhow::Result<String> {
        let arithmetic = Arithmetic { seed: self.seed, device: self.place, numerics: by.numerics };
        let radii = self.own.as_ref().map(OwnRadii::hash);
        let crafting = surrogate.map(|target| target.stored.sha256.as_str()).or(radii.as_deref());
        arithmetic.key(entry, [Some(&by.stored.sha256), Some(&self.hash), crafting])
    }

    /// Evaluates the network `by` as an entry specifies, on images crafted on `surrogate` if there is one. Samples
    /// with records are not evaluated again. Calls `hear` after each batch; its error ends the evaluation. Returns
    /// `None` if the evaluation was interrupted.
    pub(crate) fn judge(
        &self,
        entry: &Entry,
        (by, surrogate): (&AttackedNetwork, Option<&AttackedNetwork>),
        records: &mut Records,
        interrupt: &Interrupt,
        hear: &mut dyn FnMut(&BatchGlimpse) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<Outcome>> {
        let key = self.key(entry, (by, surrogate))?;
        let setting = Setting {
            network: &by.frozen,
            weights: by.word(),
            epoch: None,
            judged_by: by.name.as_deref(),
            surrogate: surrogate.map(|target| Surrogate {
                network: &target.frozen,
                name: target.label(),
                sha256: &target.stored.sha256,
            }),
            trained_in: by.trained_in,
            radii: self.own.as_ref().map(|own| &own.radii),
            batch: self.batch,
            seed: self.seed,
            device: &self.device,
            key,
            pulse: None,
        };
        let cells = [Cell::clean(self.source.clone())];
        announce(&entry.name, estimate(&setting, entry, &cells[0], records)?.as_ref());
        let shown = EvaluationBar::new(&entry.name, self.source.len(), Some(interrupt));
        let setting = Setting { pulse: Some(shown.pulse(setting.most_passes(entry))), ..setting };
        let mut heard = Ok(());
        let mut watch = |glimpse: &BatchGlimpse| {
            heard = hear(glimpse);
            if heard.is_err() { ControlFlow::Break(()) } else { shown.glimpse(glimpse) }
        };
        let evaluation = evaluate(&setting, entry, &cells, records, &mut watch);
        drop(shown);
        heard?;
        evaluation.with_context(|| format!("`{}` on {}", entry.name, by.stored.file.display()))
    }

    /// Inspects a network that an entry evaluates; `None` if no image can be decoded.
    pub(crate) fn inspect(
        &self,
        by: &AttackedNetwork,
        entry: &Entry,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<Inspection>> {
        let setting = Setting::new(&by.frozen, self.batch, self.seed, &self.device);
        let setting = Setting {
            weights: by.word(),
            judged_by: by.name.as_deref(),
            pulse: Some(interrupt.pulse()),
            ..setting
        };
        let gradients = entry.follows_gradients(by.frozen.network().classes());
        let inspected = inspect(&setting, &Cell::clean(self.source.clone()), gradients);
        let inspected =
            inspected.with_context(|| format!("the inspection of {}", by.stored.file.display()))?;
        match interrupt.heard() {
            true => {
                Err(interrupt.ended("in the inspection of the network, which comes before all evaluations"))
            }
            false => Ok(inspected),
        }
    }

    /// The images used; those in `unreadable` could not be decoded.
    fn dataset(&self, unreadable: &BTreeMap<u64, String>) -> DatasetSummary {
        let split = SplitSummary {
            hash: Some(self.hash.clone()),
            radii: self.own.as_ref().map(|own| own.file.clone()),
            ..split_summary(&self.source, unreadable)
        };
        let (train, test) = match self.images {
            SplitOption::Train => (Some(split), None),
            SplitOption::Test => (None, Some(split)),
        };
        let other_classes = self.targets.iter().any(|target| target.other_classes);
        DatasetSummary { name: self.dataset.name().into(), train, held_out: None, test, other_classes }
    }

    /// The results of a command. `arguments` is a command line that repeats the measurement.
    pub(crate) fn results(
        &self,
        command: CommandName,
        arguments: Vec<String>,
        evaluations: Vec<Evaluation>,
        unreadable: &BTreeMap<u64, String>,
    ) -> anyhow::Result<Results> {
        Ok(Results {
            command,
            arguments,
            evaluations,
            warnings: self.warnings.clone(),
            seed: self.seed,
            versions: versions(),
            machine: machine(),
            dataset: self.dataset(unreadable),
            networks: self.targets.iter().map(AttackedNetwork::summary).collect::<anyhow::Result<_>>()?,
            training: None,
            best: None,
            radii: None,
            saved: None,
        })
    }

    /// All parameters as TOML. `words` is a command line that creates the same images.
    pub(crate) fn resolved(&self, entry: &Entry, words: &[String]) -> anyhow::Result<String> {
        #[derive(Serialize)]
        struct View<'a> {
            command: String,
            seed: u64,
            device: DeviceName,
            batch: usize,
            dataset: &'a Chosen<dyn Dataset>,
            split: SplitOption,
            #[serde(skip_serializing_if = "Option::is_none")]
            radii: Option<&'a Path>,
            evaluate: &'a Entry,
            networks: Vec<NetworkSummary>,
        }
        let view = View {
            command: command(words),
            networks: self.targets.iter().map(AttackedNetwork::summary).collect::<anyhow::Result<_>>()?,
            seed: self.seed,
            device: self.place,
            batch: self.batch,
            dataset: &self.dataset,
            split: self.images,
            radii: self.own.as_ref().map(|own| &*own.file),
            evaluate: entry,
        };
        Ok(toml::to_string(&view)?)
    }

    /// The arguments of a command that creates the same images when run in the current folder: every option that
    /// affects them, including defaults.
    pub(crate) fn words(&self, verb: &str, entry: &Entry) -> anyhow::Result<Vec<String>> {
        fn plugin<T: ?Sized + Kind>(chosen: &Chosen<T>) -> String {
            format!("{} = {}", chosen.name(), toml::Value::Table(chosen.params().clone()))
        }
        let mut words = vec![verb.to_string()];
        words.extend(self.targets.iter().map(|target| target.path.display().to_string()));
        let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        if let Some(told) = self.targets.iter().find(|target| target.told) {
            let options = toml::Value::Table(told.stored.parameters.clone());
            option("model", format!("{} = {options}", told.stored.model));
        }
        option("data", plugin(&self.dataset));
        option("split", toml::Value::try_from(self.images)?.as_str().unwrap_or_default().into());
        if let Some(suite) = &entry.suite {
            option("suite", plugin(suite));
        }
        for attack in entry.attacks() {
            option("attack", plugin(attack));
        }
        if entry.attacked() {
            option("norm", toml::Value::try_from(entry.norm())?.as_str().unwrap_or_default().into());
            let radius = match toml::Value::try_from(entry.radius.unwrap_or(Distance::ZERO))? {
                _ if self.own.is_some() => "own".into(),
                toml::Value::String(quotient) => quotient,
                number => number.to_string(),
            };
            option("eps", radius);
        } else {
            option("attack", "none".into());
        }
        if let Some(samples) = entry.samples {
            option("samples", samples.to_string());
        }
        if let Some(indices) = &entry.indices {
            option("indices", indices.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        }
        if let Some(restarts) = entry.restarts {
            option("restarts", restarts.to_string());
        }
        option("seed", self.seed.to_string());
        option("batch", self.batch.to_string());
        option("device", self.place.to_string());
        if self.ignore_class_names {
            words.push("--ignore-class-names".into());
        }
        Ok(words)
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// A description of the networks, the images and the attacks.
    pub(crate) fn heading(&self, entry: &Entry) -> String {
        const INDENT: &str = "       ";
        let mut text = String::new();
        for AttackedNetwork { stored, told, .. } in &self.targets {
            wrap(&mut text, "network", INDENT, &stored.file.display().to_string());
            let (model, sha256) = (stored.model, stored.sha256.get(..12).unwrap_or(&stored.sha256));
            let about = format!(
                "{model}, {} trained parameters, sha256 {sha256}",
                parameters(stored.classifier.network())
            );
            wrap(&mut text, INDENT, INDENT, &about);
            if *told {
                let options = toml::Value::Table(stored.parameters.clone());
                let normalised = stored.normalisation();
                let assumed = if is_onnx(&stored.file) {
                    format!("the graph takes pixels in [0, 1]: {normalised}")
                } else {
                    format!("assumed, for the file does not say: {options}, {normalised}")
                };
                wrap(&mut text, INDENT, INDENT, &assumed);
            }
        }
        let (name, n) = (self.dataset.name(), self.source.len());
        let what = self.images.word();
        wrap(&mut text, "data   ", INDENT, &format!("{name}, {n} {what} images: {}", self.source.origin()));
        let suite = entry.suite.iter().map(|suite| (suite.name(), suite.params()));
        let attacks = entry.attacks().map(|attack| (attack.name(), attack.params()));
        let mut first = if entry.suite.is_some() { "suite  " } else { "attack " };
        for (name, parameters) in suite.chain(attacks) {
            let parameters = toml::Value::Table(parameters.clone());
            wrap(&mut text, first, INDENT, &format!("{name} = {parameters}"));
            first = INDENT;
        }
        if !entry.attacked() {
            wrap(&mut text, first, INDENT, "none: images are judged as they are");
            return text;
        }
        let radius = entry.radius.map_or(0.0, Distance::get);
        let within = match &self.own {
            None => format!("within an {} radius of {radius:.5}", entry.norm()),
            Some(own) => {
                let (norm, file) = (entry.norm(), own.file.display());
                format!("within the {norm} radius of each image, at most {radius:.5}, in {file}")
            }
        };
        wrap(&mut text, INDENT, INDENT, &within);
        text
    }
}

/// Sets the norm of an entry to that of the runs' training if none was given. An error if the radii cannot be
/// measured in this norm, or if the entry is invalid.
fn settle_norm(entry: &mut Entry, own_radii: bool, files: &[Named]) -> Result<(), BadConfig> {
    match entry.norm {
        None if !entry.attacked() => {}
        None => entry.norm = Some(own_norm(files)?.unwrap_or(Norm::Linf)),
        Some(norm) => {
            let trained = files.iter().find_map(|named| named.ran.as_ref()?.trained_in());
            if let Some(trained) = trained.filter(|trained| own_radii && *trained != norm) {
                return Err(BadConfig(format!(
                    "--eps own: training measured these radii in {trained}, which is no {norm}: leave --norm out"
                )));
            }
        }
    }
    problem(entry).map_or(Ok(()), |message| Err(BadConfig(message)))
}
