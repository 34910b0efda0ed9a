//! The images and the network of a pipeline.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::{Context, bail};
use temper_core::nn::Network;
use temper_core::{Chosen, DataError, Dataset, Device, Part, Rng, Source, Split, Subset, shape};
use temper_data::{Classes, class_difference, shared_images};
use temper_evaluate::{Cell, Entry};
use temper_results::{Severity, Warning};
use temper_train::{Trainer, load_weights_for};

use crate::catalogue::wrap;
use crate::cells::{self, CellImages};
use crate::classes::{IN_PIPELINE, compared};
use crate::config::{BadConfig, Pipeline};
use crate::footprint::{self, MemoryPart};
use crate::init_radii::InitRadii;
use crate::stored::{Stored, said_against, sha256};

/// Number of undecodable images that are named.
const SHOWN: usize = 5;

/// The images of a pipeline, and the network that fits them.
pub(crate) struct Material {
    /// Training images; the test images if nothing is trained.
    pub(crate) train: Arc<dyn Source>,
    /// Number of images of the whole training split; 0 if nothing is trained.
    pub(crate) split: usize,
    /// Training images held out for the selection of weights.
    pub(crate) held_out: Option<Arc<dyn Source>>,
    pub(crate) test: Arc<dyn Source>,
    pub(crate) network: Network,
    /// SHA-256 of the file that the model reads its graph from, if it reads one.
    pub(crate) graph: Option<String>,
    /// The images and the surrogate network of each evaluation.
    pub(crate) judged: Vec<Needs>,
    /// Number of test images that are also training images.
    pub(crate) also_trained_on: usize,
    /// Warnings about the run's numbers that are known before training.
    pub(crate) warnings: Vec<Warning>,
}

/// What an evaluation needs besides the evaluated network.
pub(crate) struct Needs {
    pub(crate) cells: Vec<Cell>,
    pub(crate) surrogate: Option<Stored>,
}

impl Material {
    pub(crate) fn open(pipeline: &Pipeline) -> anyhow::Result<Self> {
        let name = pipeline.dataset.name();
        let open = |split| open(&pipeline.dataset, split, |message| pipeline.bad_dataset(message));
        let trains = pipeline.train.trains();
        let train = trains.then(|| open(Split::Train)).transpose()?;
        let split = train.as_ref().map_or(0, |train| train.len());
        let test = part(open(Split::Test)?, pipeline.subset.test);
        // Without training, the test images alone determine what the network must fit.
        let train = train.map_or_else(|| test.clone(), |train| part(train, pipeline.subset.train));
        if train.is_empty() || test.is_empty() {
            bail!("dataset `{name}` has {} training and {} test images", train.len(), test.len());
        }
        let also_trained_on = if trains { shared_images(&*train, &*test) } else { 0 };
        let (train, held_out) = divided(pipeline, train)?;
        let (first, last) = (look(&train, name)?, look(&test, name)?);
        if first != last {
            bail!("dataset `{name}`: training and test images differ in shape: {first:?} and {last:?}");
        }
        let one = Classes { by: "its training images", names: train.classes() };
        if let Some(other) = class_difference(one, Classes { by: "its test images", names: test.classes() }) {
            bail!("dataset `{name}`: {other}");
        }
        radii_fit(pipeline, first)?;
        classes_suffice(pipeline, train.classes().len())?;
        if let Some(misfit) = pipeline.train.augment.and_then(|augment| augment.misfit(first)) {
            return Err(pipeline.bad(&["train", "augment", "pad"], &misfit).into());
        }
        let network = pipeline.model.build(first, train.classes().len()).map_err(|error| {
            let [c, h, w] = first;
            let (name, classes) = (pipeline.model.name(), train.classes().len());
            let message =
                format!("model `{name}`: {error}\n  images are {c} x {h} x {w}, with {classes} classes");
            pipeline.bad(&["model", name], &message)
        })?;
        let graph = pipeline.model.weights().map(sha256).transpose()?;
        let network = network.with_numerics(pipeline.numerics.into());
        let name = pipeline.model.name();
        // Passes without training need far less memory than the estimate, which is for a training step.
        let batch = if trains { pipeline.train.batch.get().min(train.len()) } else { 1 };
        match footprint::refused(&network, batch) {
            Some((MemoryPart::Network, size)) => {
                return Err(pipeline.bad(&["model", name], &format!("model `{name}`: {size}")).into());
            }
            Some((MemoryPart::Batch, size)) => return Err(pipeline.bad(&["train", "batch"], &size).into()),
            None => {}
        }
        let (mut judged, mut warnings) = (vec![], pipeline.train.warnings());
        for i in 0..pipeline.evaluate.len() {
            judged.push(Needs::open(pipeline, i, &test, first, &mut warnings)?);
        }
        warnings.extend(leaks(also_trained_on, test.len()));
        if let Some(held_out) = &held_out {
            let shared = shared_images(&*train, &**held_out);
            warnings.extend((shared > 0).then(|| {
                let of = held_out.len();
                let text = format!("{shared} of the {of} images held out are trained on, too: the selection of the best weights judges those");
                Warning::caution("held-out-images-in-training", text).with_figure(shared as f64 / of as f64)
            }));
        }
        Ok(Self { train, split, held_out, test, network, graph, judged, also_trained_on, warnings })
    }

