//! `temper run`: train, evaluate, write the results.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use temper_core::{Device, Source};
use temper_report::Results;
use temper_train::{
    Checkpoint, EpochReport, Percentiles, State, Trainer, save_atomically, save_radii, save_weights,
};

use crate::config::Pipeline;
use crate::device::DeviceName;
use crate::interrupt::Interrupt;
use crate::judge::{Judged, Outcome, judge, judged, versions};
use crate::machine::machine;
use crate::material::{Material, parameters, skipped};
use crate::output::say;
use crate::progress;
use crate::resume::{Beginning, kept, reached, resumed};
use crate::run_dir::{Mode, RunDir};
use crate::select::{Best, unreadable};
use crate::warnings::told;

/// Options of `temper run`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The pipeline
    file: PathBuf,
    /// Change a value of the pipeline, for example `--set train.epochs=2`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Device to run on, instead of the pipeline's
    #[arg(long)]
    device: Option<DeviceName>,
    /// Folder to write into, instead of runs/NAME-OF-FILE
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in that folder from its last checkpoint
    #[arg(long)]
    resume: bool,
    /// Replace the run in that folder
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    // A change like others, so that what a pipeline asks of its device is asked of this one.
    let mut sets = options.sets.clone();
    sets.extend(options.device.map(|device| format!("device={device}")));
    let pipeline = Pipeline::load(&options.file, &sets)?;
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let device = pipeline.device.open()?;
    let mode = match (options.resume, options.force) {
        (true, _) => Mode::Resume,
        (_, true) => Mode::Overwrite,
        _ => Mode::New,
    };
    let default = || PathBuf::from("runs").join(options.file.file_stem().unwrap_or_default());
    let dir = RunDir::choose(options.out.clone().unwrap_or_else(default), mode)?;
    let material = Material::open(&pipeline)?;
    let trainer = Trainer::new(&pipeline.train, pipeline.seed, &device);
    let fresh = match mode {
        Mode::Resume => None,
        _ => Some(Beginning::fresh(&pipeline, &trainer, &material)?),
    };
    let dir = dir.take()?;
    let Beginning { mut state, metrics, classes, warnings, initial } = match fresh {
        Some(fresh) => fresh,
        None => resumed(&pipeline, &trainer, &material, &dir)?,
    };
    let mut warnings = [&*material.warnings, &warnings].concat();
    dir.prepare(&pipeline.resolved()?)?;
    say(&format!(
        "data    {} training, {}{} test images\n        {}\nmodel   {}, {} trained parameters\nrun     {}\n",
        material.train.len(),
        material
            .held_out
            .as_ref()
            .map_or_else(String::new, |held_out| format!("{} held out, ", held_out.len())),
        material.test.len(),
        material.train.origin(),
        pipeline.model.name(),
        parameters(&material.network),
        dir.path().display(),
    ));
    say(&told(&warnings));
    let work = Work {
        pipeline: &pipeline,
        trainer: &trainer,
        material: &material,
        classes: &classes,
        initial: &initial,
        dir: &dir,
        device: &device,
    };
    let metrics = train(&work, &mut state, metrics, &interrupt)?;
    save_weights(&dir.model(), &state.result(), work.about().to_string())?;
    warnings.extend(after_training(&pipeline, &state));
    warnings.extend(without_gradient(&metrics, material.train.len()));
    let judged = judged(&pipeline, &state, &dir, Best::of(&metrics), &device)?;
    let outcome = judge(&pipeline, &material, &judged, &dir, &device, &interrupt)?;
    let mut results = results(&pipeline, &material, &state, &metrics, (&judged, &outcome));
    results["warnings"] = json!(warnings);
    if classes != material.train.classes() {
        results["dataset"]["other_classes"] = json!(true);
    }
    save_atomically(&dir.results(), (serde_json::to_string_pretty(&results)? + "\n").as_bytes())?;
    let table = Results::read(&dir.results())?.table();
    say(&format!(
        "\n{table}\n{}{}\n",
        left_out(&material, &state, &metrics, &outcome.unreadable),
        closing(&state, &dir)
    ));
    Ok(())
}

