//! `temper run`: train, evaluate, write the results.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use temper_core::nn::{Frozen, Network};
use temper_core::{DataError, Device, Source, Split};
use temper_evaluate::{Evaluation, evaluate};
use temper_report::{Results, percent};
use temper_train::{Checkpoint, Percentiles, State, Trainer, save_atomically, save_radii, save_weights};

use crate::config::Pipeline;
use crate::device::DeviceName;
use crate::run_dir::{Mode, RunDir};
use crate::{progress, say};

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

/// The images of a pipeline, and the network that fits them.
struct Material {
    train: Arc<dyn Source>,
    test: Arc<dyn Source>,
    network: Network,
}

impl Material {
    fn open(pipeline: &Pipeline) -> anyhow::Result<Self> {
        let name = pipeline.dataset.name();
        let open = |split| {
            pipeline.dataset.open(split).map_err(|error| match error {
                // Parameters that contradict each other: the pipeline's fault, not the data's.
                temper_core::Error::Refused(message) => anyhow::Error::new(pipeline.bad_dataset(&message)),
                other => anyhow::Error::new(other).context(format!("dataset `{name}`")),
            })
        };
        let (train, test) = (open(Split::Train)?, open(Split::Test)?);
        if train.is_empty() || test.is_empty() {
            bail!("dataset `{name}` has {} training and {} test images", train.len(), test.len());
        }
        let (first, last) = (train.read(0)?.0.shape, test.read(0)?.0.shape);
        if first != last || train.classes() != test.classes() {
            bail!(
                "dataset `{name}`: training and test images differ in shape or classes: {first:?} and {last:?}"
            );
        }
        let network = pipeline.model.build(first, train.classes().len()).map_err(|error| {
            let [c, h, w] = first;
            pipeline.bad_model(&format!(
                "{error}\n  images are {c} x {h} x {w}, with {} classes",
                train.classes().len()
            ))
        })?;
        Ok(Self { train, test, network })
    }
}