    /// A text with the number of images of each split.
    pub(crate) fn counts(&self, pipeline: &Pipeline) -> String {
        let test = format!("{} test images", self.test.len());
        if !pipeline.train.trains() {
            return test;
        }
        let held_out =
            self.held_out.as_ref().map_or_else(String::new, |of| format!("{} held out, ", of.len()));
        format!("{} training, {held_out}{test}", self.train.len())
    }

    /// Warnings about the initial weights. An error if their classes are not those of the images and class
    /// names are not ignored.
    pub(crate) fn initial_warnings(&self, pipeline: &Pipeline) -> anyhow::Result<Vec<Warning>> {
        let Some(file) = &pipeline.train.init else { return Ok(vec![]) };
        let (mut warnings, keys) = (vec![], pipeline.weights_keys());
        if let Some(about) = Stored::about(file)? {
            let named = Classes { by: &file.display().to_string(), names: &about.classes };
            let images = Classes { by: "the images", names: self.train.classes() };
            let compared = compared(named, images, pipeline.ignore_class_names, IN_PIPELINE);
            warnings.extend(compared.map_err(|message| pipeline.bad(&keys, &message))?);
        }
        warnings.extend(said_against(file, &load_weights_for(file, &self.network)?, &sha256(file)?));
        Ok(warnings.into_iter().map(|warning| warning.about(keys.join("."))).collect())
    }
}

/// The images of a split that a pipeline uses.
pub(crate) fn part(source: Arc<dyn Source>, n: Option<NonZeroUsize>) -> Arc<dyn Source> {
    match n {
        Some(n) => Arc::new(Subset::new(source, n.get())),
        None => source,
    }
}

/// The images that are trained on, and those held out for the selection of weights, if there is one.
pub(crate) type Divided = (Arc<dyn Source>, Option<Arc<dyn Source>>);

/// Divides the training images that a pipeline uses.
pub(crate) fn divided(pipeline: &Pipeline, train: Arc<dyn Source>) -> Result<Divided, BadConfig> {
    match &pipeline.select {
        Some(select) if select.samples.get() >= train.len() => {
            let message = format!(
                "`samples` is {}, but there are {} training images: some must be left to train on",
                select.samples,
                train.len()
            );
            Err(pipeline.bad(&["select", "samples"], &message))
        }
        Some(select) => {
            let rng = Rng::new(pipeline.seed, "held out");
            let (held_out, rest) = Part::drawn(&train, select.samples.get(), rng);
            Ok((Arc::new(rest), Some(Arc::new(held_out))))
        }
        None => Ok((train, None)),
    }
}

/// Share of test images that were trained on, above which accuracies are wrong, not only imprecise.
const FEW: f64 = 0.01;

