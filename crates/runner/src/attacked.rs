//! Networks under attack, outside of runs: the options that `temper attack` and `temper transfer` share, and what they name.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use temper_core::nn::Frozen;
use temper_core::{Chosen, Dataset, Device, Model, Pixels, Source};
use temper_evaluate::{Cell, Crafting, Entry, Evaluation, Glimpse, Records, Setting, evaluate};

use crate::catalogue::wrap;
use crate::config::{BadConfig, Numerics, first_line};
use crate::device::DeviceName;
use crate::images::{Images, opened_images};
use crate::inline;
use crate::interrupt::Interrupt;
use crate::judge::{Arithmetic, hash, versions};
use crate::machine::machine;
use crate::material::{self, parameters};
use crate::own_radii::OwnRadii;
use crate::progress;
use crate::run_dir::{CONFIG, MARK, marked};
use crate::stored::{About, Stored};

/// What is attacked, and by what.
#[derive(Debug, Args)]
pub(crate) struct Shared {
    /// Data set, by name or with parameters as in a pipeline; left out, the run's own
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// Attack, by name or with parameters as in a pipeline; may be repeated: the worst case over all counts
    #[arg(long = "attack", value_name = "NAME", required = true)]
    attacks: Vec<String>,
    /// Radius of every sample in pixel values of [0, 1]: a number, or a quotient such as 8/255; or own, with --split train: the
    /// radius that training left to each image, at the epoch of these weights. Images whose radius is 0 are left out
    #[arg(long, value_name = "LENGTH", allow_negative_numbers = true)]
    eps: String,
    /// How the radius is measured: linf or l2
    #[arg(long, default_value = "linf")]
    norm: String,
    /// Which images: those to judge by, or those that were trained on, as they are without augmentation
    #[arg(long, value_enum, default_value_t = Images::Test)]
    split: Images,
    /// How many of them, spread evenly over them; left out, all
    #[arg(long, value_name = "N")]
    samples: Option<NonZeroUsize>,
    /// These of them, by their index in the whole split, from 0: 3,17,42
    #[arg(long, value_name = "I,...", value_delimiter = ',', conflicts_with = "samples")]
    indices: Option<Vec<usize>>,
    /// Runs of each attack as a whole, each on what still stands
    #[arg(long, value_name = "N")]
    restarts: Option<NonZeroUsize>,
    /// Where all randomness begins
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Samples attacked at a time
    #[arg(long, value_name = "N", default_value = "128")]
    batch: NonZeroUsize,
    /// Device to run on: cpu, cuda:0, ...
    #[arg(long, default_value_t)]
    device: DeviceName,
    /// Architecture of a file of weights that does not say what it is of, as in a pipeline
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

/// Options, read.
pub(crate) struct Plan {
    data: Option<Chosen<dyn Dataset>>,
    images: Images,
    model: Option<Chosen<dyn Model>>,
    pub(crate) entry: Entry,
    /// Has each image its own radius?
    pub(crate) own: bool,
    pub(crate) seed: u64,
    pub(crate) batch: usize,
    pub(crate) device: DeviceName,
}

impl Shared {
    /// Reads them; all their mistakes are told at once.
    pub(crate) fn plan(&self) -> Result<Plan, BadConfig> {
        let mut faults = vec![];
        let own = self.eps.trim() == "own";
        if own && self.split != Images::Train {
            faults.push(
                "--eps own: images that were trained on have radii of their own: add --split train".into(),
            );
        }
        let data = self.data.as_ref().and_then(|text| inline::read("data", text, &mut faults));
        let model = self.model.as_ref().and_then(|text| inline::read("model", text, &mut faults));
        let mut attacks: Vec<_> =
            self.attacks.iter().filter_map(|text| inline::read("attack", text, &mut faults)).collect();
        let mut entry = Entry {
            norm: inline::read("norm", &self.norm, &mut faults),
            // The largest one takes its place once the run is open.
            radius: if own { Some(Pixels::of_255(0.0)) } else { inline::read("eps", &self.eps, &mut faults) },
            restarts: self.restarts,
            samples: self.samples,
            indices: self.indices.clone(),
            ..Entry::default()
        };
        match attacks.len() {
            1 => entry.attack = attacks.pop(),
            _ => entry.attacks = Some(attacks),
        }
        entry.name = entry.labels().join("+");
        if faults.is_empty()
            && let Some((field, message)) = entry.problem()
        {
            faults.push(match field {
                "radius" => format!("--eps {}: {message}", self.eps),
                "attacks" => format!("--attack: {message}"),
                other => format!("--{other}: {message}"),
            });
        }
        if !faults.is_empty() {
            return Err(BadConfig::of(faults));
        }
        let Self { seed, batch, device, split, .. } = *self;
        Ok(Plan { data, images: split, model, entry, own, seed, batch: batch.get(), device })
    }
}

/// A network to attack.
pub(crate) struct Target {
    /// As it was named.
    pub(crate) path: PathBuf,
    pub(crate) stored: Stored,
    pub(crate) frozen: Frozen,
    numerics: Numerics,
    /// Does it call its classes otherwise than the data set does?
    strange: bool,
}

/// What a run's configuration says of the judgement of its network.
#[derive(Deserialize)]
struct Ran {
    dataset: Chosen<dyn Dataset>,
    #[serde(default)]
    numerics: Numerics,
}

impl Ran {
    /// Of the run that a path names, or in whose folder the file lies.
    fn of(path: &Path) -> anyhow::Result<Option<Self>> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let file = folder.join(CONFIG);
        if !marked(&file, MARK) {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        toml::from_str(&text).map(Some).map_err(|error| {
            let why = first_line(error.message());
            anyhow::anyhow!("{}: {why}\n  is it a run of another version?", file.display())
        })
    }
}

/// Networks and the images that they are attacked on.
pub(crate) struct Opened {
    pub(crate) targets: Vec<Target>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) input: [usize; 3],
    dataset: Chosen<dyn Dataset>,
    pub(crate) images: Images,
    /// The radius of each image, if each has its own.
    pub(crate) own: Option<OwnRadii>,
    /// A hash of the images.
    hash: String,
    device: Device,
    place: DeviceName,
    seed: u64,
    batch: usize,
}

