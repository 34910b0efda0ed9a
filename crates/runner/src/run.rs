//! `temper run`: trains, evaluates and writes the results.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use temper_core::Device;
use temper_report::table_of;
use temper_results::{
    CommandName, DatasetSummary, Epoch, EpochRadii, NetworkSummary, Percentiles, Results, SplitSummary,
    Training, Warning,
};
use temper_train::{Checkpoint, State, Trainer, save_weights};

use crate::config::Pipeline;
use crate::device::DeviceName;
use crate::interrupt::Interrupt;
use crate::judge::{JudgedWeights, RunOutcome, ahead, judge, judged};
use crate::machine::{machine, versions};
use crate::material::{Material, parameters, skipped};
use crate::normalisation::Trial;
use crate::output::{Logging, event, inform, say, say_as_text};
use crate::profiled::Profiled;
use crate::progress::TrainingBar;
use crate::report;
use crate::resume::{Beginning, reached, resumed};
use crate::run_dir::{Mode, RunDir};
use crate::select::{Which, best, unreadable};
use crate::stored::About;
use crate::summary::{network_summary, split_summary};
use crate::tensorboard::Board;
use crate::warnings::{strictly, warn, warn_of_results};

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
    #[command(flatten)]
    existing: Existing,
    /// End with exit code 1 if a warning is severe: if a number is probably wrong
    #[arg(long)]
    strict: bool,
    /// Write event files for TensorBoard into the run's folder: scalars, histograms of radii, images
    #[arg(long)]
    tensorboard: bool,
    #[command(flatten)]
    logging: Logging,
    /// Print in the end where time went, by kind of work and by layer
    #[arg(long)]
    profile: bool,
}

/// What to do with a run that is already in the folder.
#[derive(Debug, Args)]
struct Existing {
    /// Continue the run in that folder from its last checkpoint
    #[arg(long)]
    resume: bool,
    /// Replace the run in that folder
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    options.logging.choose();
    // Applied like `--set`, so that the checks of the device apply to this one.
    let mut sets = options.sets.clone();
    sets.extend(options.device.map(|device| format!("device={device}")));
    let pipeline = Pipeline::load(&options.file, &sets)?;
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let device = pipeline.device.open()?;
    let mode = Mode::of(options.existing.resume, options.existing.force);
    let default = || PathBuf::from("runs").join(options.file.file_stem().unwrap_or_default());
    let dir = RunDir::choose(options.out.clone().unwrap_or_else(default), mode)?;
    let material = Material::open(&pipeline)?;
    let trainer = Trainer::new(&pipeline.train, pipeline.seed, &device);
    let fresh = match mode {
        Mode::Resume => None,
        _ => Some(Beginning::fresh(&pipeline, &trainer, &material, &dir)?),
    };
    let dir = dir.take()?;
    let Beginning { mut state, metrics, classes, warnings, config } = match fresh {
        Some(fresh) => fresh,
        None => resumed(&pipeline, &trainer, &material, &dir)?,
    };
    let mut warnings = [&*material.warnings, &warnings].concat();
    dir.prepare(&pipeline.resolved()?)?;
    inform(&format!(
        "data    {}\n        {}\nmodel   {}, {} trained parameters\nrun     {}\n",
        material.counts(&pipeline),
        origins(&material),
        pipeline.model.name(),
        parameters(&material.network),
        dir.path().display(),
    ));
    warn(&warnings);
    let work = Work {
        pipeline: &pipeline,
        trainer: &trainer,
        material: &material,
        classes: &classes,
        config: &config,
        dir: &dir,
        device: &device,
    };
    let profiled = options.profile.then(Profiled::start);
    let mut board = Board::create(options.tensorboard, dir.path(), &metrics, &state.skipped);
    let metrics = train(&work, &mut state, metrics, &mut board, &interrupt)?;
    board.images(&material.train, &state.memory, state.epoch);
    save_weights(&dir.model(), &state.result(), work.about(None)?)?;
    let mut told = warnings.clone();
    warnings.extend(after_training(&pipeline, &state));
    warnings.extend(without_gradient(&metrics, material.train.len()));
    let judged = judged(&pipeline, &state, &dir, best(&metrics), &device)?;
    let warning = of_normalisation(&work, &state, &judged, &interrupt)?;
    warn(warning.as_slice());
    told.extend(warning.clone());
    warnings.extend(warning);
    let mut outcome = judge(&pipeline, &material, &judged, &dir, &device, &interrupt)?;
    warnings.append(&mut outcome.warnings);
    let left_out = left_out(&material, &state, &metrics, &outcome.unreadable);
    let results = results(&work, &state, &metrics, warnings, (&judged, outcome))?;
    warn_of_results(&results, &told);
    results.write(&dir.results())?;
    say_as_text(&format!("\n{}\n{left_out}", table_of(&results)));
    event("results", &results);
    board.results(&results);
    inform(&format!("{}\n", closing(&state, &dir)));
    report::beside(dir.path());
    say(&profiled.map(Profiled::tables).unwrap_or_default());
    if options.strict { strictly(&results) } else { Ok(()) }
}