/// The warning about test images that are also training images.
pub(crate) fn leaks(shared: usize, of: usize) -> Option<Warning> {
    (shared > 0).then(|| {
        let share = shared as f64 / of.max(1) as f64;
        let text = format!(
            "{shared} of the {of} test images ({:.1} %) are training images, too: accuracies count them as if they had not been seen",
            share * 100.0
        );
        let severity = Severity::severe_if(share > FEW);
        Warning::caution("test-images-in-training", text).graded(severity).with_figure(share)
    })
}

/// Refuses radii whose balls contain every image of this shape.
fn radii_fit(pipeline: &Pipeline, shape: [usize; 3]) -> Result<(), BadConfig> {
    let mut bad = vec![];
    for (keys, message) in pipeline.train.radius_problems(Some(shape)) {
        bad.push(pipeline.bad(&[&["train"], &*keys].concat(), &message).0);
    }
    if let Some((field, message)) = pipeline.select.as_ref().and_then(|s| s.entry.oversize(Some(shape))) {
        bad.push(pipeline.bad(&["select", field], &message).0);
    }
    for (i, entry) in pipeline.evaluate.iter().enumerate() {
        if let Some((field, message)) = entry.oversize(Some(shape)) {
            bad.push(pipeline.bad_evaluation(i, field, &message).0);
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(BadConfig::of(bad)) }
}

/// Refuses attacks and suites that cannot work on so few classes.
fn classes_suffice(pipeline: &Pipeline, classes: usize) -> Result<(), BadConfig> {
    let mut bad = vec![];
    for (keys, message) in pipeline.train.problems_of_classes(classes) {
        bad.push(pipeline.bad(&[&["train"], &*keys].concat(), &message).0);
    }
    let selecting = pipeline.select.as_ref().and_then(|select| select.entry.problem_of_classes(classes));
    if let Some((field, message)) = selecting {
        bad.push(pipeline.bad(&["select", field], &message).0);
    }
    for (i, entry) in pipeline.evaluate.iter().enumerate() {
        if let Some((field, message)) = entry.problem_of_classes(classes) {
            bad.push(pipeline.bad_evaluation(i, field, &message).0);
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(BadConfig::of(bad)) }
}

/// Opens a split of a data set. `bad` wraps errors in its parameters, which are errors of the pipeline, not
/// of the data.
pub(crate) fn open(
    dataset: &Chosen<dyn Dataset>,
    split: Split,
    bad: impl Fn(&str) -> BadConfig,
) -> anyhow::Result<Arc<dyn Source>> {
    dataset.open(split).map_err(|error| match error {
        temper_core::Error::Refused(message) => anyhow::Error::new(bad(&message)),
        other => anyhow::Error::new(other).context(format!("dataset `{}`", dataset.name())),
    })
}

/// Channels, height and width of these images. `name` is the name of their data set, for errors.
pub(crate) fn look(source: &Arc<dyn Source>, name: &str) -> anyhow::Result<[usize; 3]> {
    shape(&**source).map_err(temper_core::Error::from).with_context(|| format!("dataset `{name}`"))
}

impl Needs {
    fn open(
        pipeline: &Pipeline,
        i: usize,
        test: &Arc<dyn Source>,
        input: [usize; 3],
        warnings: &mut Vec<Warning>,
    ) -> anyhow::Result<Self> {
        let entry = &pipeline.evaluate[i];
        let surrogate = entry.surrogate.as_ref().map(|path| {
            let stored = Stored::known(path, pipeline.numerics.into())
                .with_context(|| format!("evaluation `{}`", entry.name))?;
            let bad = |message: &str| pipeline.bad_evaluation(i, "surrogate", message);
            if let Some(misfit) = stored.misfit(input, test.classes().len()) {
                return Err(bad(&misfit).into());
            }
            let name = &entry.name;
            let compared = stored.classes_of(test.classes(), pipeline.ignore_class_names, IN_PIPELINE);
            let other = compared.map_err(|message| bad(&message))?;
            let own = stored.warnings.iter().cloned().chain(other);
            warnings.extend(own.map(|warning| warning.about(format!("evaluation `{name}`"))));
            anyhow::Ok(stored)
        });
        let source = chosen(entry, test.clone(), "test")
            .map_err(|message| pipeline.bad_evaluation(i, "indices", &message))?;
        let (dataset, corrupted) = (pipeline.dataset.name(), pipeline.dataset.facts().corrupted);
        let images = CellImages { dataset, corrupted, source, shape: input };
        let cells = cells::open(entry, &images, |message| pipeline.bad_evaluation(i, "corruptions", message))
            .with_context(|| format!("evaluation `{}`", entry.name));
        // Errors of the pipeline already have a position.
        let cells = cells.map_err(|error| match error.downcast::<BadConfig>() {
            Ok(bad) => bad.into(),
            Err(other) => other,
        })?;
        Ok(Self { cells, surrogate: surrogate.transpose()? })
    }
}

/// The images of this split that an evaluation uses. The error names an index that does not exist.
pub(crate) fn chosen(entry: &Entry, images: Arc<dyn Source>, split: &str) -> Result<Arc<dyn Source>, String> {
    if let Some(samples) = entry.samples {
        return Ok(Arc::new(Subset::new(images, samples.get())));
    }
    let Some(indices) = &entry.indices else { return Ok(images) };
    match Part::of(&images, indices) {
        Ok(part) => Ok(Arc::new(part)),
        Err(missing) => {
            let (n, origin) = (images.len(), images.origin());
            Err(format!(
                "image {missing} of the whole {split} set, from 0, is not among the {n} judged: {origin}"
            ))
        }
    }
}

/// Opens data and builds the network as a run would; returns the details that follow "a sound pipeline".
pub(crate) fn check(pipeline: &Pipeline) -> anyhow::Result<String> {
    match Material::open(pipeline) {
        Ok(material) => {
            let initial = material.initial_warnings(pipeline)?;
            if pipeline.train.init.is_some() {
                let trainer = Trainer::new(&pipeline.train, pipeline.seed, &Device::Cpu);
                trainer.start(material.network.clone(), material.train.len())?;
            }
            let parameters = parameters(&material.network);
            let radii = InitRadii::open(pipeline, &material)?;
            let norm =
                pipeline.train.attacked_in().map_or(String::new(), |norm| format!(", attacked in {norm}"));
            let mut text = format!(
                "\n  {} ({})\n  {parameters} trained parameters{norm}",
                material.counts(pipeline),
                material.train.origin()
            );
            text +=
                &radii.map_or(String::new(), |radii| format!("\n  {}", radii.matched(pipeline, &material)));
            for warning in material.warnings.iter().chain(&initial) {
                text += "\n";
                let heading = format!("  {}:", warning.heading());
                wrap(&mut text, &heading, "   ", &warning.to_string());
                text.truncate(text.trim_end().len());
            }
            Ok(text)
        }
        // Without its data a pipeline is still valid, but whether the network fits is unknown.
        Err(error) => match error.downcast_ref::<temper_core::Error>() {
            Some(temper_core::Error::Data(missing @ DataError::Missing { .. })) => {
                Ok(format!(", but it cannot run here:\n  {missing}"))
            }
            _ => Err(error),
        },
    }
}

/// A message about images that a data set left out: the first ones by name, and where the others are listed.
/// Empty if there are none.
pub(crate) fn skipped(what: &str, of: usize, unreadable: &BTreeMap<u64, String>, others: &str) -> String {
    let n = unreadable.len();
    if n == 0 {
        return String::new();
    }
    let names: Vec<&str> = unreadable.values().take(SHOWN).map(String::as_str).collect();
    let names = names.join("\n        ");
    let more = match n.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("\n        and {more} more, {others}"),
    };
    format!("skipped {n} of {of} {what} images, which cannot be decoded:\n        {names}{more}\n")
}

/// Number of trainable parameters.
pub(crate) fn parameters(network: &Network) -> usize {
    let trained = network.parameters().into_iter().filter(|p| p.role.is_trained());
    trained.map(|p| p.shape.iter().product::<usize>()).sum()
}
