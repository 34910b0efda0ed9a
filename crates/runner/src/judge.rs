//! The evaluations at the end of a run: of its last weights, its best, or both.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use temper_core::nn::{Classifier, Frozen};
use temper_core::{Device, Source};
use temper_data::hex;
use temper_evaluate::{DataDigest, Entry, Glimpse, Records, Setting, evaluate};
use temper_report::percent;
use temper_train::{State, load_about, load_weights};

use crate::config::Pipeline;
use crate::interrupt::Interrupt;
use crate::material::Material;
use crate::progress;
use crate::run_dir::RunDir;
use crate::select::{Best, Which};
use crate::stored::sha256;

/// Weights to be judged.
pub(crate) struct Judged {
    /// The word for them in `results.json`.
    pub(crate) word: &'static str,
    /// Epoch that left them, from 1.
    epoch: usize,
    /// SHA-256 of their file.
    pub(crate) sha256: String,
    frozen: Frozen,
}

/// The weights that the pipeline wants judged.
pub(crate) fn judged(
    pipeline: &Pipeline,
    state: &State,
    dir: &RunDir,
    best: Option<Best>,
    device: &Device,
) -> anyhow::Result<Vec<Judged>> {
    let network = || state.classifier.network().clone();
    let mut all = vec![];
    let which = pipeline.select.as_ref().map_or(Which::Last, |select| select.judge);
    if let (Which::Best | Which::Both, Some(Best { epoch, .. })) = (which, best) {
        let file = dir.best();
        let about: Option<Value> = load_about(&file)?.and_then(|about| serde_json::from_str(&about).ok());
        if about.as_ref().and_then(|about| about["epoch"].as_u64()) != Some(epoch as u64) {
            bail!(
                "{} does not hold the weights of epoch {epoch}\n  judge the last ones, with `--set select.judge=last`, or \
                 start anew with --force",
                file.display()
            );
        }
        let classifier = Classifier::new(network(), &load_weights(&file)?)
            .with_context(|| file.display().to_string())?
            .to_device(device)?;
        let frozen = Frozen::new(&classifier)?;
        all.push(Judged { word: "best", epoch, sha256: sha256(&file)?, frozen });
    }
    if which != Which::Best {
        let frozen = Frozen::new(&Classifier::new(network(), &state.result())?)?;
        all.push(Judged { word: "last", epoch: state.epoch, sha256: sha256(&dir.model())?, frozen });
    }
    Ok(all)
}

/// What evaluations gave.
pub(crate) struct Outcome {
    /// As `results.json` has them.
    pub(crate) evaluations: Vec<Value>,
    /// Test images that could not be decoded, by their index in the whole data set, with the reason.
    pub(crate) unreadable: BTreeMap<u64, String>,
    /// A hash of all test images.
    pub(crate) data: String,
}

/// All evaluations of all these weights. Each batch that is judged is kept in the run's folder, and not judged again.
pub(crate) fn judge(
    pipeline: &Pipeline,
    material: &Material,
    judged: &[Judged],
    dir: &RunDir,
    device: &Device,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let data = hash(&material.test, interrupt)?;
    let entries = || pipeline.evaluate.iter().zip(&material.judged);
    let mut work = vec![];
    for weights in judged {
        for (entry, needs) in entries() {
            let crafted_on = needs.crafted_on.as_ref().map(|stored| stored.sha256.as_str());
            work.push((
                weights,
                entry,
                needs,
                key(pipeline, entry, [Some(&weights.sha256), Some(&data), crafted_on])?,
            ));
        }
    }
    let keys: BTreeSet<&String> = work.iter().map(|(.., key)| key).collect();
    let mut records = Records::open(&dir.records(), |line| keys.contains(&line.key))?;
    let (mut evaluations, mut unreadable) = (vec![], BTreeMap::new());
    for (weights, entry, needs, key) in &work {
        let bar = progress::evaluation(&entry.name, needs.cells.iter().map(|cell| cell.source.len()).sum());
        let mut watch = |glimpse: &Glimpse| {
            bar.set_position(glimpse.done as u64);
            bar.set_message(percent(glimpse.standing as f64 / glimpse.done.max(1) as f64));
            if interrupt.heard() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let crafted_on = needs.crafted_on.as_ref().map(|stored| stored.frozen(device)).transpose()?;
        let setting = Setting {
            network: &weights.frozen,
            weights: weights.word,
            crafted_on: crafted_on.as_ref(),
            batch: pipeline.train.batch.get(),
            seed: pipeline.seed,
            device,
            key: key.clone(),
        };
        let evaluation = evaluate(&setting, entry, &needs.cells, &mut records, &mut watch);
        bar.finish_and_clear();
        let Some(evaluation) = evaluation.with_context(|| format!("evaluation `{}`", entry.name))? else {
            let what = format!("in the evaluation `{}`; training and what is judged are kept", entry.name);
            return Err(interrupt.stopped(&what));
        };
        unreadable.extend(evaluation.unreadable.clone());
        let mut evaluation = serde_json::to_value(evaluation)?;
        evaluation["weights"] = json!(weights.word);
        evaluation["epoch"] = json!(weights.epoch);
        evaluations.push(evaluation);
    }
    Ok(Outcome { evaluations, unreadable, data })
}

/// A hash of all test images: one pass over them.
fn hash(test: &Arc<dyn Source>, interrupt: &Interrupt) -> anyhow::Result<String> {
    let bar = progress::evaluation("hash of the test images", test.len());
    let mut watch = |done: usize| {
        bar.set_position(done as u64);
        if interrupt.heard() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let hash = DataDigest::of_source(test, &mut watch).context("the test images");
    bar.finish_and_clear();
    match hash? {
        Some(hash) => Ok(hash.to_string()),
        None => Err(interrupt.stopped("before the evaluations; training is done and kept")),
    }
}

/// All that an evaluation's numbers depend on, hashed: weights, data, the network to craft on, the entry, seed and arithmetic.
fn key(pipeline: &Pipeline, entry: &Entry, hashes: [Option<&str>; 3]) -> anyhow::Result<String> {
    let all = json!({
        "temper": env!("CARGO_PKG_VERSION"),
        "hashes": hashes,
        "seed": pipeline.seed,
        "device": pipeline.device,
        "numerics": pipeline.numerics,
        "entry": entry,
    });
    Ok(hex(&Sha256::digest(serde_json::to_vec(&all)?)[..16]))
}
