//! The benchmark works, and what a round of each does.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use temper_core::nn::{BatchNorm, Classifier, Frozen, Layer, Network, Numerics};
use temper_core::{Batch, DType, Device, Source, Split, Tensor, Var, cross_entropy};
use temper_data::Batches;
use temper_evaluate::{Cell, Setting, evaluate};
use temper_results::Records;
use temper_runner::Pipeline;
use temper_train::{Optimizer, SgdState, Trainer, Watch};

use crate::networks;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Forward pass and input gradient in evaluation mode, ResNet-18
    PgdResnet18,
    /// The same, WRN-32-10
    PgdWrn,
    /// The same, the quickstart's network
    PgdSmallCnn,
    /// Forward pass, all gradients and the optimiser's step in training mode, ResNet-18
    TrainResnet18,
    /// The same, WRN-32-10
    TrainWrn,
    /// The same, the quickstart's network
    TrainSmallCnn,
    /// One epoch of IAAT on 2,000 images of CIFAR-10, PGD-10, ResNet-18 of width 16
    IaatEpoch,
    /// Robust accuracy under PGD-10 with 5 restarts on 1,000 images of Fashion-MNIST, the quickstart's network
    Restarts,
    /// `AutoAttack` (standard) in l-inf 8/255 on 200 images of CIFAR-10, ResNet-18 of width 16
    Autoattack,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::PgdResnet18 => "pgd-resnet18",
            Part::PgdWrn => "pgd-wrn",
            Part::PgdSmallCnn => "pgd-small-cnn",
            Part::TrainResnet18 => "train-resnet18",
            Part::TrainWrn => "train-wrn",
            Part::TrainSmallCnn => "train-small-cnn",
            Part::IaatEpoch => "iaat-epoch",
            Part::Restarts => "restarts",
            Part::Autoattack => "autoattack",
        }
    }

    fn trains(self) -> bool {
        matches!(self, Part::TrainResnet18 | Part::TrainWrn | Part::TrainSmallCnn)
    }

    /// The network of a step; `None` for whole epochs and evaluations.
    fn network(self) -> anyhow::Result<Option<Network>> {
        Ok(match self {
            Part::PgdResnet18 | Part::TrainResnet18 => Some(networks::resnet18(64)?),
            Part::PgdWrn | Part::TrainWrn => Some(networks::wrn_32_10()?),
            Part::PgdSmallCnn | Part::TrainSmallCnn => Some(networks::small_cnn()?),
            Part::IaatEpoch | Part::Restarts | Part::Autoattack => None,
        })
    }
}

/// A part with its batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) part: Part,
    pub(crate) batch: usize,
}

/// A round; returns its result as text, empty if it has no result.
pub(crate) type Task = Box<dyn FnMut() -> anyhow::Result<String>>;

impl Work {
    pub(crate) fn all() -> Vec<Self> {
        [
            (Part::PgdResnet18, 32),
            (Part::PgdResnet18, 128),
            (Part::PgdWrn, 8),
            (Part::PgdSmallCnn, 128),
            (Part::TrainResnet18, 32),
            (Part::TrainResnet18, 128),
            (Part::TrainWrn, 8),
            (Part::TrainSmallCnn, 128),
            (Part::IaatEpoch, 128),
            (Part::Restarts, 128),
            (Part::Autoattack, 100),
        ]
        .map(|(part, batch)| Self { part, batch })
        .to_vec()
    }

    pub(crate) fn name(self) -> String {
        let Self { part, batch } = self;
        match part {
            Part::IaatEpoch => "IAAT epoch, thin ResNet-18, 2,000 images".into(),
            Part::Restarts => "PGD-10 x 5 restarts, small CNN, 1,000 images".into(),
            Part::Autoattack => "AutoAttack, thin ResNet-18, 200 images".into(),
            part => {
                let what = if part.trains() { "training step" } else { "PGD step" };
                let network = match part {
                    Part::PgdResnet18 | Part::TrainResnet18 => "ResNet-18",
                    Part::PgdWrn | Part::TrainWrn => "WRN-32-10",
                    _ => "small CNN",
                };
                format!("{what}, {network}, batch {batch}")
            }
        }
    }

