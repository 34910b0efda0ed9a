//! The loop of Algorithm 1.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use temper_core::nn::profile::{self, Work};
use temper_core::nn::{BatchNorm, Classifier, Frozen, Gradients, Role};
use temper_core::{Attack, Batch, Chosen, Epsilon, Goal, Passes, Source, Step, Victim, VictimNetwork, Visit};
use temper_data::{Batches, RawBatch, Rng};
use temper_results::{Epoch, Percentiles};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::optimizer::SgdState;
use crate::plan::{BatchNormMode, Plan, StepBatchNorm};
use crate::progress::{Glimpse, Progress, Watch, summary};
use crate::weights::{is_finite, load_weights_for};

/// Time between two snapshots of a running epoch.
const GLIMPSES: Duration = Duration::from_millis(200);

/// Everything that changes during training.
#[derive(Debug)]
pub struct State {
    /// Number of completed epochs.
    pub epoch: usize,
    /// The progress of the current epoch.
    pub progress: Progress,
    /// The network.
    pub classifier: Classifier,
    /// The optimiser.
    pub sgd: SgdState,
    /// Average by weight, if the plan has one; empty before the first step.
    pub average: BTreeMap<String, Tensor>,
    /// Epsilon memory by sample, in pixel values of [0, 1]; empty without a policy.
    pub memory: Vec<f64>,
    /// Samples that could not be decoded so far, with the reason.
    pub skipped: BTreeMap<u64, String>,
}

impl State {
    /// The network that training returns, with averages in place of the averaged weights.
    pub fn result(&self) -> BTreeMap<String, Tensor> {
        let mut weights = self.classifier.weights();
        weights.extend(self.average.clone());
        weights
    }

    /// The epsilon memory without the samples that are known to be undecodable.
    pub fn radii(&self) -> Vec<f64> {
        let decoded = self.memory.iter().zip(0..).filter(|(_, id)| !self.skipped.contains_key(id));
        decoded.map(|(radius, _)| *radius).collect()
    }
}

/// Training of a plan.
#[derive(Debug)]
pub struct Trainer<'a> {
    plan: &'a Plan,
    seed: u64,
    device: Device,
    passes: Passes,
}

impl<'a> Trainer<'a> {
    /// Trains by `plan`; all randomness comes from `seed`.
    pub fn new(plan: &'a Plan, seed: u64, device: &Device) -> Self {
        Self { plan, seed, device: device.clone(), passes: Passes::default() }
    }

    /// The state before the first epoch.
    pub fn start(&self, network: temper_core::nn::Network, samples: usize) -> Result<State> {
        self.refuse_precision()?;
        let classifier = if let Some(file) = &self.plan.init {
            initial(network, file)?
        } else {
            Classifier::random(network, DType::F32, &mut Rng::new(self.seed, "weights").sample(0))?
        };
        let classifier = classifier.to_device(&self.device)?;
        let memory = match self.remembered() {
            Some(epsilon) => vec![epsilon.start(); samples],
            None => vec![],
        };
        let (progress, sgd) = (Progress::default(), SgdState::new(self.plan.optimizer.clone()));
        let (average, skipped) = (BTreeMap::new(), BTreeMap::new());
        Ok(State { epoch: 0, progress, classifier, sgd, average, memory, skipped })
    }

    /// The policy whose radii are kept from epoch to epoch; `None` without training.
    fn remembered(&self) -> Option<&Chosen<dyn Epsilon>> {
        self.plan.epsilon.as_ref().filter(|_| self.plan.trains())
    }

    /// Refuses a number type in which attacks cannot compute.
    fn refuse_precision(&self) -> Result<()> {
        match self.plan.attack_precision.refused(self.device.location()) {
            Some(why) => Err(temper_core::Error::refused(format!("`attack_precision`: {why}")).into()),
            None => Ok(()),
        }
    }

