//! Measures the time of a network's passes on this machine, with random pixels, for `temper reproduce --dry-run`.

use std::time::Instant;

use anyhow::{Context, bail};
use temper_core::nn::{BatchNorm, Classifier, Frozen, Network as Layers};
use temper_core::{
    Attack, Batch, Chosen, DType, Dataset, Device, Epsilon, Goal, Loss, Member, Norm, Passes, Probes, Rng,
    Rows, Size, Suite, Tensor, Victim, VictimNetwork, cross_entropy,
};
use temper_experiments::{DatasetSize, Engine, Rate};
use temper_train::{BatchNormMode, SgdState};

use crate::config::Pipeline;
use crate::footprint;
use crate::interrupt::Interrupt;

/// Number of images in the first batch, whose time determines the size of the next one.
const FIRST: usize = 2;
/// Work at one batch size, in training steps: two training steps, of which the first is not counted, and two passes
/// of an attack, each about two thirds of a step.
const WORK: f64 = 2.0 + 2.0 * 2.0 / 3.0;
/// Largest factor between a batch size and the previous one: small batches are slow for their size.
const GROWTH: usize = 16;

/// Share of a network's time for which a pass is repeated, at each batch size.
const REPEATED: f64 = 0.02;

/// Times networks until interrupted.
#[derive(Default)]
pub(crate) struct Clock(Option<Interrupt>);

impl Engine for Clock {
    fn images(&self, pipeline: &toml::Table) -> Option<DatasetSize> {
        let dataset: Chosen<dyn Dataset> = pipeline.get("dataset")?.clone().try_into().ok()?;
        let Size { train, test, shape, classes } = dataset.facts().size?;
        Some(DatasetSize { train, test, shape, classes })
    }

    fn passes(&self, attack: &toml::Value, classes: usize) -> Option<u64> {
        let attack: Chosen<dyn Attack> = attack.clone().try_into().ok()?;
        attack.most_passes(classes).map(as_one)
    }

    fn suite(&self, suite: &toml::Value, entry: &toml::Table, classes: usize) -> u64 {
        let suite: Option<Chosen<dyn Suite>> = suite.clone().try_into().ok();
        let norm = entry.get("norm").and_then(|norm| norm.clone().try_into().ok());
        let members = suite.and_then(|suite| suite.members(norm.unwrap_or(Norm::Linf), classes).ok());
        let passes = |member: &Member| {
            let of_run = member.attack.most_passes(classes).map_or(0, as_one);
            of_run.saturating_mul(member.runs() as u64)
        };
        members.unwrap_or_default().iter().map(passes).fold(0, u64::saturating_add)
    }

    fn probes(&self, epsilon: &toml::Value) -> [u64; 2] {
        let policy: Option<Chosen<dyn Epsilon>> = epsilon.clone().try_into().ok();
        let Probes { most, from_epoch } = policy.map_or_else(Probes::default, |policy| policy.probes());
        [most as u64, from_epoch as u64]
    }

    fn loss_passes(&self, loss: &toml::Value) -> u64 {
        let loss: Option<Chosen<dyn Loss>> = loss.clone().try_into().ok();
        loss.map_or(1, |loss| loss.passes() as u64)
    }

    fn rate(&mut self, pipeline: &toml::Table, images: DatasetSize, seconds: f64) -> anyhow::Result<Rate> {
        let interrupt = match &self.0 {
            Some(interrupt) => interrupt,
            None => self.0.insert(Interrupt::listen().context("cannot listen for Ctrl-C")?),
        };
        let begun = Instant::now();
        let pipeline =
            Pipeline::composed(pipeline).map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
        let layers = pipeline.model.build(images.shape, images.classes)?;
        let layers = layers.with_numerics(pipeline.numerics.into());
        let whole = pipeline.train.batch.get();
        if let Some((_, why)) = footprint::refused(&layers, whole) {
            bail!("{why}");
        }
        let checkpoints = checkpoints(&layers, pipeline.train.ema.is_some());
        let mut bench = Bench::new(&pipeline, layers, images.classes)?;
        let mut batch = FIRST.min(whole);
        loop {
            let [step, pass] = bench.times(batch, seconds * REPEATED, interrupt)?;
            let (n, left) = (batch as f64, seconds - begun.elapsed().as_secs_f64());
            let fits = left / (WORK * step / n);
            let next = (fits.max(0.0) as usize).min(whole).min(batch * GROWTH);
            // The goal is the pipeline's batch size. A smaller batch that is at most 1.5 times as large as the last
            // adds no information.
            if batch == whole || next < whole && next <= batch + batch / 2 {
                return Ok(Rate { step: step / n, pass: pass / n, batch: batch as u64, checkpoints });
            }
            batch = next;
        }
    }
}