    /// The default number of rounds: one round of `AutoAttack` takes minutes.
    pub(crate) fn usual_rounds(self) -> usize {
        if self.part == Part::Autoattack { 1 } else { 7 }
    }

    /// Whether a warm-up round comes first. In a round of minutes the warm-up is a negligible part.
    pub(crate) fn warms_up(self) -> bool {
        self.part != Part::Autoattack
    }

    /// Whether it is one step on one batch.
    pub(crate) fn is_step(self) -> bool {
        !matches!(self.part, Part::IaatEpoch | Part::Restarts | Part::Autoattack)
    }

    /// Forward and backward passes of a round, counted per sample.
    pub(crate) fn passes(self) -> Option<f64> {
        self.is_step().then_some(2.0 * self.batch as f64)
    }

    /// Arithmetic operations of a round, counted by the definition of its convolutions, in units of 1e9.
    pub(crate) fn gflop(self) -> Option<f64> {
        let network = self.part.network().ok()??;
        let products = |layer: &Layer| match layer {
            Layer::Conv { shape, .. } => {
                shape.fan_in() as f64 * shape.output().iter().product::<usize>() as f64
            }
            _ => 0.0,
        };
        let once: f64 = network.nodes().iter().map(|node| products(&node.layer)).sum();
        let passes = if self.part.trains() { 3.0 } else { 2.0 };
        Some(2.0 * once * passes * self.batch as f64 / 1e9)
    }

    /// Prepares the rounds, and writes weights and data into `folder` for the peers.
    pub(crate) fn prepare(self, exact: bool, folder: &Path) -> anyhow::Result<Task> {
        let numerics = if exact { Numerics::Exact } else { Numerics::Fast };
        match self.part {
            Part::IaatEpoch => iaat_epoch(numerics, folder),
            Part::Restarts => restarts(numerics, folder),
            Part::Autoattack => autoattack(numerics, self.batch, folder),
            part => {
                let network = part.network()?.context("a step has a network")?.with_numerics(numerics);
                step(network, self.batch, part.trains(), folder)
            }
        }
    }
}

/// A PGD step without its projection, or a training step.
fn step(network: Network, batch: usize, trains: bool, folder: &Path) -> anyhow::Result<Task> {
    let mut rng = temper_core::Rng::new(1, "bench").sample(0);
    let [c, h, w] = network.input_shape();
    let classifier = Classifier::random(network, DType::F32, &mut rng)?;
    let pixels = temper_core::Rng::new(1, "bench pixels").uniform(&[0], batch * c * h * w);
    let pixels: Vec<f32> = pixels.into_iter().map(|v| f32::midpoint(v, 1.0)).collect();
    let pixels = Tensor::from_vec(pixels, (batch, c, h, w), &Device::Cpu)?;
    let labels = Tensor::from_vec((0..batch as u32).map(|i| i % 10).collect(), batch, &Device::Cpu)?;
    let frozen = Frozen::new(&classifier)?;
    leave(
        folder,
        &classifier,
        &[("pixels", &pixels), ("labels", &labels), ("logits", &frozen.logits(&pixels)?)],
    )?;
    let rows = temper_core::Rows { labels: labels.clone(), positions: labels };
    if !trains {
        return Ok(Box::new(move || {
            let pixels = Var::from_tensor(&pixels)?;
            let scores = cross_entropy(&frozen.logits(&pixels)?, &rows)?.sum_all()?;
            scores.backward()?.remove(&pixels).context("no gradient of the pixels")?;
            Ok(String::new())
        }));
    }
    drop(frozen);
    let mut sgd = SgdState::new(Optimizer::default());
    Ok(Box::new(move || {
        let logits = classifier.train(&pixels, true, BatchNorm::Update)?;
        let loss = cross_entropy(&logits, &rows)?.mean_all()?;
        sgd.step(&classifier, &classifier.backward(&loss)?, 1e-4)?;
        Ok(String::new())
    }))
}

