//! The evaluations at the end of a run, with its last weights, its best weights, or both.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, bail};
use serde_json::json;
use sha2::{Digest, Sha256};
use temper_core::nn::{Classifier, Frozen};
use temper_core::{Device, Source};
use temper_evaluate::{
    BatchGlimpse, Cell, Compared, Entry, Inspection, Outcome, Setting, Surrogate, compare, digest_of,
    estimate, evaluate, inspect, superseded,
};
use temper_files::hex;
use temper_results::{Best, Evaluation, Records, Warning};
use temper_train::{State, load_weights};

use crate::config::{NumericsOption, Pipeline};
use crate::device::DeviceName;
use crate::interrupt::Interrupt;
use crate::material::Material;
use crate::progress::{Ahead, EvaluationBar, announce, evaluated};
use crate::run_dir::{BEST, MODEL, RunDir};
use crate::select::Which;
use crate::stored::{epoch_of, sha256};

/// Weights to evaluate.
pub(crate) struct JudgedWeights {
    /// Their name in `results.json`: `last` or `best`.
    pub(crate) word: &'static str,
    /// Their file in the run's folder.
    pub(crate) file: &'static str,
    /// The epoch of these weights, from 1.
    epoch: usize,
    /// SHA-256 of their file.
    pub(crate) sha256: String,
    pub(crate) frozen: Frozen,
}

/// The weights that the pipeline evaluates.
pub(crate) fn judged(
    pipeline: &Pipeline,
    state: &State,
    dir: &RunDir,
    best: Option<Best>,
    device: &Device,
) -> anyhow::Result<Vec<JudgedWeights>> {
    let network = || state.classifier.network().clone();
    let mut all = vec![];
    let which = pipeline.select.as_ref().map_or(Which::Last, |select| select.weights);
    if let (Which::Best | Which::Both, Some(Best { epoch, .. })) = (which, best) {
        let file = dir.best();
        if epoch_of(&file)? != Some(epoch) {
            bail!(
                "{} does not hold the weights of epoch {epoch}\n  judge the last ones, with `--set select.weights=last`, or \
                 start anew with --force",
                file.display()
            );
        }
        let classifier = Classifier::new(network(), &load_weights(&file)?.tensors)
            .with_context(|| file.display().to_string())?
            .to_device(device)?;
        let frozen = Frozen::new(&classifier)?;
        all.push(JudgedWeights { word: "best", file: BEST, epoch, sha256: sha256(&file)?, frozen });
    }
    if which != Which::Best {
        let frozen = Frozen::new(&Classifier::new(network(), &state.result())?)?;
        all.push(JudgedWeights {
            word: "last",
            file: MODEL,
            epoch: state.epoch,
            sha256: sha256(&dir.model())?,
            frozen,
        });
    }
    Ok(all)
}

/// The results of all evaluations.
pub(crate) struct RunOutcome {
    /// The entries for `results.json`.
    pub(crate) evaluations: Vec<Evaluation>,
    /// Test images that could not be decoded, by their index in the whole data set, with the reason.
    pub(crate) unreadable: BTreeMap<u64, String>,
    /// The hash of all test images, if an evaluation used all of them.
    pub(crate) data: Option<String>,
    /// Warnings about all numbers of a network.
    pub(crate) warnings: Vec<Warning>,
}