/// Converts forward and backward passes to pairs of both. A forward pass alone takes about a third of a pair.
fn as_one([forwards, backwards]: [u64; 2]) -> u64 {
    backwards.saturating_add(forwards.saturating_sub(backwards).div_ceil(3))
}

/// Bytes of a run's two checkpoints, which contain weights and momentum, and of the weights.
fn checkpoints(layers: &Layers, averaged: bool) -> u64 {
    let all = layers.parameters();
    let bytes = |trained: bool| -> u64 {
        let counted = all.iter().filter(|parameter| !trained || parameter.role.is_trained());
        counted.map(|parameter| 4 * parameter.shape.iter().product::<usize>() as u64).sum()
    };
    let [all, trained] = [bytes(false), bytes(true)];
    2 * (all + trained * if averaged { 2 } else { 1 }) + all
}

/// A network that is timed on random pixels.
struct Bench {
    classifier: Classifier,
    sgd: SgdState,
    classes: usize,
    device: Device,
    mode: BatchNormMode,
}

impl Bench {
    fn new(pipeline: &Pipeline, layers: Layers, classes: usize) -> anyhow::Result<Self> {
        let device = pipeline.device.open()?;
        let classifier = Classifier::random(layers, DType::F32, &mut Rng::new(0, "weights").sample(0))?;
        let classifier = classifier.to_device(&device)?;
        let (sgd, mode) = (SgdState::new(pipeline.train.optimizer.clone()), pipeline.train.attack_batch_norm);
        Ok(Self { classifier, sgd, classes, device, mode })
    }

    /// Seconds of a training step and of an attack's pass, for a batch of `n`; each is repeated for `enough` seconds.
    fn times(&mut self, n: usize, enough: f64, interrupt: &Interrupt) -> anyhow::Result<[f64; 2]> {
        let [c, h, w] = self.classifier.network().input_shape();
        let ids: Vec<u64> = (0..n as u64).collect();
        let pixels: Vec<f32> = Rng::new(0, "pixels").uniform(&ids, c * h * w);
        let pixels: Vec<f32> = pixels.into_iter().map(|value| f32::midpoint(value, 1.0)).collect();
        let pixels = Tensor::from_vec(pixels, (n, c, h, w), &self.device)?;
        let labels: Vec<u32> = (0..n).map(|i| (i % self.classes) as u32).collect();
        let labels = Tensor::from_vec(labels, n, &self.device)?;
        let batch = Batch { pixels, labels, ids };
        let step = mean(enough, interrupt, || self.step(&batch))?;
        let frozen = Frozen::new(&self.classifier)?;
        let network = match self.mode {
            BatchNormMode::Eval => VictimNetwork::Frozen(&frozen),
            BatchNormMode::Train => VictimNetwork::BatchStatistics(&self.classifier),
        };
        let passes = Passes::default();
        let victim = Victim::new(network, &batch, Goal::Loss, &passes)?;
        let pass = mean(enough, interrupt, || Ok(victim.gradient(&batch.pixels).map(drop)?))?;
        Ok([step, pass])
    }

    /// A training step, with a learning rate so small that nothing diverges.
    fn step(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let positions = Tensor::arange(0, batch.ids.len() as u32, &self.device)?;
        let rows = Rows { labels: batch.labels.clone(), positions };
        let logits = self.classifier.train(&batch.pixels, true, BatchNorm::Update)?;
        let loss = cross_entropy(&logits, &rows)?.mean_all()?;
        let gradients = self.classifier.backward(&loss)?;
        Ok(self.sgd.step(&self.classifier, &gradients, 1e-9)?)
    }
}

/// Mean seconds of `work`, repeated for `enough` seconds. The first repetition, which uses new memory, is not
/// counted.
fn mean(
    enough: f64,
    interrupt: &Interrupt,
    mut work: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut work = || {
        anyhow::ensure!(!interrupt.heard(), "stopped by Ctrl-C");
        work()
    };
    work()?;
    let (begun, mut times) = (Instant::now(), 0);
    while times == 0 || begun.elapsed().as_secs_f64() < enough {
        work()?;
        times += 1;
    }
    Ok(begun.elapsed().as_secs_f64() / f64::from(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_checkpoints_are_those_of_weights_and_momentum() {
        let mut layers = Layers::new([1, 2, 3]);
        layers.linear(layers.input(), "fc", 5).unwrap();
        // 30 weights and 5 biases: in two checkpoints with their momentum, and once by themselves.
        assert_eq!(checkpoints(&layers, false), 4 * 35 * 5);
        assert_eq!(checkpoints(&layers, true), 4 * 35 * 7);
    }
}
