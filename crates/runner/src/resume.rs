//! Where a resumed run begins: where its last checkpoint says, or anew if it was killed before the first.

use anyhow::{Context, bail};
use temper_train::{Checkpoint, Progress, State, Trainer, put_aside};

use crate::config::Pipeline;
use crate::material::Material;
use crate::run_dir::RunDir;
use crate::say;

/// The state to start from, and the metrics of the epochs done, a line each.
pub(crate) fn resumed(
    pipeline: &Pipeline,
    trainer: &Trainer,
    material: &Material,
    dir: &RunDir,
) -> anyhow::Result<(State, Vec<String>)> {
    let samples = material.train.len();
    let file = dir.checkpoint();
    let Some((checkpoint, doubt)) = Checkpoint::newest(&file)? else {
        dir.must_be_fresh()?;
        return Ok((trainer.start(material.network.clone(), samples)?, vec![]));
    };
    let theirs: toml::Table =
        checkpoint.config.parse().with_context(|| format!("{}: damaged configuration", file.display()))?;
    let mut changed = vec![];
    differences("", &theirs.into(), &trained_by(pipeline, material)?.into(), &mut changed);
    if !changed.is_empty() {
        bail!(
            "{} belongs to another configuration\n  {}\n  undo the change, or start anew with --force or --out DIR",
            file.display(),
            changed.join("\n  ")
        );
    }
    let (network, metrics) = (material.network.clone(), checkpoint.metrics.clone());
    let state = trainer
        .restore(network, samples, checkpoint)
        .map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
    if let Some(doubt) = doubt {
        let aside = match file.exists() {
            true => format!("; it is kept as {}", put_aside(&file)?.display()),
            false => String::new(),
        };
        say(&format!(
            "note    {doubt}{aside}\n        the checkpoint before it is whole and serves instead\n"
        ))?;
    }
    say(&format!("resume  {}\n", reached(pipeline, material, state.epoch, state.progress)))?;
    Ok((state, metrics))
}

/// "after epoch 2 of 5", "after batch 7 of 79 of epoch 3".
pub(crate) fn reached(pipeline: &Pipeline, material: &Material, epoch: usize, progress: Progress) -> String {
    let (epochs, batch) = (pipeline.train.epochs, pipeline.train.batch.get());
    match progress.batches {
        0 if epoch == 0 => "before the first batch".into(),
        0 => format!("after epoch {epoch} of {epochs}"),
        n => {
            let batches = material.train.len().div_ceil(batch);
            format!("after batch {n} of {batches} of epoch {} of {epochs}", epoch + 1)
        }
    }
}

/// What decides the trained network: the pipeline's part and the number of images.
pub(crate) fn trained_by(pipeline: &Pipeline, material: &Material) -> anyhow::Result<toml::Table> {
    let mut table = pipeline.trained_by()?;
    let samples = toml::Value::Integer(i64::try_from(material.train.len())?);
    table.insert("data".into(), toml::Table::from_iter([("samples".to_string(), samples)]).into());
    Ok(table)
}

/// Where two configurations differ, as "key: was a, is now b".
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
