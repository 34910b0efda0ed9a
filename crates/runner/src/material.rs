//! What a pipeline works on: images, and the network that fits them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::{Context, bail};
use temper_core::nn::Network;
use temper_core::{Chosen, DataError, Dataset, Device, Part, Rng, Source, Split, Subset, shape};
use temper_evaluate::{Cell, Entry};
use temper_train::Trainer;

use crate::cells::{self, Images};
use crate::config::{BadConfig, Pipeline};
use crate::stored::Stored;

/// Images left out that are told by name.
const SHOWN: usize = 5;

/// The images of a pipeline, and the network that fits them.
pub(crate) struct Material {
    pub(crate) train: Arc<dyn Source>,
    /// Training images that no step sees, for the selection.
    pub(crate) held_out: Option<Arc<dyn Source>>,
    pub(crate) test: Arc<dyn Source>,
    pub(crate) network: Network,
    /// What each evaluation judges, and what it crafts on.
    pub(crate) judged: Vec<Judged>,
}

/// What an evaluation needs besides the network that it judges.
pub(crate) struct Judged {
    pub(crate) cells: Vec<Cell>,
    pub(crate) crafted_on: Option<Stored>,
}

impl Material {
    pub(crate) fn open(pipeline: &Pipeline) -> anyhow::Result<Self> {
        let name = pipeline.dataset.name();
        let open = |split| open(&pipeline.dataset, split, |message| pipeline.bad_dataset(message));
        let (train, test) = (open(Split::Train)?, open(Split::Test)?);
        let part = |source: Arc<dyn Source>, n: Option<NonZeroUsize>| match n {
            Some(n) => Arc::new(Subset::new(source, n.get())),
            None => source,
        };
        let (train, test) = (part(train, pipeline.subset.train), part(test, pipeline.subset.test));
        if train.is_empty() || test.is_empty() {
            bail!("dataset `{name}` has {} training and {} test images", train.len(), test.len());
        }
        let (train, held_out) = match &pipeline.select {
            Some(select) if select.samples.get() >= train.len() => {
                let message = format!(
                    "`samples` is {}, but there are {} training images: some must be left to train on",
                    select.samples,
                    train.len()
                );
                return Err(pipeline.bad_select(&message).into());
            }
            Some(select) => {
                let rng = Rng::new(pipeline.seed, "held out");
                let (held_out, rest) = Part::drawn(&train, select.samples.get(), rng);
                (Arc::new(rest) as Arc<dyn Source>, Some(Arc::new(held_out) as Arc<dyn Source>))
            }
            None => (train, None),
        };
        let (first, last) = (look(&train, name)?, look(&test, name)?);
        if first != last || train.classes() != test.classes() {
            bail!(
                "dataset `{name}`: training and test images differ in shape or classes: {first:?} and {last:?}"
            );
        }
        if let Some(misfit) = pipeline.train.augment.and_then(|augment| augment.misfit(first)) {
            return Err(pipeline.bad_augment(&misfit).into());
        }
        let network = pipeline.model.build(first, train.classes().len()).map_err(|error| {
            let [c, h, w] = first;
            pipeline.bad_model(&format!(
                "{error}\n  images are {c} x {h} x {w}, with {} classes",
                train.classes().len()
            ))
        })?;
        let network = network.with_numerics(pipeline.numerics.into());
        let mut judged = vec![];
        for i in 0..pipeline.evaluate.len() {
            judged.push(Judged::open(pipeline, i, &test, first)?);
        }
        Ok(Self { train, held_out, test, network, judged })
    }
}

/// Opens a part of a data set; `bad` words parameters that contradict each other: the author's fault, not the data's.
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

/// Channels, height and width of images of the data set of this name.
pub(crate) fn look(source: &Arc<dyn Source>, name: &str) -> anyhow::Result<[usize; 3]> {
    shape(&**source).map_err(temper_core::Error::from).with_context(|| format!("dataset `{name}`"))
}

impl Judged {
    fn open(
        pipeline: &Pipeline,
        i: usize,
        test: &Arc<dyn Source>,
        input: [usize; 3],
    ) -> anyhow::Result<Self> {
        let entry = &pipeline.evaluate[i];
        let crafted_on = entry.crafted_on.as_ref().map(|path| {
            let stored = Stored::known(path, pipeline.numerics.into())
                .with_context(|| format!("evaluation `{}`", entry.name))?;
            match stored.misfit(input, test.classes().len()) {
                Some(misfit) => Err(pipeline.bad_craft(i, &misfit).into()),
                None => anyhow::Ok(stored),
            }
        });
        let source =
            chosen(entry, test.clone(), "test").map_err(|message| pipeline.bad_indices(i, &message))?;
        let images = Images { dataset: pipeline.dataset.name(), source, shape: input };
        let cells = cells::open(entry, &images, |message| pipeline.bad_corruptions(i, message))
            .with_context(|| format!("evaluation `{}`", entry.name));
        // A mistake of the pipeline has its place already.
        let cells = cells.map_err(|error| match error.downcast::<BadConfig>() {
            Ok(bad) => bad.into(),
            Err(other) => other,
        })?;
        Ok(Self { cells, crafted_on: crafted_on.transpose()? })
    }
}

/// Those of the images, of this split, that an evaluation judges. The error says which one is not there.
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

/// Opens data and builds the network as a run would; what it says after "a sound pipeline".
pub(crate) fn check(pipeline: &Pipeline) -> anyhow::Result<String> {
    match Material::open(pipeline) {
        Ok(material) => {
            if pipeline.train.init.is_some() {
                let trainer = Trainer::new(&pipeline.train, pipeline.seed, &Device::Cpu);
                trainer.start(material.network.clone(), material.train.len())?;
            }
            let parameters = parameters(&material.network);
            Ok(format!(
                "\n  {} training and {} test images ({})\n  {parameters} trained parameters",
                material.train.len(),
                material.test.len(),
                material.train.origin()
            ))
        }
        // A pipeline is sound where its data is not; whether the network fits cannot be told then.
        Err(error) => match error.downcast_ref::<temper_core::Error>() {
            Some(temper_core::Error::Data(missing @ DataError::Missing { .. })) => {
                Ok(format!(", but it cannot run here:\n  {missing}"))
            }
            _ => Err(error),
        },
    }
}

/// What a data set left out, the first ones by name, and where the others are; nothing where that is nothing.
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

/// Number of trained parameters.
pub(crate) fn parameters(network: &Network) -> usize {
    let trained = network.parameters().into_iter().filter(|p| p.role.is_trained());
    trained.map(|p| p.shape.iter().product::<usize>()).sum()
}