/// Samples at which the training attack or a probe did not see where to go, in the epoch that had most of them.
fn without_gradient(metrics: &[String], samples: usize) -> Option<String> {
    let epochs = metrics.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let (n, epoch) = epochs.filter_map(|e| Some((e["vanished"].as_u64()?, e["epoch"].as_u64()?))).max()?;
    (n > 0).then(|| {
        format!(
            "in epoch {epoch} the training attack or a probe met a gradient of exactly 0 at {n} of {samples} samples ({:.1} %) that were \
             still classified correctly: it could not see where to go, and was too weak for them",
            n as f64 * 100.0 / samples.max(1) as f64
        )
    })
}

/// What the radii that training ended with say of its attack, whose steps may have become too long or too short for them.
fn after_training(pipeline: &Pipeline, state: &State) -> Vec<String> {
    let (Some(attack), Some(radii)) = (&pipeline.train.attack.0, Percentiles::of(&state.radii())) else {
        return vec![];
    };
    // Said once is enough.
    let told = pipeline.train.attack_doubt().is_some();
    let mut warnings = vec![];
    for (which, radius) in
        [("half of all radii ended at or below", radii.p50), ("5 % of all radii ended above", radii.p95)]
    {
        let Some(doubt) = attack.doubt(radius).filter(|_| radius > 0.0 && !told) else {
            continue;
        };
        warnings.push(format!("{which} {radius:.4}, for which the training attack is doubtful: {doubt}"));
    }
    warnings
}

/// A run, and what it works with.
struct Work<'a> {
    pipeline: &'a Pipeline,
    trainer: &'a Trainer<'a>,
    material: &'a Material,
    /// What the run calls its classes.
    classes: &'a [String],
    /// What speaks against the weights that it started from.
    initial: &'a [String],
    dir: &'a RunDir,
    device: &'a Device,
}

impl Work<'_> {
    /// What a file of weights says of them.
    fn about(&self) -> Value {
        json!({
            "model": self.pipeline.model,
            "input": self.material.network.input_shape(),
            "classes": self.classes,
        })
    }

    /// Keeps what is to be kept of an epoch beside its checkpoint, and adds its line to the metrics. Returns the accuracy on
    /// the images held out.
    fn keep(
        &self,
        state: &State,
        report: &EpochReport,
        metrics: &mut Vec<String>,
    ) -> anyhow::Result<Option<f64>> {
        if !state.memory.is_empty() {
            save_radii(&self.dir.radii(state.epoch), &state.memory, &*self.material.train)?;
        }
        let mut line = serde_json::to_value(report)?;
        let (select, epochs) = (&self.pipeline.select, self.pipeline.train.epochs.get());
        let accuracy = match (select, &self.material.held_out) {
            (Some(select), Some(held_out)) if select.due(state.epoch, epochs) => {
                Some(select.judge(self.pipeline, held_out, state, self.device, &mut line)?)
            }
            _ => None,
        };
        metrics.push(line.to_string());
        if accuracy.is_some() && Best::of(metrics).is_some_and(|best| best.epoch == state.epoch) {
            let mut about = self.about();
            about["epoch"] = json!(state.epoch);
            save_weights(&self.dir.best(), &state.result(), about.to_string())?;
        }
        self.dir.write_metrics(metrics)?;
        Ok(accuracy)
    }
}