/// Runs all evaluations of all weights. Each evaluated batch is recorded in the run's folder and not
/// evaluated again.
pub(crate) fn judge(
    pipeline: &Pipeline,
    material: &Material,
    judged: &[JudgedWeights],
    dir: &RunDir,
    device: &Device,
    interrupt: &Interrupt,
) -> anyhow::Result<RunOutcome> {
    let mut hashes = Hashes::default();
    let arithmetic = Arithmetic { seed: pipeline.seed, device: pipeline.device, numerics: pipeline.numerics };
    let mut work = vec![];
    for weights in judged {
        for (entry, needs) in pipeline.evaluate.iter().zip(&material.judged) {
            let Some(data) = hashes.of(entry, &needs.cells, interrupt)? else {
                return Err(interrupt.stopped("before the evaluations; training is done and kept"));
            };
            let surrogate = needs.surrogate.as_ref().map(|stored| stored.sha256.as_str());
            let key = arithmetic.key(entry, [Some(&weights.sha256), Some(&data), surrogate])?;
            work.push((weights, entry, needs, key));
        }
    }
    // Records of evaluations that are no longer in the pipeline are kept.
    let mut records = Records::open(&dir.records(), |line| {
        let now = work
            .iter()
            .find(|(weights, entry, ..)| weights.word == line.weights && entry.name == line.evaluation);
        now.is_none_or(|(_, _, needs, key)| !superseded(line, key, &needs.cells))
    })?;
    let inspections = inspections(pipeline, material, judged, device, interrupt)?;
    let (mut outcomes, mut surrogates, mut unreadable) = (vec![], vec![], BTreeMap::new());
    let mut selections = BTreeSet::new();
    let mut ahead = ahead(pipeline, material, judged.len());
    for (weights, entry, needs, key) in &work {
        let samples = needs.cells.iter().map(|cell| cell.source.len()).sum();
        let crafting = needs.surrogate.as_ref().map(|stored| stored.frozen(device)).transpose()?;
        let name = entry.surrogate.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let setting = Setting {
            network: &weights.frozen,
            weights: weights.word,
            epoch: Some(weights.epoch),
            judged_by: None,
            surrogate: needs.surrogate.as_ref().zip(crafting.as_ref()).map(|(stored, network)| Surrogate {
                network,
                name: &name,
                sha256: &stored.sha256,
            }),
            trained_in: pipeline.train.attacked_in(),
            radii: None,
            batch: pipeline.train.batch.get(),
            seed: pipeline.seed,
            device,
            key: key.clone(),
            pulse: None,
        };
        ahead.begin();
        announce(&entry.name, estimate(&setting, entry, &needs.cells[0], &records)?.as_ref());
        let shown = EvaluationBar::new(&entry.name, samples, Some(interrupt)).before(&ahead);
        let mut watch = |glimpse: &BatchGlimpse| shown.glimpse(glimpse);
        let setting = Setting { pulse: Some(shown.pulse(setting.most_passes(entry))), ..setting };
        let outcome = evaluate(&setting, entry, &needs.cells, &mut records, &mut watch);
        drop(shown);
        if let Ok(Some(outcome)) = &outcome {
            let e = &outcome.evaluation;
            ahead.learn((e.forwards + e.backwards) as f64, e.seconds);
        }
        let Some(outcome) = outcome.with_context(|| format!("evaluation `{}`", entry.name))? else {
            let what = format!("in the evaluation `{}`; training and what is judged are kept", entry.name);
            return Err(interrupt.stopped(&what));
        };
        evaluated(&outcome.evaluation);
        unreadable.extend(outcome.unreadable.clone());
        outcomes.push(outcome);
        // Once for each network and selection of images.
        let selection =
            needs.surrogate.as_ref().map(|stored| (&stored.sha256, entry.samples, &entry.indices));
        if selection.is_some_and(|selection| selections.insert(selection)) {
            surrogates.extend(unperturbed(&setting, entry, &needs.cells[0], interrupt)?);
        }
    }
    let Compared { evaluations, warnings } = compare(outcomes, surrogates, &inspections);
    Ok(RunOutcome { evaluations, unreadable, data: hashes.whole(), warnings })
}

/// The evaluations of so many sets of weights.
pub(crate) fn ahead(pipeline: &Pipeline, material: &Material, weights: usize) -> Ahead {
    let classes = material.network.classes();
    let of_each = || {
        pipeline.evaluate.iter().zip(&material.judged).map(|(entry, needs)| {
            let samples = needs.cells.iter().map(|cell| cell.source.len()).sum();
            entry.most_passes(classes, samples)
        })
    };
    Ahead::of((0..weights).flat_map(|_| of_each()))
}