impl Opened {
    /// Opens data and networks; returns them and what is to be done with them.
    pub(crate) fn open(
        paths: &[PathBuf],
        plan: Plan,
        interrupt: &Interrupt,
    ) -> anyhow::Result<(Self, Entry)> {
        let Plan { data, images, model, mut entry, own: each, seed, batch, device: place } = plan;
        let device = place.open()?;
        let (mut files, mut own) = (vec![], vec![]);
        for path in paths {
            let file = Stored::file(path)?;
            let about = Stored::about(&file)?;
            let ran = Ran::of(path)?;
            let numerics = ran.as_ref().map(|ran| ran.numerics).unwrap_or_default();
            own.extend(ran.map(|ran| (path.as_path(), ran.dataset)));
            files.push(Named { path, file, about, numerics });
        }
        check_model(&files, model.as_ref())?;
        let dataset = data.map_or_else(|| own_data(own, &files), Ok)?;
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
        let told = model.map(|model| told(model, input, source.classes())).transpose()?;
        let mut targets = vec![];
        for named in files {
            targets.push(named.open(told.as_ref(), (input, source.classes()), &device)?);
        }
        let Some(hash) = hash(&source, interrupt)? else {
            return Err(interrupt.ended("before anything was attacked"));
        };
        Ok((
            Self { targets, source, input, dataset, images, own: radii, hash, device, place, seed, batch },
            entry,
        ))
    }