/// Reads a pipeline from its text.
fn pipeline(text: &str, folder: &Path) -> anyhow::Result<Pipeline> {
    let file = folder.join("bench.toml");
    std::fs::write(&file, text)?;
    Ok(Pipeline::load(&file, &[])?)
}

/// Ignores all reports and never pauses.
struct Quiet;
impl Watch for Quiet {
    fn glimpse(&mut self, _: &temper_train::Glimpse) {}
}

/// Some images of a split, and the network that fits them.
fn material(pipeline: &Pipeline, split: Split, n: usize) -> anyhow::Result<(Arc<dyn Source>, Network)> {
    let source = pipeline.dataset.open(split)?;
    let source: Arc<dyn Source> = Arc::new(temper_core::Subset::new(source, n));
    let (image, _) = source.read(0)?;
    let network = pipeline.model.build(image.shape, source.classes().len())?;
    Ok((source, network))
}

/// All images of a source, `[n, c, h, w]`, and their labels.
fn whole(source: Arc<dyn Source>) -> anyhow::Result<(Tensor, Tensor)> {
    let n = source.len();
    let raw = Batches::new(source, (0..n).collect(), n, None).next().context("no images")?;
    let batch = Batch::new(raw?, &Device::Cpu)?;
    Ok((batch.pixels, batch.labels))
}

/// Trains two clean epochs, from which both contenders start. Each round is one epoch of IAAT from that state.
fn iaat_epoch(numerics: Numerics, folder: &Path) -> anyhow::Result<Task> {
    let text = |attack: &str| {
        format!(
            "seed = 1\ndataset = \"cifar10\"\nmodel.resnet = {{ width = 16 }}\n[train]\nepochs = 9\nbatch = 128\n{attack}\
             optimizer = {{ lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }}\n"
        )
    };
    let clean = pipeline(&text(""), folder)?;
    let (source, network) = material(&clean, Split::Train, 2000)?;
    let network = network.with_numerics(numerics);
    let trainer = Trainer::new(&clean.train, clean.seed, &Device::Cpu);
    let mut state = trainer.start(network.clone(), source.len())?;
    for _ in 0..2 {
        trainer.epoch(&mut state, &source, &mut Quiet)?;
    }
    let weights = state.classifier.weights();
    let (pixels, labels) = whole(source.clone())?;
    leave(folder, &state.classifier, &[("pixels", &pixels), ("labels", &labels)])?;
    let adaptive = "attack.pgd = { steps = 10, step = \"2/255\" }\n\
        epsilon.instance-adaptive = { start = \"8/255\", warmup = 0 }\n";
    let adaptive = pipeline(&text(adaptive), folder)?;
    Ok(Box::new(move || {
        let trainer = Trainer::new(&adaptive.train, adaptive.seed, &Device::Cpu);
        let mut state = trainer.start(network.clone(), source.len())?;
        let copies = weights.iter().map(|(name, weight)| Ok((name.clone(), weight.copy()?)));
        state.classifier = Classifier::new(network.clone(), &copies.collect::<anyhow::Result<_>>()?)?;
        let Some(report) = trainer.epoch(&mut state, &source, &mut Quiet)? else {
            bail!("the epoch was cut")
        };
        let radii = state.radii();
        let mean = radii.iter().sum::<f64>() / radii.len() as f64;
        Ok(format!("loss {:.3}, mean radius {:.2}/255", report.loss, mean * 255.0))
    }))
}