/// The evaluation of an entry's surrogate network on the unperturbed images of the entry; `None` without a surrogate.
/// Only checks use it.
fn unperturbed(
    setting: &Setting,
    entry: &Entry,
    cell: &Cell,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Outcome>> {
    let Some(surrogate) = &setting.surrogate else { return Ok(None) };
    let own = Setting::new(surrogate.network, setting.batch, setting.seed, setting.device);
    let own = Setting { judged_by: Some(surrogate.name), pulse: Some(interrupt.pulse()), ..own };
    let natural = Entry { name: surrogate.name.into(), ..Entry::default() };
    let cells = [Cell::clean(cell.source.clone())];
    let watch = &mut |_: &BatchGlimpse| ControlFlow::Continue(());
    let outcome = evaluate(&own, &natural, &cells, &mut Records::in_memory(), watch)
        .with_context(|| format!("the surrogate network of `{}`", entry.name))?;
    match outcome {
        None => Err(interrupt.stopped("between two evaluations; training and what is judged are kept")),
        outcome => Ok(outcome),
    }
}

/// Inspects all evaluated weights, on images of the evaluation with the most images.
fn inspections(
    pipeline: &Pipeline,
    material: &Material,
    judged: &[JudgedWeights],
    device: &Device,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Inspection>> {
    let all = material.judged.iter().map(|needs| &needs.cells[0]);
    let Some(cell) = all.rev().max_by_key(|cell| cell.source.len()) else { return Ok(vec![]) };
    let mut inspections = vec![];
    for weights in judged {
        let classes = weights.frozen.network().classes();
        let gradients = pipeline.evaluate.iter().any(|entry| entry.follows_gradients(classes));
        let setting = Setting::new(&weights.frozen, pipeline.train.batch.get(), pipeline.seed, device);
        let setting = Setting { weights: weights.word, pulse: Some(interrupt.pulse()), ..setting };
        let found = inspect(&setting, cell, gradients).context("the inspection of the network")?;
        if interrupt.heard() {
            let what = "in the inspection of the network; training and what is judged are kept";
            return Err(interrupt.stopped(what));
        }
        inspections.extend(found);
    }
    Ok(inspections)
}

/// Hashes of the images of evaluations, cached by the selection of images.
#[derive(Default)]
struct Hashes(BTreeMap<(Option<NonZeroUsize>, Option<Vec<usize>>), String>);

impl Hashes {
    /// The hash of an evaluation's clean images; `None` if interrupted.
    fn of(&mut self, entry: &Entry, cells: &[Cell], interrupt: &Interrupt) -> anyhow::Result<Option<String>> {
        let choice = (entry.samples, entry.indices.clone());
        if let Some(hash) = self.0.get(&choice) {
            return Ok(Some(hash.clone()));
        }
        let hash = hash(&cells[0].source, interrupt)?;
        self.0.extend(hash.clone().map(|hash| (choice, hash)));
        Ok(hash)
    }

    /// The hash of all test images, if an evaluation used all of them.
    fn whole(&self) -> Option<String> {
        self.0.get(&(None, None)).cloned()
    }
}

/// The hash of all these images, in one pass over them; `None` if interrupted.
pub(crate) fn hash(test: &Arc<dyn Source>, interrupt: &Interrupt) -> anyhow::Result<Option<String>> {
    let shown = EvaluationBar::new("hash of the test images", test.len(), Some(interrupt));
    let hash = digest_of(test, &mut |done| shown.count(done)).context("the test images");
    Ok(hash?.map(|hash| hash.to_string()))
}

/// The settings that determine how numbers are computed.
pub(crate) struct Arithmetic {
    pub(crate) seed: u64,
    pub(crate) device: DeviceName,
    pub(crate) numerics: NumericsOption,
}

impl Arithmetic {
    /// A hash of everything that an evaluation's numbers depend on: the hashes of weights, of data, and of
    /// the surrogate network or the individual radii; the entry, seed and arithmetic.
    pub(crate) fn key(&self, entry: &Entry, hashes: [Option<&str>; 3]) -> anyhow::Result<String> {
        // The selection of corruptions decides which cells exist, not their contents.
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

/// The hash of this program; another program may compute other numbers.
fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let file = std::env::current_exe().ok().and_then(|file| sha256(&file).ok());
        file.unwrap_or_else(|| env!("CARGO_PKG_VERSION").into())
    })
}
