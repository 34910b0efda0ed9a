//! A run as `temper radii` and `temper show --split train` read it: its pipeline, its radii, its training images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use temper_core::{DataError, Source, Split};
use temper_results::{EpochRadii, Error, RadiiFile, Results, Warning, read_metrics};
use temper_train::Checkpoint;

use crate::config::{BadConfig, Pipeline};
use crate::material::{divided, open, part};
use crate::run_dir::{CONFIG, MARK, marked};
use crate::toml_file;

/// A run's folder and its pipeline.
pub(crate) struct Trained {
    pub(crate) folder: PathBuf,
    pub(crate) pipeline: Pipeline,
}

/// The training split of a run's data set.
pub(crate) struct TrainingImages {
    /// All of it.
    pub(crate) whole: Arc<dyn Source>,
    /// The images that the run trained on, in the order of its radii.
    pub(crate) train: Arc<dyn Source>,
    /// The images held out for the selection of weights, if there is one.
    pub(crate) held_out: Option<Arc<dyn Source>>,
}

impl Trained {
    /// Reads the pipeline of a run. An error if the folder holds no run.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(CONFIG);
        if !marked(&file, MARK) {
            let at = folder.display();
            return Err(
                BadConfig(format!("{at} holds no run: expected the folder that `temper run` wrote")).into()
            );
        }
        let text = toml_file::of_run(&file)?;
        let pipeline = Pipeline::parse(&file.display().to_string(), &text, &[]);
        let pipeline =
            pipeline.map_err(|bad| BadConfig(format!("{bad}\n  is it a run of another version?")))?;
        Ok(Self { folder: folder.into(), pipeline })
    }

    /// The files of its radii, by epoch. The error says why there are none.
    pub(crate) fn radii(&self) -> anyhow::Result<Vec<RadiiFile>> {
        let at = self.folder.display();
        if self.pipeline.train.epsilon.is_none() {
            return Err(BadConfig(format!(
                "{at} was trained without an epsilon policy: there are no radii\n  `epsilon` in [train] names one, for \
                 example epsilon.instance-adaptive"
            ))
            .into());
        }
        match RadiiFile::of(&self.folder) {
            Err(Error::Unfit { file, .. }) => Err(BadConfig(format!(
                "{at} has no radii yet: {} is empty until the first epoch has ended",
                file.display()
            ))
            .into()),
            files => Ok(files?),
        }
    }

    /// Warnings about all numbers of the run; none before it has ended.
    pub(crate) fn warnings(&self) -> anyhow::Result<Vec<Warning>> {
        let file = self.folder.join("results.json");
        if file.is_file() { Ok(Results::read(&file)?.warnings) } else { Ok(vec![]) }
    }

    /// Its training images. `Err` has the reason why these are not known: the data set is not on this machine, or has
    /// other images than the run had.
    pub(crate) fn images(
        &self,
        radii: Option<&EpochRadii>,
    ) -> anyhow::Result<Result<TrainingImages, String>> {
        let pipeline = &self.pipeline;
        let whole = match open(&pipeline.dataset, Split::Train, |message| pipeline.bad_dataset(message)) {
            Ok(whole) => whole,
            Err(error) => match error.downcast_ref::<temper_core::Error>() {
                Some(temper_core::Error::Data(missing @ DataError::Missing { .. })) => {
                    return Ok(Err(missing.to_string()));
                }
                _ => return Err(error),
            },
        };
        let (train, held_out) = divided(pipeline, part(whole.clone(), pipeline.subset.train))?;
        let same = |radii: &EpochRadii| {
            let places = (0..train.len()).map(|at| train.index(at) as i64);
            radii.index.iter().copied().eq(places)
        };
        if radii.is_some_and(|radii| !same(radii)) {
            let origin = train.origin();
            return Ok(Err(format!("the images here are not those that were trained on: {origin}")));
        }
        Ok(Ok(TrainingImages { whole, train, held_out }))
    }

    /// The training images that could not be decoded, by their place in the radii, with the reason; and their number
    /// after an epoch, which is known without the checkpoint, too.
    pub(crate) fn undecoded(&self, epoch: usize) -> anyhow::Result<(BTreeMap<u64, String>, usize)> {
        let file = self.folder.join("metrics.jsonl");
        if !file.is_file() {
            return Ok((BTreeMap::new(), 0));
        }
        let skipped = read_metrics(&file)?.iter().find(|of| of.epoch == epoch).map_or(0, |of| of.skipped);
        if skipped == 0 {
            return Ok((BTreeMap::new(), 0));
        }
        let newest = Checkpoint::newest(&self.folder.join("checkpoint.safetensors"));
        let newest = newest.context("the images that could not be decoded")?;
        Ok((newest.map(|(checkpoint, _)| checkpoint.skipped).unwrap_or_default(), skipped))
    }
}