/// Trains a network adversarially for two epochs. Each round measures its robust accuracy.
fn restarts(numerics: Numerics, folder: &Path) -> anyhow::Result<Task> {
    let text = "seed = 1\ndataset.fashion-mnist = { images = \"embedded\" }\nmodel = \"convnet\"\n[train]\nepochs = 9\n\
        batch = 128\nattack.pgd = { steps = 5, step = 0.04 }\nepsilon.fixed = { radius = 0.1 }\n\
        optimizer = { lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }\n[[evaluate]]\nname = \"pgd\"\nradius = 0.1\n\
        attack.pgd = { steps = 10, step = 0.02, restarts = 5 }\n";
    let pipeline = pipeline(text, folder)?;
    let (source, network) = material(&pipeline, Split::Train, 10_000)?;
    let trainer = Trainer::new(&pipeline.train, pipeline.seed, &Device::Cpu);
    let mut state = trainer.start(network.with_numerics(numerics), source.len())?;
    for _ in 0..2 {
        trainer.epoch(&mut state, &source, &mut Quiet)?;
    }
    evaluation(pipeline, (&state.classifier, 1000), 128, folder)
}

/// Trains a thin network adversarially for a few epochs on a part of CIFAR-10. Each round runs `AutoAttack` on it.
fn autoattack(numerics: Numerics, batch: usize, folder: &Path) -> anyhow::Result<Task> {
    let text = "seed = 1\ndataset = \"cifar10\"\nmodel.resnet = { width = 16 }\n[train]\nepochs = 9\nbatch = 128\n\
        attack.pgd = { steps = 3, relative_step = 0.7 }\nepsilon.fixed = { radius = \"8/255\" }\n\
        optimizer = { lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }\n[[evaluate]]\nname = \"autoattack\"\n\
        radius = \"8/255\"\nsuite = \"autoattack\"\n";
    let pipeline = pipeline(text, folder)?;
    let (source, network) = material(&pipeline, Split::Train, 4000)?;
    let trainer = Trainer::new(&pipeline.train, pipeline.seed, &Device::Cpu);
    let mut state = trainer.start(network.with_numerics(numerics), source.len())?;
    for _ in 0..6 {
        trainer.epoch(&mut state, &source, &mut Quiet)?;
    }
    evaluation(pipeline, (&state.classifier, 200), batch, folder)
}

/// A round that runs the first evaluation of a pipeline on some of its test images, in batches of `batch`.
fn evaluation(
    pipeline: Pipeline,
    (classifier, n): (&Classifier, usize),
    batch: usize,
    folder: &Path,
) -> anyhow::Result<Task> {
    let (source, _) = material(&pipeline, Split::Test, n)?;
    let (pixels, labels) = whole(source.clone())?;
    leave(folder, classifier, &[("pixels", &pixels), ("labels", &labels)])?;
    let frozen = Frozen::new(classifier)?;
    Ok(Box::new(move || {
        let entry = &pipeline.evaluate[0];
        let setting = Setting::new(&frozen, batch, 1, &Device::Cpu);
        let (cells, mut records) = ([Cell::clean(source.clone())], Records::in_memory());
        let result = evaluate(&setting, entry, &cells, &mut records, &mut |_| ControlFlow::Continue(()))?;
        let result = result.context("the evaluation was cut")?;
        Ok(format!("accuracy {:.1} %", result.evaluation.accuracy * 100.0))
    }))
}

/// Writes weights and data for the peers: a line of JSON, then all numbers as 32-bit floats.
fn leave(folder: &Path, classifier: &Classifier, data: &[(&str, &Tensor)]) -> anyhow::Result<()> {
    let weights = classifier.weights().into_iter().map(|(name, tensor)| (format!("weights/{name}"), tensor));
    let data = data.iter().map(|(name, tensor)| (name.to_string(), (*tensor).clone()));
    let all: Vec<(String, Tensor)> = weights.chain(data).collect();
    let index: Vec<_> = all.iter().map(|(name, tensor)| (name, tensor.dims())).collect();
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join("exchange"))?);
    writeln!(file, "{}", serde_json::to_string(&index)?)?;
    for (_, tensor) in &all {
        for value in tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()? {
            file.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(file.flush()?)
}