/// The origins of training and test images, on separate lines if they differ.
fn origins(material: &Material) -> String {
    let [train, test] = [material.train.origin(), material.test.origin()];
    if train == test { test } else { format!("{train}\n        {test}") }
}

/// The warning that weights which this run did not train were trained with another normalisation than the model's.
fn of_normalisation(
    work: &Work,
    state: &State,
    judged: &[JudgedWeights],
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Warning>> {
    let Work { pipeline, material, device, .. } = *work;
    let (false, [last]) = (pipeline.train.trains(), judged) else { return Ok(None) };
    let name = pipeline.model.name();
    let trial = Trial {
        model: name,
        parameters: pipeline.model.params(),
        network: &last.frozen,
        weights: state.result(),
        images: material.test.clone(),
        batch: pipeline.train.batch.get(),
        device,
        interrupt,
    };
    let assumed = trial.assumed()?;
    if assumed.is_good() {
        return Ok(None);
    }
    Ok(trial.beside(&assumed)?.warning(&format!("model.{name}")))
}

/// The warning about samples whose gradient vanished in the training attack or a probe, for the epoch with
/// most of them.
fn without_gradient(metrics: &[Epoch], samples: usize) -> Option<Warning> {
    let (n, epoch) = metrics.iter().map(|epoch| (epoch.vanished, epoch.epoch)).max()?;
    let share = n as f64 / samples.max(1) as f64;
    (n > 0).then(|| {
        let text = format!(
            "in epoch {epoch} the training attack or a probe met a gradient of exactly 0 at {n} of {samples} samples ({:.1} %) that were \
             still classified correctly: it could not see where to go, and was too weak for them",
            share * 100.0
        );
        Warning::caution("vanished-gradients-in-training", text).with_figure(share)
    })
}

/// The warning about the training attack at the final radii, for which its steps may be too long or too
/// short.
fn after_training(pipeline: &Pipeline, state: &State) -> Vec<Warning> {
    let (Some(attack), Some(radii)) = (&pipeline.train.attack.0, Percentiles::of(&state.radii())) else {
        return vec![];
    };
    // The warning was already given for the initial radii.
    let told = pipeline.train.attack_warning().is_some();
    let mut warnings = vec![];
    for (which, radius) in
        [("half of all radii ended at or below", radii.p50), ("5 % of all radii ended above", radii.p95)]
    {
        let Some(warning) = attack.warning(radius).filter(|_| radius > 0.0 && !told) else {
            continue;
        };
        let about = format!("{which} {radius:.4}, for which the training attack is doubtful");
        warnings.push(Warning::caution("training-attack", warning).about(about));
    }
    warnings
}

/// A run and its data.
struct Work<'a> {
    pipeline: &'a Pipeline,
    trainer: &'a Trainer<'a>,
    material: &'a Material,
    /// The class names of the run.
    classes: &'a [String],
    /// The configuration that checkpoints store.
    config: &'a str,
    dir: &'a RunDir,
    device: &'a Device,
}

impl Work<'_> {
    /// The metadata of a file of weights. `epoch` is the epoch of selected weights.
    fn about(&self, epoch: Option<usize>) -> anyhow::Result<String> {
        let about = About {
            model: self.pipeline.model.clone(),
            input: self.material.network.input_shape(),
            classes: self.classes.to_vec(),
            epoch,
            graph: self.material.graph.clone(),
        };
        Ok(serde_json::to_string(&about)?)
    }

    /// Stores the files of an epoch, evaluates its weights on the held-out images if they are due, and adds the epoch
    /// to the metrics.
    fn keep(&self, state: &State, mut report: Epoch, metrics: &mut Vec<Epoch>) -> anyhow::Result<()> {
        if !state.memory.is_empty() {
            let index = (0..state.memory.len()).map(|i| self.material.train.index(i) as i64).collect();
            let radii = EpochRadii { epoch: state.epoch, radii: state.memory.clone(), index };
            radii.write(&self.dir.radii(state.epoch))?;
        }
        let (select, epochs) = (&self.pipeline.select, self.pipeline.train.epochs);
        report.held_out = match (select, &self.material.held_out) {
            (Some(select), Some(held_out)) if select.due(state.epoch, epochs) => {
                Some(select.judge(self.pipeline, held_out, state, self.device)?)
            }
            _ => None,
        };
        let judged = report.held_out.is_some();
        metrics.push(report);
        if judged && best(metrics).is_some_and(|best| best.epoch == state.epoch) {
            save_weights(&self.dir.best(), &state.result(), self.about(Some(state.epoch))?)?;
        }
        self.dir.write_metrics(metrics)
    }
}