/// Opens data and builds the network as a run would; what it says after "a sound pipeline".
pub(crate) fn check(pipeline: &Pipeline) -> anyhow::Result<String> {
    match Material::open(pipeline) {
        Ok(material) => {
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

fn parameters(network: &Network) -> usize {
    let trained = network.parameters().into_iter().filter(|p| p.role.is_trained());
    trained.map(|p| p.shape.iter().product::<usize>()).sum()
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::load(&options.file, &options.sets)?;
    pipeline.device = options.device.unwrap_or(pipeline.device);
    let device = pipeline.device.open();
    let mode = match (options.resume, options.force) {
        (true, _) => Mode::Resume,
        (_, true) => Mode::Overwrite,
        _ => Mode::New,
    };
    let default = || PathBuf::from("runs").join(options.file.file_stem().unwrap_or_default());
    let dir = RunDir::choose(options.out.clone().unwrap_or_else(default), mode)?;
    let material = Material::open(&pipeline)?;
    let trainer = Trainer::new(&pipeline.train, pipeline.seed, &device);
    let mut state = begin(&pipeline, &trainer, &material, &dir)?;
    dir.prepare(&pipeline.resolved()?)?;
    say(&format!(
        "data    {} training, {} test images\n        {}\nmodel   {}, {} trained parameters\nrun     {}\n",
        material.train.len(),
        material.test.len(),
        material.train.origin(),
        pipeline.model.name(),
        parameters(&material.network),
        dir.path().display(),
    ))?;
    let metrics = train(&pipeline, &trainer, &material, &dir, &mut state)?;
    let about = json!({
        "model": pipeline.model,
        "input": material.network.input_shape(),
        "classes": material.train.classes(),
    });
    save_weights(&dir.model(), &state.classifier.weights(), about.to_string())?;
    let evaluations = judge(&pipeline, &material, &state, &device)?;
    let results = results(&pipeline, &material, &state, &metrics, &evaluations);
    save_atomically(&dir.results(), (serde_json::to_string_pretty(&results)? + "\n").as_bytes())?;
    say(&format!("\n{}\n{}\n", Results::read(&dir.results())?.table(), closing(&state, &dir)))
}

/// The state to start from: fresh, or that of the checkpoint.
fn begin(pipeline: &Pipeline, trainer: &Trainer, material: &Material, dir: &RunDir) -> anyhow::Result<State> {
    let samples = material.train.len();
    let file = dir.checkpoint();
    if dir.mode() != Mode::Resume || !file.exists() {
        if dir.mode() == Mode::Resume {
            dir.must_be_fresh()?;
        }
        return Ok(trainer.start(material.network.clone(), samples)?);
    }
    let checkpoint = Checkpoint::load(&file)?;
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
    let network = material.network.clone();
    let state = trainer
        .restore(network, samples, checkpoint)
        .map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
    say(&format!("resume  after epoch {} of {}\n", state.epoch, pipeline.train.epochs))?;
    Ok(state)
}

/// What decides the trained network: the pipeline's part and the number of images.
fn trained_by(pipeline: &Pipeline, material: &Material) -> anyhow::Result<toml::Table> {
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

/// Trains what is missing; returns the metrics of all epochs, a line each.
fn train(
    pipeline: &Pipeline,
    trainer: &Trainer,
    material: &Material,
    dir: &RunDir,
    state: &mut State,
) -> anyhow::Result<Vec<String>> {
    let epochs = pipeline.train.epochs.get();
    let config = toml::to_string(&trained_by(pipeline, material)?)?;
    let mut lines = dir.metrics(state.epoch)?;
    dir.forget_epochs_after(state.epoch)?;
    let mut watch = progress::Training::new(epochs, state.epoch);
    while state.epoch < epochs {
        let result = trainer.epoch(state, &material.train, &mut watch);
        let report = result.inspect_err(|_| watch.finish())?;
        if !state.memory.is_empty() {
            save_radii(&dir.radii(state.epoch), &state.memory)?;
        }
        dir.add_metrics(&mut lines, &report)?;
        // The checkpoint comes last: whatever it counts as done is already on disk.
        let checkpoint = Checkpoint {
            epoch: state.epoch,
            config: config.clone(),
            weights: state.classifier.weights(),
            velocity: state.sgd.velocity().clone(),
            memory: state.memory.clone(),
        };
        checkpoint.save(&dir.checkpoint())?;
        watch.epoch(&report);
    }
    watch.finish();
    Ok(lines)
}

fn judge(
    pipeline: &Pipeline,
    material: &Material,
    state: &State,
    device: &Device,
) -> anyhow::Result<Vec<Evaluation>> {
    let frozen = Frozen::new(&state.classifier)?;
    let batch = pipeline.train.batch.get();
    let mut done = vec![];
    for entry in &pipeline.evaluate {
        let bar = progress::evaluation(&entry.name, material.test.len());
        let mut watch = |n: usize, standing: usize| {
            bar.set_position(n as u64);
            bar.set_message(percent(standing as f64 / n.max(1) as f64));
        };
        let evaluation = evaluate(&frozen, &material.test, entry, batch, pipeline.seed, device, &mut watch);
        bar.finish_and_clear();
        done.push(evaluation.with_context(|| format!("evaluation `{}`", entry.name))?);
    }
    Ok(done)
}

/// `results.json`: an interface. Keys may be added, never renamed.
fn results(
    pipeline: &Pipeline,
    material: &Material,
    state: &State,
    metrics: &[String],
    evaluations: &[Evaluation],
) -> Value {
    let metrics: Vec<Value> = metrics.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let sum = |key: &str| metrics.iter().filter_map(|m| m[key].as_f64()).sum::<f64>();
    let source = |source: &Arc<dyn Source>| json!({ "origin": source.origin(), "n": source.len() });
    let mut results = json!({
        "evaluations": evaluations,
        "seed": pipeline.seed,
        "versions": { "temper": env!("CARGO_PKG_VERSION"), "candle": "0.11.1" },
        "dataset": { "name": pipeline.dataset.name(), "train": source(&material.train), "test": source(&material.test) },
        "model": { "name": pipeline.model.name(), "parameters": parameters(&material.network) },
        "training": {
            "epochs": state.epoch,
            "seconds": sum("seconds"),
            "forwards_per_sample": sum("forwards"),
            "backwards_per_sample": sum("backwards"),
        },
    });
    if let Some(radii) = Percentiles::of(&state.memory) {
        results["radii"] = json!(radii);
    }
    results
}

fn closing(state: &State, dir: &RunDir) -> String {
    let radii = Percentiles::of(&state.memory).map_or_else(String::new, |Percentiles { p5, p50, p95 }| {
        format!("radii   5 % below {p5:.4}, median {p50:.4}, 5 % above {p95:.4}\n")
    });
    format!("{radii}written to {}", dir.path().display())
}