/// Trains what is missing; returns the metrics of all epochs, a line each.
fn train(
    work: &Work,
    state: &mut State,
    mut metrics: Vec<String>,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<String>> {
    let Work { pipeline, trainer, material, dir, .. } = *work;
    let epochs = pipeline.train.epochs.get();
    let config = toml::to_string(&kept(pipeline, material, work.classes, work.initial)?)?;
    let save = |state: &State, metrics: &[String]| {
        let checkpoint = Checkpoint {
            epoch: state.epoch,
            progress: state.progress,
            metrics: metrics.to_vec(),
            skipped: state.skipped.clone(),
            config: config.clone(),
            weights: state.classifier.weights(),
            velocity: state.sgd.velocity().clone(),
            average: state.average.clone(),
            memory: state.memory.clone(),
        };
        checkpoint.save(&dir.checkpoint())
    };
    // Before anything else is there: where there is more than a checkpoint, there is one.
    if !dir.checkpoint().exists() {
        save(state, &metrics)?;
    }
    dir.write_metrics(&metrics)?;
    dir.forget_epochs_after(state.epoch)?;
    let every = Duration::from_secs_f64(60.0 * pipeline.checkpoint_minutes.get().min(1e9));
    let mut watch = progress::Training::new(epochs, state.epoch, every, interrupt.clone());
    while state.epoch < epochs {
        if !interrupt.heard() {
            let result = trainer.epoch(state, &material.train, &mut watch);
            if let Some(report) = result.inspect_err(|_| watch.finish())? {
                let held_out = work.keep(state, &report, &mut metrics)?;
                watch.epoch(&report, held_out);
            }
        }
        // The checkpoint comes last: whatever it counts as done is already on disk.
        save(state, &metrics)?;
        watch.saved();
        if interrupt.heard() && state.epoch < epochs {
            watch.finish();
            let reached = reached(pipeline, material, state.epoch, state.progress);
            return Err(interrupt.stopped(&format!("{reached}; all of it is kept")));
        }
    }
    watch.finish();
    Ok(metrics)
}

/// `results.json`: an interface. Keys may be added, never renamed.
fn results(
    pipeline: &Pipeline,
    material: &Material,
    state: &State,
    lines: &[String],
    (judged, outcome): (&[Judged], &Outcome),
) -> Value {
    let best = Best::of(lines);
    let metrics: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let sum = |key: &str| metrics.iter().filter_map(|m| m[key].as_f64()).sum::<f64>();
    let source = |source: &Arc<dyn Source>, unreadable: &BTreeMap<u64, String>| {
        let mut source = json!({ "origin": source.origin(), "n": source.len() });
        if !unreadable.is_empty() {
            source["unreadable"] = unreadable.values().cloned().collect();
        }
        source
    };
    let train = source(&material.train, &state.skipped);
    let mut test = source(&material.test, &outcome.unreadable);
    if let Some(hash) = &outcome.data {
        test["hash"] = json!(hash);
    }
    if material.also_trained_on > 0 {
        test["also_trained_on"] = json!(material.also_trained_on);
    }
    let sha256: BTreeMap<&str, &str> =
        judged.iter().map(|judged| (judged.word, judged.sha256.as_str())).collect();
    let mut results = json!({
        "evaluations": outcome.evaluations,
        "seed": pipeline.seed,
        "versions": versions(),
        "machine": machine(),
        "dataset": { "name": pipeline.dataset.name(), "train": train, "test": test },
        "model": { "name": pipeline.model.name(), "parameters": parameters(&material.network), "sha256": sha256 },
        "training": {
            "epochs": state.epoch,
            "seconds": sum("seconds"),
            "forwards_per_sample": sum("forwards"),
            "backwards_per_sample": sum("backwards"),
        },
    });
    if let Some(held_out) = &material.held_out {
        results["dataset"]["held_out"] = source(held_out, &unreadable(lines));
    }
    if let Some(best) = best {
        results["best"] = json!({ "epoch": best.epoch, "accuracy": best.accuracy });
    }
    if let Some(norm) = pipeline.train.attacked_in() {
        results["training"]["norm"] = json!(norm);
    }
    if pipeline.train.ema.is_some() {
        results["training"]["averaged"] = json!(true);
    }
    if let Some(radii) = Percentiles::of(&state.radii()) {
        results["radii"] = json!(radii);
    }
    results
}

/// What the data set left out, the first ones by name; nothing where that is nothing.
fn left_out(
    material: &Material,
    state: &State,
    metrics: &[String],
    unread: &BTreeMap<u64, String>,
) -> String {
    let told = |what: &str, of: usize, unreadable: &_| skipped(what, of, unreadable, "see results.json");
    let held_out = material.held_out.as_ref().map_or(0, |held_out| held_out.len());
    told("training", material.train.len(), &state.skipped)
        + &told("held out", held_out, &unreadable(metrics))
        + &told("test", material.test.len(), unread)
}

fn closing(state: &State, dir: &RunDir) -> String {
    let radii = Percentiles::of(&state.radii()).map_or_else(String::new, |Percentiles { p5, p50, p95 }| {
        format!("radii   5 % below {p5:.4}, median {p50:.4}, 5 % above {p95:.4}\n")
    });
    format!("{radii}written to {}", dir.path().display())
}
