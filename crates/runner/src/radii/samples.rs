//! The listed samples: which have the smallest and the largest radii, how these developed, what the images show.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use temper_core::nn::Frozen;
use temper_core::{Batch, Device, Goal, Passes, Source, Victim, VictimNetwork};
use temper_data::Batches;
use temper_results::{EpochRadii, RadiiFile, Warning};

use super::by_index;
use crate::classes::IN_PIPELINE;
use crate::config::BadConfig;
use crate::material;
use crate::stored::Stored;
use crate::trained::{Trained, TrainingImages};

/// Batch size of predictions.
const BATCH: usize = 128;

/// The samples of one end.
pub(super) struct Group {
    /// `smallest` or `largest`.
    pub(super) name: &'static str,
    pub(super) samples: Vec<Sample>,
}

/// A training sample.
pub(super) struct Sample {
    /// Its place among the images that were trained on.
    pub(super) place: usize,
    /// Its index in the whole training split.
    pub(super) index: i64,
    pub(super) radius: f64,
    /// Its radius after each of the epochs shown.
    pub(super) development: Vec<Option<f64>>,
    /// Name of its file without folder and extension, if the data set has one.
    pub(super) file: Option<String>,
    /// Its class, if the images are known.
    pub(super) label: Option<u32>,
    pub(super) seen: Seen,
}

/// What is known about the image of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: there is no network, or no image.
    Unknown,
    /// The class that the network gives it; `None` if its logits are no numbers.
    Predicted(Option<u32>),
    /// It cannot be decoded.
    Undecoded,
}

/// The samples with the smallest and the largest radii, as many as wanted of each; where radii are equal, in the order
/// of the split. `decoded` are their places. Adds a note where more samples share the last radius than are listed.
pub(super) fn grouped(
    radii: &EpochRadii,
    decoded: &[usize],
    wanted: [Option<usize>; 2],
    notes: &mut Vec<String>,
) -> Vec<Group> {
    let radius = |place: usize| radii.radii[place];
    let mut groups = vec![];
    for (name, n) in ["smallest", "largest"].into_iter().zip(wanted) {
        let Some(n) = n else { continue };
        let mut places = decoded.to_vec();
        places.sort_by(|a, b| {
            let order = radius(*a).total_cmp(&radius(*b));
            let order = if name == "smallest" { order } else { order.reverse() };
            order.then(radii.index[*a].cmp(&radii.index[*b]))
        });
        places.truncate(n);
        let edge = places.last().map(|place| radius(*place));
        let tied = decoded.iter().filter(|place| Some(radius(**place)) == edge).count();
        let listed = places.iter().filter(|place| Some(radius(**place)) == edge).count();
        if let Some(edge) = edge.filter(|_| tied > listed) {
            notes.push(format!(
                "{tied} samples share the radius {edge:.4} at the end of the {name}: the first {listed} of them are listed"
            ));
        }
        let sample = |place: &usize| Sample {
            place: *place,
            index: radii.index[*place],
            radius: radius(*place),
            development: vec![],
            file: None,
            label: None,
            seen: Seen::Unknown,
        };
        groups.push(Group { name, samples: places.iter().map(sample).collect() });
    }
    groups
}

/// Fills in the radii after the first, the middle and the last epoch; returns these epochs.
pub(super) fn development(files: &[RadiiFile], groups: &mut [Group]) -> anyhow::Result<Vec<usize>> {
    let last = files.len().saturating_sub(1);
    let mut shown = vec![0, last / 2, last];
    shown.dedup();
    let files: Vec<&RadiiFile> = shown.into_iter().filter_map(|at| files.get(at)).collect();
    for file in &files {
        let radii = file.read()?;
        let radii: BTreeMap<i64, f64> = by_index(&radii).collect();
        for sample in groups.iter_mut().flat_map(|group| &mut group.samples) {
            sample.development.push(radii.get(&sample.index).copied());
        }
    }
    Ok(files.iter().map(|file| file.epoch).collect())
}

/// The run's network, for predictions.
pub(super) struct Predictor {
    frozen: Frozen,
}

impl Predictor {
    /// Opens the weights of a run. An error if they do not fit the images. Adds warnings about them.
    pub(super) fn open(
        run: &Trained,
        file: &Path,
        images: &TrainingImages,
        warnings: &mut Vec<Warning>,
    ) -> anyhow::Result<Self> {
        let pipeline = &run.pipeline;
        let stored = Stored::known(file, pipeline.numerics.into())?;
        let shape = material::look(&images.train, pipeline.dataset.name())?;
        let classes = images.train.classes();
        if let Some(misfit) = stored.misfit(shape, classes.len()) {
            return Err(BadConfig(misfit).into());
        }
        let other =
            stored.classes_of(classes, pipeline.ignore_class_names, IN_PIPELINE).map_err(BadConfig)?;
        warnings.extend(stored.warnings.iter().cloned().chain(other));
        Ok(Self { frozen: stored.frozen(&Device::Cpu)? })
    }

    /// The predicted class of each image of a batch.
    fn decisions(&self, batch: &Batch) -> anyhow::Result<Vec<Option<u32>>> {
        let passes = Passes::default();
        let victim = Victim::new(VictimNetwork::Frozen(&self.frozen), batch, Goal::Mistake, &passes)?;
        Ok(victim.decisions(&batch.pixels)?)
    }
}

/// Fills in classes, file names and predictions, from the images of these samples only.
pub(super) fn look(
    images: &TrainingImages,
    network: Option<&Predictor>,
    groups: &mut [Group],
) -> anyhow::Result<()> {
    let train: &Arc<dyn Source> = &images.train;
    let mut order: Vec<usize> = groups.iter().flat_map(|group| &group.samples).map(|of| of.place).collect();
    order.sort_unstable();
    order.dedup();
    let mut found = BTreeMap::new();
    for raw in Batches::new(train.clone(), order, BATCH, None) {
        let raw = raw.map_err(temper_core::Error::from)?;
        for (place, _) in &raw.skipped {
            let place = *place as usize;
            found.insert(place, (train.label(place), Seen::Undecoded));
        }
        if raw.ids.is_empty() {
            continue;
        }
        let (places, labels) = (raw.ids.clone(), raw.labels.clone());
        let seen = match network {
            Some(network) => {
                let decisions = network.decisions(&Batch::new(raw, &Device::Cpu)?)?;
                decisions.into_iter().map(Seen::Predicted).collect()
            }
            None => vec![Seen::Unknown; places.len()],
        };
        for ((place, label), seen) in places.into_iter().zip(labels).zip(seen) {
            found.insert(place as usize, (Some(label), seen));
        }
    }
    for sample in groups.iter_mut().flat_map(|group| &mut group.samples) {
        sample.file = train.name(sample.place);
        if let Some((label, seen)) = found.get(&sample.place) {
            (sample.label, sample.seen) = (*label, *seen);
        }
    }
    Ok(())
}