    /// The state of a checkpoint of this plan.
    pub fn restore(
        &self,
        network: temper_core::nn::Network,
        samples: usize,
        checkpoint: Checkpoint,
    ) -> Result<State, String> {
        let remembered = if self.remembered().is_some() { samples } else { 0 };
        if checkpoint.memory.len() != remembered {
            let got = checkpoint.memory.len();
            return Err(format!("it remembers the radii of {got} samples, the data set has {samples}"));
        }
        if let Some(odd) = checkpoint.memory.iter().find(|m| !m.is_finite() || **m < 0.0) {
            return Err(format!("it remembers a radius of {odd}"));
        }
        if checkpoint.epoch > self.plan.epochs {
            return Err(format!("it is of epoch {}, beyond the last one", checkpoint.epoch));
        }
        let classifier = Classifier::new(network, &checkpoint.weights).map_err(|e| e.to_string())?;
        for (name, tensor) in checkpoint.weights.iter().chain(&checkpoint.velocity).chain(&checkpoint.average)
        {
            if !is_finite(tensor).map_err(|e| e.to_string())? {
                return Err(format!("its values of `{name}` are not all finite"));
            }
        }
        let (size, accumulate) = (self.plan.batch.get(), self.plan.accumulate.get());
        let done = checkpoint.progress;
        let seen = done.samples.saturating_add(done.skipped);
        let between = done.batches.is_multiple_of(accumulate) && seen == done.batches * size;
        if done.batches > 0 && (done.batches >= samples.div_ceil(size) || !between) {
            return Err(format!("it counts {} batches of {seen} samples", done.batches));
        }
        let shapes = |of: &mut dyn Iterator<Item = (String, Vec<usize>)>| of.collect::<Vec<_>>();
        let wanted =
            shapes(&mut classifier.trained().map(|(name, var)| (name.to_string(), var.dims().to_vec())));
        let got = shapes(&mut checkpoint.velocity.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())));
        let begun = checkpoint.epoch > 0 || done.samples > 0;
        if begun && wanted != got {
            return Err("its momentum is not that of these weights".into());
        }
        let got = shapes(&mut checkpoint.average.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())));
        if got != if begun && self.plan.ema.is_some() { wanted } else { vec![] } {
            return Err("its average is not that of these weights".into());
        }
        let mut sgd = SgdState::new(self.plan.optimizer.clone());
        let moved = |tensors: BTreeMap<String, Tensor>| {
            let moved = tensors.into_iter().map(|(name, t)| Ok((name, t.to_device(&self.device)?)));
            moved.collect::<candle_core::Result<BTreeMap<_, _>>>().map_err(|e| e.to_string())
        };
        sgd.restore(moved(checkpoint.velocity)?);
        let average = moved(checkpoint.average)?;
        let classifier = classifier.to_device(&self.device).map_err(|e| e.to_string())?;
        let Checkpoint { epoch, memory, skipped, .. } = checkpoint;
        Ok(State { epoch, progress: done, classifier, sgd, average, memory, skipped })
    }

    /// Trains to the end of an epoch and reports it; `None` if `watch` requested a pause before. A further call
    /// continues from there, bit-identically. On an error the state is that of the failed step and must not be
    /// saved.
    pub fn epoch(
        &self,
        state: &mut State,
        source: &Arc<dyn Source>,
        watch: &mut dyn Watch,
    ) -> Result<Option<Epoch>> {
        self.refuse_precision()?;
        let epoch = state.epoch;
        let keyed = |purpose| Rng::new(self.seed, purpose).numbered(epoch as u64);
        let mut order = keyed("order").permutation(source.len());
        let size = self.plan.batch.get();
        let batches = order.len().div_ceil(size);
        order.drain(..(state.progress.batches * size).min(source.len()));
        let augment = self.plan.augment.map(|augment| (augment, keyed("augment")));
        let mut looked = Instant::now();
        let mut rate = self.rate(state, source.len());
        let mut stream = Batches::new(source.clone(), order, size, augment);
        while state.progress.batches < batches {
            rate = self.rate(state, source.len());
            self.step(state, &mut stream, &**source, rate)?;
            let progress = &state.progress;
            let last = progress.batches == batches;
            if looked.elapsed() > GLIMPSES || last {
                looked = Instant::now();
                watch.glimpse(&Glimpse {
                    epoch: epoch + 1,
                    batch: progress.batches,
                    batches,
                    loss: progress.loss / progress.samples.max(1) as f64,
                    accuracy: progress.right / progress.samples.max(1) as f64,
                    radii: Percentiles::of(&state.radii()),
                });
            }
            if !last && watch.pause() {
                finite(state, rate)?;
                return Ok(None);
            }
        }
        finite(state, rate)?;
        if state.progress.samples == 0 {
            let first = state.skipped.values().next().cloned().unwrap_or_default();
            return Err(Error::NothingLeft { epoch: epoch + 1, n: source.len(), first });
        }
        let progress = std::mem::take(&mut state.progress);
        state.epoch += 1;
        Ok(Some(summary(state.epoch, &progress, rate, &state.radii())))
    }

    /// Learning rate of the next step.
    fn rate(&self, state: &State, samples: usize) -> f64 {
        let (each, done) = (self.plan.steps_an_epoch(samples), state.progress.batches);
        let step = state.epoch * each + done / self.plan.accumulate.get();
        self.plan.optimizer.lr.get() * self.plan.schedule.factor(step, each, self.plan.epochs)
    }

    /// One step of the optimiser, over as many batches as the plan accumulates; they are added to the epoch's
    /// progress.
    fn step(&self, state: &mut State, stream: &mut Batches, source: &dyn Source, rate: f64) -> Result<()> {
        let batches = source.len().div_ceil(self.plan.batch.get());
        let (started, before) = (Instant::now(), state.progress.samples);
        let (mut sum, mut frozen) = (None, None);
        for _ in 0..self.plan.accumulate.get() {
            let asked = Instant::now();
            let Some(raw) = stream.next().transpose()? else { break };
            state.progress.waiting += asked.elapsed().as_secs_f64();
            profile::add(Work::Waiting, asked.elapsed());
            let number = state.progress.batches + 1;
            let added =
                self.counted(state, raw, (sum, &mut frozen), source, rate).map_err(|error| match error {
                    Error::Diverged { loss, ids, rate, .. } => {
                        Error::Diverged { loss, epoch: state.epoch + 1, batch: number, batches, ids, rate }
                    }
                    other => {
                        Error::Step { epoch: state.epoch + 1, batch: number, batches, error: Box::new(other) }
                    }
                });
            sum = added?;
        }
        if let Some(mut gradients) = sum {
            if self.gathers() {
                // The number of samples of a step is known once all of them are decoded.
                gradients = gradients.times(1.0 / (state.progress.samples - before) as f64)?;
            }
            state.sgd.step(&state.classifier, &gradients, rate)?;
            if let Some(ema) = self.plan.ema {
                ema.follow(&mut state.average, &state.classifier)?;
            }
        }
        state.progress.seconds += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Whether a step has more than one batch.
    fn gathers(&self) -> bool {
        self.plan.accumulate.get() > 1
    }

    /// One batch of a step, which is added to the epoch's progress except for its time. Returns the sum with
    /// the gradients of the batch: those of the mean loss, or, if batches are accumulated, of the sum over its
    /// samples. `frozen` is the network for the attacks of the step, once an attack has needed it.
    fn counted(
        &self,
        state: &mut State,
        mut raw: RawBatch,
        (sum, frozen): (Option<Gradients>, &mut Option<Frozen>),
        source: &dyn Source,
        rate: f64,
    ) -> Result<Option<Gradients>> {
        state.progress.skipped += raw.skipped.len();
        state.skipped.extend(raw.skipped.drain(..));
        if raw.ids.is_empty() {
            state.progress.batches += 1;
            return Ok(sum);
        }
        let batch = &Batch::new(raw, &self.device)?;
        let passes = (self.passes.forwards(), self.passes.backwards());
        let (loss, value, accuracy) = self.batch(state, batch, frozen, source, rate)?;
        let loss = if self.gathers() { (loss * batch.len() as f64)? } else { loss };
        let gradients = state.classifier.backward(&loss)?;
        let sum = match sum {
            Some(sum) => sum.plus(gradients)?,
            None => gradients,
        };
        let progress = &mut state.progress;
        progress.batches += 1;
        progress.samples += batch.len();
        progress.loss += value * batch.len() as f64;
        progress.right += accuracy * batch.len() as f64;
        progress.forwards += self.passes.forwards() - passes.0;
        progress.backwards += self.passes.backwards() - passes.1;
        progress.vanished += self.passes.take_vanished().len();
        Ok(Some(sum))
    }

    /// The network that attacks and probes use, which changes with the step of the optimiser. `kept` is that of
    /// the earlier batches of this step. It is created anew if those batches have changed batch norm's running
    /// statistics.
    fn frozen(&self, classifier: &Classifier, kept: &mut Option<Frozen>) -> Result<Frozen> {
        let parameters = classifier.network().parameters();
        let moves = self.plan.batch_norm == StepBatchNorm::Train
            && parameters.iter().any(|parameter| parameter.role == Role::RunningMean);
        if let Some(frozen) = kept.as_ref().filter(|_| !moves) {
            return Ok(frozen.clone());
        }
        let frozen = Frozen::new(classifier)?;
        *kept = Some(frozen.clone());
        Ok(frozen)
    }

    /// One batch: radii, attack, loss. Returns the loss, its value and the accuracy.
    fn batch(
        &self,
        state: &mut State,
        batch: &Batch,
        frozen: &mut Option<Frozen>,
        source: &dyn Source,
        rate: f64,
    ) -> Result<(Tensor, f64, f64)> {
        let rng = |purpose| Rng::new(self.seed, purpose).numbered(state.epoch as u64);
        let attack = self.plan.attack.0.as_ref();
        let frozen = match (attack, self.plan.attack_batch_norm) {
            (Some(_), BatchNormMode::Eval) => Some(self.frozen(&state.classifier, frozen)?),
            _ => None,
        };
        let network = match &frozen {
            Some(frozen) => VictimNetwork::Frozen(frozen),
            None => VictimNetwork::BatchStatistics(&state.classifier),
        };
        let victim = Victim::new(network, batch, Goal::Loss, &self.passes)?;
        let radii = match (attack, &self.plan.epsilon) {
            (Some(attack), Some(epsilon)) => {
                let rng = rng("probes");
                let name = |id: u64| source.index(id as usize);
                radii(epsilon, attack, self.plan, &victim, (state.epoch, rng), &mut state.memory, &name)?
            }
            _ => vec![0.0; batch.len()],
        };
        let step =
            Step::new(&state.classifier, batch, &victim, &radii, attack, self.plan.norm, rng("attack"));
        let mut step = step.with_batch_norm(match self.plan.batch_norm {
            StepBatchNorm::Train => BatchNorm::Update,
            StepBatchNorm::Frozen => BatchNorm::Frozen,
        });
        let loss = self.plan.loss.loss(&mut step)?;
        let (accuracy, trained) = (step.accuracy(), step.passes());
        let value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if !value.is_finite() {
            let ids: Vec<String> =
                batch.ids.iter().take(4).map(|id| source.index(*id as usize).to_string()).collect();
            let ids = format!("{}{}", ids.join(", "), if batch.len() > 4 { ", ..." } else { "" });
            return Err(Error::Diverged { loss: value, epoch: 0, batch: 0, batches: 0, ids, rate });
        }
        self.passes.count(trained, trained);
        Ok((loss, value, accuracy))
    }
}

