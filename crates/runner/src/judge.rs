//! The evaluations at the end of a run: of its last weights, its best, or both.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use temper_core::nn::{Classifier, Frozen};
use temper_core::{Device, Source};
use temper_data::hex;
use temper_evaluate::{Cell, Crafting, DataDigest, Entry, Glimpse, Records, Setting, evaluate, superseded};
use temper_train::{State, load_about, load_weights};

use crate::config::{Numerics, Pipeline};
use crate::device::DeviceName;
use crate::interrupt::Interrupt;
use crate::material::Material;
use crate::progress;
use crate::run_dir::RunDir;
use crate::select::{Best, Which};
use crate::stored::{Stored, sha256};

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
        let classifier = Classifier::new(network(), &load_weights(&file)?.tensors)
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
    /// A hash of all test images, if all of them were judged.
    pub(crate) data: Option<String>,
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
    let mut hashes = Hashes::default();
    let arithmetic = Arithmetic { seed: pipeline.seed, device: pipeline.device, numerics: pipeline.numerics };
    let mut work = vec![];
    for weights in judged {
        for (entry, needs) in pipeline.evaluate.iter().zip(&material.judged) {
            let Some(data) = hashes.of(entry, &needs.cells, interrupt)? else {
                return Err(interrupt.stopped("before the evaluations; training is done and kept"));
            };
            let crafted_on = needs.crafted_on.as_ref().map(|stored| stored.sha256.as_str());
            let key = arithmetic.key(entry, [Some(&weights.sha256), Some(&data), crafted_on])?;
            work.push((weights, entry, needs, key));
        }
    }
    // What other evaluations left stays: only their names tell that these are not asked for now.
    let mut records = Records::open(&dir.records(), |line| {
        let now = work
            .iter()
            .find(|(weights, entry, ..)| weights.word == line.weights && entry.name == line.evaluation);
        now.is_none_or(|(_, _, needs, key)| !superseded(line, key, &needs.cells))
    })?;
    let (mut evaluations, mut unreadable) = (vec![], BTreeMap::new());
    for (weights, entry, needs, key) in &work {
        let samples = needs.cells.iter().map(|cell| cell.source.len()).sum();
        let shown = progress::Evaluation::new(&entry.name, samples, Some(interrupt));
        let mut watch = |glimpse: &Glimpse| shown.glimpse(glimpse);
        let crafted_on = needs.crafted_on.as_ref().map(|stored| stored.frozen(device)).transpose()?;
        let setting = Setting {
            network: &weights.frozen,
            weights: weights.word,
            crafted_on: needs.crafted_on.as_ref().zip(crafted_on.as_ref()).map(crafting),
            trained_in: pipeline.train.attacked_in(),
            radii: None,
            batch: pipeline.train.batch.get(),
            seed: pipeline.seed,
            device,
            key: key.clone(),
        };
        let evaluation = evaluate(&setting, entry, &needs.cells, &mut records, &mut watch);
        drop(shown);
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
    Ok(Outcome { evaluations, unreadable, data: hashes.whole() })
}

fn crafting<'a>((stored, network): (&'a Stored, &'a Frozen)) -> Crafting<'a> {
    Crafting { network, sha256: &stored.sha256 }
}

/// Hashes of the images that evaluations judge, by the choice of them.
#[derive(Default)]
struct Hashes(BTreeMap<(Option<NonZeroUsize>, Option<Vec<usize>>), String>);

impl Hashes {
    /// Of the images of an evaluation unperturbed. `None`: it was interrupted.
    fn of(&mut self, entry: &Entry, cells: &[Cell], interrupt: &Interrupt) -> anyhow::Result<Option<String>> {
        let choice = (entry.samples, entry.indices.clone());
        if let Some(hash) = self.0.get(&choice) {
            return Ok(Some(hash.clone()));
        }
        let hash = hash(&cells[0].source, interrupt)?;
        self.0.extend(hash.clone().map(|hash| (choice, hash)));
        Ok(hash)
    }

    /// Of all test images, if an evaluation judged them all.
    fn whole(&self) -> Option<String> {
        self.0.get(&(None, None)).cloned()
    }
}

/// A hash of all these images: one pass over them. `None`: it was interrupted.
pub(crate) fn hash(test: &Arc<dyn Source>, interrupt: &Interrupt) -> anyhow::Result<Option<String>> {
    let shown = progress::Evaluation::new("hash of the test images", test.len(), Some(interrupt));
    let hash = DataDigest::of_source(test, &mut |done| shown.count(done)).context("the test images");
    Ok(hash?.map(|hash| hash.to_string()))
}

/// How numbers are computed, whatever of.
pub(crate) struct Arithmetic {
    pub(crate) seed: u64,
    pub(crate) device: DeviceName,
    pub(crate) numerics: Numerics,
}

impl Arithmetic {
    /// All that an evaluation's numbers depend on, hashed: the hashes of weights, of data, and of the network to craft on or the
    /// images' own radii; the entry, seed and arithmetic.
    pub(crate) fn key(&self, entry: &Entry, hashes: [Option<&str>; 3]) -> anyhow::Result<String> {
        // Which corruptions are asked for decides which cells there are, not what is in one.
        let mut entry = serde_json::to_value(entry)?;
        if let Some(corruptions) = entry["corruptions"].as_object_mut() {
            corruptions.remove("only");
            corruptions.remove("severities");
        }
        let all = json!({
            "temper": program(),
            "hashes": hashes,
            "seed": self.seed,
            "device": self.device,
            "numerics": self.numerics,
            "entry": entry,
        });
        Ok(hex(&Sha256::digest(serde_json::to_vec(&all)?)[..16]))
    }
}

/// This program, hashed: numbers of another one may be others.
fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let file = std::env::current_exe().ok().and_then(|file| sha256(&file).ok());
        file.unwrap_or_else(|| env!("CARGO_PKG_VERSION").into())
    })
}

/// What made the numbers.
pub(crate) fn versions() -> Value {
    json!({ "temper": env!("CARGO_PKG_VERSION"), "candle": "0.11.1" })
}
