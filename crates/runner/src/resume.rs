//! The starting point of a resumed run: its last checkpoint, or the beginning if it was killed before the
//! first.

use anyhow::{Context, bail};
use temper_data::Classes;
use temper_results::{Epoch, Warning};
use temper_train::{Checkpoint, Progress, State, Trainer, put_aside};

use crate::classes::{IN_PIPELINE, compared};
use crate::config::{BadConfig, Pipeline};
use crate::init_radii::{InitRadii, named_hash};
use crate::material::Material;
use crate::other_epochs::OtherEpochs;
use crate::output::{inform, say};
use crate::run_dir::RunDir;
use crate::stored::{Stored, sha256};

/// The starting point of a run.
pub(crate) struct Beginning {
    pub(crate) state: State,
    /// The metrics of the completed epochs.
    pub(crate) metrics: Vec<Epoch>,
    /// The run's class names, which do not change when it is resumed.
    pub(crate) classes: Vec<String>,
    /// Warnings about its numbers.
    pub(crate) warnings: Vec<Warning>,
    /// The configuration that its checkpoints store, as TOML.
    pub(crate) config: String,
}

impl Beginning {
    /// The starting point before the first epoch.
    pub(crate) fn fresh(
        pipeline: &Pipeline,
        trainer: &Trainer,
        material: &Material,
        dir: &RunDir,
    ) -> anyhow::Result<Self> {
        let mut warnings = material.initial_warnings(pipeline)?;
        let mut state = trainer.start(material.network.clone(), material.train.len())?;
        let radii = InitRadii::open(pipeline, material)?;
        if let Some(radii) = &radii {
            radii.lie_outside(dir, pipeline)?;
            radii.put(material, &mut state.memory);
            warnings.extend(radii.warning.clone());
            inform(&format!("radii   {}\n", radii.matched(pipeline, material)));
        }
        let classes = material.train.classes().to_vec();
        let trained_by = trained_by(pipeline, material, radii.map(|radii| radii.hash))?;
        let config = kept(trained_by, &classes, &warnings)?;
        Ok(Self { state, metrics: vec![], classes, warnings, config })
    }
}

/// The starting point of the run in a folder.
pub(crate) fn resumed(
    pipeline: &Pipeline,
    trainer: &Trainer,
    material: &Material,
    dir: &RunDir,
) -> anyhow::Result<Beginning> {
    let samples = material.train.len();
    let file = dir.checkpoint();
    let Some((checkpoint, warning)) = Checkpoint::newest(&file)? else {
        dir.must_be_fresh()?;
        return Beginning::fresh(pipeline, trainer, material, dir);
    };
    let mut theirs: toml::Table =
        checkpoint.config.parse().with_context(|| format!("{}: damaged configuration", file.display()))?;
    let classes = own_classes(&mut theirs, dir)?.unwrap_or_else(|| material.train.classes().to_vec());
    // The warnings about the initial weights still hold.
    let mut warnings: Vec<Warning> = match taken(&mut theirs, "warnings") {
        Some(warnings) => warnings.try_into().context("damaged warnings in the checkpoint")?,
        None => vec![],
    };
    let from_before = warnings.len();
    let (run, images) = (dir.path().display().to_string(), material.train.classes());
    let run = Classes { by: &run, names: &classes };
    let images = Classes { by: "the images", names: images };
    warnings.extend(compared(run, images, pipeline.ignore_class_names, IN_PIPELINE).map_err(BadConfig)?);
    let (ours, other) = compared_with(theirs, pipeline, material, dir, &checkpoint)?;
    let (network, metrics) = (material.network.clone(), checkpoint.metrics.clone());
    let state = trainer
        .restore(network, samples, checkpoint)
        .map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
    if let Some(warning) = warning {
        let aside = match file.exists() {
            true => format!("; it is kept as {}", put_aside(&file)?.display()),
            false => String::new(),
        };
        say(&format!(
            "note    {warning}{aside}\n        the checkpoint before it is whole and serves instead\n"
        ));
    }
    let was = other.as_ref().map_or(String::new(), OtherEpochs::to_string);
    inform(&format!("resume  {}{was}\n", reached(pipeline, material, state.epoch, state.progress)));
    if let Some(other) = other.filter(|_| state.epoch < pipeline.train.epochs)
        && let Some(aside) = dir.put_end_aside(other.was)?
    {
        inform(&format!("        its earlier results, report and model are kept in {}\n", aside.display()));
    }
    let config = kept(ours, &classes, &warnings[..from_before])?;
    Ok(Beginning { state, metrics, classes, warnings, config })
}