/// A network with the weights of a file.
fn initial(network: temper_core::nn::Network, file: &Path) -> Result<Classifier> {
    let fault = |error: temper_core::nn::Error| Error::File { file: file.into(), what: error.to_string() };
    let weights = load_weights_for(file, &network)?;
    Classifier::new(network, &weights.tensors).map_err(fault)
}

/// Refuses weights that are not finite.
fn finite(state: &State, rate: f64) -> Result<()> {
    for (weight, tensor) in state.classifier.weights() {
        if !is_finite(&tensor)? {
            return Err(Error::NotFinite { weight, epoch: state.epoch + 1, rate });
        }
    }
    Ok(())
}

/// Calls the policy, checks its radii, and updates the memory.
fn radii(
    epsilon: &Chosen<dyn Epsilon>,
    attack: &Chosen<dyn Attack>,
    plan: &Plan,
    victim: &Victim,
    (epoch, rng): (usize, Rng),
    memory: &mut [f64],
    name: &dyn Fn(u64) -> usize,
) -> Result<Vec<f64>> {
    let rows = || victim.ids().iter().map(|id| *id as usize);
    let remembered = rows().map(|i| memory[i]).collect();
    let mut visit = Visit::new(epoch, remembered, victim, attack, plan.norm, rng);
    let radii = epsilon.radii(&mut visit)?;
    let fault = |what| Error::Policy { policy: epsilon.name().into(), what };
    if radii.len() != victim.len() {
        return Err(fault(format!("{} radii for {} samples", radii.len(), victim.len())));
    }
    if let Some((radius, id)) = radii.iter().zip(victim.ids()).find(|(r, _)| !r.is_finite() || **r < 0.0) {
        return Err(fault(format!(
            "radius {radius} for sample {}, expected a finite number of at least 0",
            name(*id)
        )));
    }
    for (i, value) in rows().zip(visit.into_memory()) {
        memory[i] = value;
    }
    Ok(radii)
}