    /// Judges one network by an entry, on images crafted on another one, if that is given. `hear` is told of each batch, too.
    /// `None` if it was broken off.
    pub(crate) fn judge(
        &self,
        entry: &Entry,
        (by, crafted_on): (&Target, Option<&Target>),
        records: &mut Records,
        interrupt: &Interrupt,
        hear: &mut dyn FnMut(&Glimpse),
    ) -> anyhow::Result<Option<Evaluation>> {
        let arithmetic = Arithmetic { seed: self.seed, device: self.place, numerics: by.numerics };
        let radii = self.own.as_ref().map(OwnRadii::hash);
        let crafting = crafted_on.map(|target| target.stored.sha256.as_str()).or(radii.as_deref());
        let key = arithmetic.key(entry, [Some(&by.stored.sha256), Some(&self.hash), crafting])?;
        let setting = Setting {
            network: &by.frozen,
            weights: by.word(),
            crafted_on: crafted_on
                .map(|target| Crafting { network: &target.frozen, sha256: &target.stored.sha256 }),
            radii: self.own.as_ref().map(|own| &own.radii),
            batch: self.batch,
            seed: self.seed,
            device: &self.device,
            key,
        };
        let shown = progress::Evaluation::new(&entry.name, self.source.len(), Some(interrupt));
        let mut watch = |glimpse: &Glimpse| {
            hear(glimpse);
            shown.glimpse(glimpse)
        };
        let cells = [Cell::clean(self.source.clone())];
        let evaluation = evaluate(&setting, entry, &cells, records, &mut watch);
        drop(shown);
        evaluation.with_context(|| format!("`{}` on {}", entry.name, by.stored.file.display()))
    }

    /// The images at hand, for `results.json`.
    pub(crate) fn data(&self) -> Value {
        let (name, origin) = (self.dataset.name(), self.source.origin());
        let (n, split) = (self.source.len(), self.images);
        let mut data = json!({ "name": name, "split": split, "origin": origin, "n": n, "hash": self.hash });
        if let Some(own) = &self.own {
            data["radii"] = json!(own.file);
        }
        data
    }

    /// What every file of results of a command begins with.
    pub(crate) fn results(&self, command: &str, evaluations: &[Value]) -> Value {
        json!({
            "command": command,
            "evaluations": evaluations,
            "seed": self.seed,
            "versions": versions(),
            "machine": machine(),
            "data": self.data(),
        })
    }

    /// All parameters, as TOML.
    pub(crate) fn resolved(&self, entry: &Entry) -> anyhow::Result<String> {
        #[derive(Serialize)]
        struct View<'a> {
            seed: u64,
            device: DeviceName,
            batch: usize,
            networks: Vec<&'a Path>,
            dataset: &'a Chosen<dyn Dataset>,
            split: Images,
            #[serde(skip_serializing_if = "Option::is_none")]
            radii: Option<&'a Path>,
            evaluate: &'a Entry,
        }
        let view = View {
            seed: self.seed,
            device: self.place,
            batch: self.batch,
            networks: self.targets.iter().map(|target| &*target.path).collect(),
            dataset: &self.dataset,
            split: self.images,
            radii: self.own.as_ref().map(|own| &*own.file),
            evaluate: entry,
        };
        Ok(toml::to_string(&view)?)
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// What is attacked, on what, and by what.
    pub(crate) fn heading(&self, entry: &Entry) -> String {
        const INDENT: &str = "       ";
        let mut text = String::new();
        for Target { stored, strange, .. } in &self.targets {
            wrap(&mut text, "network", INDENT, &stored.file.display().to_string());
            let (model, sha256) = (stored.model, stored.sha256.get(..12).unwrap_or(&stored.sha256));
            let about = format!(
                "{model}, {} trained parameters, sha256 {sha256}",
                parameters(stored.classifier.network())
            );
            wrap(&mut text, INDENT, INDENT, &about);
            if *strange {
                wrap(&mut text, "note   ", INDENT, "it calls its classes otherwise than the data set does");
            }
        }
        let (name, n) = (self.dataset.name(), self.source.len());
        let what = self.images.word();
        wrap(&mut text, "data   ", INDENT, &format!("{name}, {n} {what} images: {}", self.source.origin()));
        let mut first = "attack ";
        for attack in entry.attacks() {
            let parameters = toml::Value::Table(attack.params().clone());
            wrap(&mut text, first, INDENT, &format!("{} = {parameters}", attack.name()));
            first = INDENT;
        }
        let radius = entry.radius.map_or(0.0, Pixels::get);
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

impl Target {
    /// The word for its weights in records.
    fn word(&self) -> &'static str {
        if self.stored.file.ends_with("best.safetensors") { "best" } else { "last" }
    }

    /// What `results.json` says of it.
    pub(crate) fn about(&self) -> Value {
        let Stored { file, sha256, model, classifier, .. } = &self.stored;
        let parameters = parameters(classifier.network());
        json!({ "name": model, "file": file, "sha256": sha256, "parameters": parameters })
    }

    /// What the command line's table and records say of an evaluation, too.
    pub(crate) fn marked(&self, evaluation: &Evaluation) -> anyhow::Result<Value> {
        let mut evaluation = serde_json::to_value(evaluation)?;
        evaluation["weights"] = json!(self.word());
        Ok(evaluation)
    }
}

/// A network as the command line names it.
struct Named<'p> {
    path: &'p Path,
    file: PathBuf,
    /// What the file says of itself.
    about: Option<About>,
    numerics: Numerics,
}