/// Compares the configuration of a checkpoint with that of a run. Returns the latter, and the number of epochs if the
/// run goes on with another one. An error lists everything that must not differ.
fn compared_with(
    mut theirs: toml::Table,
    pipeline: &Pipeline,
    material: &Material,
    dir: &RunDir,
    checkpoint: &Checkpoint,
) -> anyhow::Result<(toml::Table, Option<OtherEpochs>)> {
    let radii = theirs.get("train").and_then(|train| train.get("init_radii")?.as_str());
    let ours = trained_by(pipeline, material, named_hash(pipeline, radii)?)?;
    let other = OtherEpochs::adopted(&mut theirs, pipeline);
    let (mut changed, mut advice) = (vec![], String::new());
    differences("", &theirs.into(), &ours.clone().into(), &mut changed);
    if let Some(other) = &other {
        let against = other.against(pipeline, material.train.len(), checkpoint);
        advice = other.advice(&against, pipeline, dir);
        changed.extend(against);
    }
    if changed.is_empty() {
        return Ok((ours, other));
    }
    bail!(
        "{} belongs to another configuration\n  {}\n  undo the change, or start anew with --force or --out DIR{advice}",
        dir.checkpoint().display(),
        changed.join("\n  ")
    )
}

/// Removes and returns a part of a checkpoint's data.
fn taken(config: &mut toml::Table, part: &str) -> Option<toml::Value> {
    config.get_mut("data").and_then(toml::Value::as_table_mut)?.remove(part)
}

/// Removes and returns the class names of a checkpoint. For an older checkpoint, which contains none, they are read
/// from `model.safetensors`, if the run has written it.
fn own_classes(config: &mut toml::Table, dir: &RunDir) -> anyhow::Result<Option<Vec<String>>> {
    if let Some(classes) = taken(config, "classes") {
        return Ok(Some(classes.try_into().context("damaged names of classes in the checkpoint")?));
    }
    match dir.model().exists() {
        true => Ok(Stored::about(&dir.model())?.map(|about| about.classes)),
        false => Ok(None),
    }
}

/// What checkpoints store: the result of [`trained_by`] with the class names and the warnings about the initial
/// weights.
fn kept(mut table: toml::Table, classes: &[String], initial: &[Warning]) -> anyhow::Result<String> {
    if let Some(data) = table.get_mut("data").and_then(toml::Value::as_table_mut) {
        data.insert("classes".into(), toml::Value::try_from(classes)?);
        if !initial.is_empty() {
            data.insert("warnings".into(), toml::Value::try_from(initial)?);
        }
    }
    Ok(toml::to_string(&table)?)
}

/// A position in training, as in "after epoch 2 of 5" or "after batch 7 of 79 of epoch 3".
pub(crate) fn reached(pipeline: &Pipeline, material: &Material, epoch: usize, progress: Progress) -> String {
    let (epochs, batch) = (pipeline.train.epochs, pipeline.train.batch.get());
    match progress.batches {
        _ if epochs == 0 => "with nothing to train".into(),
        0 if epoch == 0 => "before the first batch".into(),
        0 => format!("after epoch {epoch} of {epochs}"),
        n => {
            let batches = material.train.len().div_ceil(batch);
            format!("after batch {n} of {batches} of epoch {} of {epochs}", epoch + 1)
        }
    }
}

/// Everything that determines the trained network: the training part of the pipeline, with the hash of the initial
/// radii in place of their path, and the number of images.
fn trained_by(
    pipeline: &Pipeline,
    material: &Material,
    radii: Option<String>,
) -> anyhow::Result<toml::Table> {
    let mut table = pipeline.trained_by()?;
    let train = table.get_mut("train").and_then(toml::Value::as_table_mut);
    if let (Some(train), Some(radii)) = (train, radii) {
        train.insert("init_radii".into(), radii.into());
    }
    let mut data = toml::Table::new();
    if pipeline.train.trains() {
        data.insert("samples".into(), toml::Value::Integer(i64::try_from(material.train.len())?));
    } else if let Some(file) = &pipeline.train.init {
        // The configuration contains only the path of the file.
        data.insert("weights".into(), sha256(file)?.into());
    }
    // A graph that a file describes is not in the configuration.
    if let Some(graph) = &material.graph {
        data.insert("graph".into(), graph.clone().into());
    }
    table.insert("data".into(), data.into());
    Ok(table)
}

/// The differences between two configurations, as in "key: was a, is now b".
fn differences(path: &str, was: &toml::Value, is: &toml::Value, found: &mut Vec<String>) {
    match (was, is) {
        (toml::Value::Table(was), toml::Value::Table(is)) => {
            let keys: std::collections::BTreeSet<_> = was.keys().chain(is.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (was.get(key), is.get(key)) {
                    (Some(was), Some(is)) => differences(&path, was, is, found),
                    (Some(was), None) => found.push(format!("{path}: was {was}, is now absent")),
                    (None, Some(is)) => found.push(format!("{path}: was absent, is now {is}")),
                    (None, None) => {}
                }
            }
        }
        _ if was == is => {}
        _ => found.push(format!("{path}: was {was}, is now {is}")),
    }
}