/// Trains the missing epochs; returns the metrics of all epochs.
fn train(
    work: &Work,
    state: &mut State,
    mut metrics: Vec<Epoch>,
    board: &mut Board,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Epoch>> {
    let Work { pipeline, trainer, material, dir, .. } = *work;
    let epochs = pipeline.train.epochs;
    let save = |state: &State, metrics: &[Epoch]| {
        let checkpoint = Checkpoint {
            epoch: state.epoch,
            progress: state.progress,
            metrics: metrics.to_vec(),
            skipped: state.skipped.clone(),
            config: work.config.into(),
            weights: state.classifier.weights(),
            velocity: state.sgd.velocity().clone(),
            average: state.average.clone(),
            memory: state.memory.clone(),
        };
        checkpoint.save(&dir.checkpoint())
    };
    // The checkpoint is written first, so that a run that has other files can be resumed.
    if !dir.checkpoint().exists() {
        save(state, &metrics)?;
    }
    dir.write_metrics(&metrics)?;
    dir.forget_epochs_after(state.epoch)?;
    let every = Duration::from_secs_f64(60.0 * pipeline.checkpoint_minutes.get().min(1e9));
    let sets = pipeline.select.as_ref().map_or(1, |select| if select.weights == Which::Both { 2 } else { 1 });
    let ahead = ahead(pipeline, material, sets);
    let (done, samples) = (state.epoch, material.train.len());
    let mut watch = TrainingBar::new([epochs, done], samples, ahead, every, interrupt.clone());
    while state.epoch < epochs {
        if !interrupt.heard() {
            let result = trainer.epoch(state, &material.train, &mut watch);
            if let Some(report) = result.inspect_err(|_| watch.finish())? {
                work.keep(state, report, &mut metrics)?;
                if let Some(epoch) = metrics.last() {
                    watch.epoch(epoch);
                    board.epoch(epoch, &state.radii());
                }
            }
        }
        // The checkpoint is written last: everything that it counts as done is already on disk.
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

/// The results of the run.
fn results(
    work: &Work,
    state: &State,
    metrics: &[Epoch],
    warnings: Vec<Warning>,
    (judged, outcome): (&[JudgedWeights], RunOutcome),
) -> anyhow::Result<Results> {
    let Work { pipeline, material, classes, .. } = *work;
    let sum = |of: fn(&Epoch) -> f64| metrics.iter().map(of).sum();
    let network = |weights: &JudgedWeights| {
        let (model, file, sha256) = (&pipeline.model, weights.file.into(), weights.sha256.clone());
        let summary = network_summary(model.name(), model.params(), pipeline.numerics, &material.network)?;
        anyhow::Ok(NetworkSummary {
            label: weights.word.into(),
            file,
            sha256,
            classes: classes.to_vec(),
            ..summary
        })
    };
    let held_out = |source| split_summary(source, &unreadable(metrics));
    let trains = pipeline.train.trains();
    Ok(Results {
        command: CommandName::Run,
        arguments: vec![],
        evaluations: outcome.evaluations,
        warnings,
        seed: pipeline.seed,
        versions: versions(),
        machine: machine(),
        dataset: DatasetSummary {
            name: pipeline.dataset.name().into(),
            train: trains.then(|| split_summary(&material.train, &state.skipped)),
            held_out: material.held_out.as_ref().map(held_out),
            test: Some(SplitSummary {
                hash: outcome.data,
                also_trained_on: material.also_trained_on,
                ..split_summary(&material.test, &outcome.unreadable)
            }),
            other_classes: classes != material.train.classes(),
        },
        networks: judged.iter().map(network).collect::<anyhow::Result<_>>()?,
        training: trains.then(|| Training {
            epochs: state.epoch,
            seconds: sum(|epoch| epoch.seconds),
            forwards_per_sample: sum(|epoch| epoch.forwards),
            backwards_per_sample: sum(|epoch| epoch.backwards),
            norm: pipeline.train.attacked_in(),
            averaged: pipeline.train.ema.is_some(),
        }),
        best: best(metrics),
        radii: Percentiles::of(&state.radii()),
        saved: None,
    })
}

/// A message about images that the data set left out, the first ones by name; empty if there are none.
fn left_out(material: &Material, state: &State, metrics: &[Epoch], unread: &BTreeMap<u64, String>) -> String {
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