impl Named<'_> {
    /// Opens it; what `told` says is for files that say nothing. An error if it does not see these images and classes.
    fn open(
        self,
        told: Option<&About>,
        (input, classes): ([usize; 3], &[String]),
        device: &Device,
    ) -> anyhow::Result<Target> {
        let Self { path, file, about, numerics } = self;
        let about = about.as_ref().or(told).with_context(|| file.display().to_string())?;
        let stored = Stored::open(file, about, numerics.into())?;
        if let Some(misfit) = stored.misfit(input, classes.len()) {
            return Err(BadConfig(misfit).into());
        }
        let frozen = stored.frozen(device)?;
        Ok(Target { path: path.into(), stored, frozen, numerics, strange: about.classes != classes })
    }
}

/// What `--model` says of a file, for images of this shape and these classes.
fn told(model: Chosen<dyn Model>, input: [usize; 3], classes: &[String]) -> Result<About, BadConfig> {
    let ([c, h, w], n) = (input, classes.len());
    model.build(input, n).map_err(|error| {
        BadConfig(format!(
            "--model {}: {error}\n  images are {c} x {h} x {w}, with {n} classes",
            model.name()
        ))
    })?;
    Ok(About { model, input, classes: classes.to_vec() })
}

/// Is each file's architecture known once, and not twice?
fn check_model(files: &[Named], model: Option<&Chosen<dyn Model>>) -> Result<(), BadConfig> {
    let silent = files.iter().find(|named| named.about.is_none());
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

/// The data set of the runs whose networks these are.
fn own_data(
    own: Vec<(&Path, Chosen<dyn Dataset>)>,
    files: &[Named],
) -> Result<Chosen<dyn Dataset>, BadConfig> {
    let mut own = own.into_iter();
    let Some((path, dataset)) = own.next() else {
        let file = files.first().map_or_else(String::new, |named| named.file.display().to_string());
        return Err(BadConfig(format!(
            "{file} does not lie in a run's folder, whose data set would be taken\n  say which one, for example with --data \
             fashion-mnist"
        )));
    };
    match own.find(|(_, other)| other.name() != dataset.name() || other.params() != dataset.params()) {
        None => Ok(dataset),
        Some((other, _)) => Err(BadConfig(format!(
            "{} and {} are runs on different data sets: choose one with --data",
            path.display(),
            other.display()
        ))),
    }
}
