//! The loop of Algorithm 1.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use temper_core::nn::{Classifier, Frozen};
use temper_core::{Attack, Batch, Chosen, Epsilon, Goal, Network, Passes, Source, Step, Victim, Visit};
use temper_data::{Batches, Rng};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::optimizer::Sgd;
use crate::plan::{BatchNormMode, Plan};

/// Time between two looks at the radii while an epoch runs.
const GLIMPSES: Duration = Duration::from_millis(200);

/// All that changes in training.
#[derive(Debug)]
pub struct State {
    /// Epochs done.
    pub epoch: usize,
    /// The network.
    pub classifier: Classifier,
    /// The optimiser.
    pub sgd: Sgd,
    /// Epsilon memory by sample, in pixel values of [0, 1]; empty without a policy.
    pub memory: Vec<f64>,
}

/// The 5th, 50th and 95th percentile of the epsilon memory, in pixel values of [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// 5 % of the samples have less.
    pub p5: f64,
    /// The median.
    pub p50: f64,
    /// 5 % have more.
    pub p95: f64,
}

impl Percentiles {
    /// Of some numbers; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| sorted[(share * last as f64).round() as usize];
        Some(Self { p5: at(0.05), p50: at(0.5), p95: at(0.95) })
    }
}

/// A look at a running epoch.
#[derive(Debug, Clone, Copy)]
pub struct Glimpse {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Batch, from 1.
    pub batch: usize,
    /// Batches of an epoch.
    pub batches: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Accuracy on what was trained on, so far.
    pub accuracy: f64,
    /// Radii, without a policy `None`.
    pub radii: Option<Percentiles>,
}

/// One epoch, as `metrics.jsonl` records it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpochReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub loss: f64,
    /// Accuracy on the images trained on (perturbed where they were).
    pub accuracy: f64,
    /// Learning rate.
    pub lr: f64,
    /// Epsilon memory at its end; absent without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radii: Option<Percentiles>,
    /// Mean of the epsilon memory at its end; absent without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_radius: Option<f64>,
    /// Forward passes a sample, of attack, probes and step.
    pub forwards: f64,
    /// Backward passes a sample.
    pub backwards: f64,
    /// Wall time.
    pub seconds: f64,
    /// Part of it in which the step waited for data.
    pub waiting_seconds: f64,
}

/// Who wants to see training run.
pub trait Watch {
    /// After some batches.
    fn glimpse(&mut self, glimpse: &Glimpse);
}

/// A plan at work on data.
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
        let mut rng = Rng::new(self.seed, "weights").sample(0);
        let classifier = Classifier::random(network, DType::F32, &mut rng)?;
        let memory = match &self.plan.epsilon {
            Some(epsilon) => vec![epsilon.start(); samples],
            None => vec![],
        };
        Ok(State { epoch: 0, classifier, sgd: Sgd::new(self.plan.optimizer.clone()), memory })
    }

    /// The state of a checkpoint of this plan.
    pub fn restore(
        &self,
        network: temper_core::nn::Network,
        samples: usize,
        checkpoint: Checkpoint,
    ) -> Result<State, String> {
        let remembered = if self.plan.epsilon.is_some() { samples } else { 0 };
        if checkpoint.memory.len() != remembered {
            let got = checkpoint.memory.len();
            return Err(format!("it remembers the radii of {got} samples, the data set has {samples}"));
        }
        if let Some(odd) = checkpoint.memory.iter().find(|m| !m.is_finite() || **m < 0.0) {
            return Err(format!("it remembers a radius of {odd}"));
        }
        if checkpoint.epoch > self.plan.epochs.get() {
            return Err(format!("it is of epoch {}, beyond the last one", checkpoint.epoch));
        }
        let classifier = Classifier::new(network, &checkpoint.weights).map_err(|e| e.to_string())?;
        for (name, tensor) in checkpoint.weights.iter().chain(&checkpoint.velocity) {
            if !is_finite(tensor).map_err(|e| e.to_string())? {
                return Err(format!("its values of `{name}` are not all finite"));
            }
        }
        let shapes = |of: &mut dyn Iterator<Item = (String, Vec<usize>)>| of.collect::<Vec<_>>();
        let wanted =
            shapes(&mut classifier.trained().map(|(name, var)| (name.to_string(), var.dims().to_vec())));
        let got = shapes(&mut checkpoint.velocity.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())));
        if checkpoint.epoch > 0 && wanted != got {
            return Err("its momentum is not that of these weights".into());
        }
        let mut sgd = Sgd::new(self.plan.optimizer.clone());
        sgd.restore(checkpoint.velocity);
        Ok(State { epoch: checkpoint.epoch, classifier, sgd, memory: checkpoint.memory })
    }

    /// One epoch. On an error the state is that of the failed step and must not be saved.
    pub fn epoch(
        &self,
        state: &mut State,
        source: &Arc<dyn Source>,
        watch: &mut dyn Watch,
    ) -> Result<EpochReport> {
        let started = Instant::now();
        let epoch = state.epoch;
        let (forwards, backwards) = (self.passes.forwards(), self.passes.backwards());
        let rate = self.plan.optimizer.lr.get() * self.plan.schedule.factor(epoch);
        let order = Rng::new(self.seed, "order").numbered(epoch as u64).permutation(source.len());
        let size = self.plan.batch.get();
        let batches = order.len().div_ceil(size);
        let (mut loss_sum, mut right, mut seen, mut waiting) = (0.0, 0.0, 0, Duration::ZERO);
        let mut looked = Instant::now();
        let mut stream = Batches::new(source.clone(), order, size);
        for number in 1.. {
            let asked = Instant::now();
            let Some(raw) = stream.next() else { break };
            waiting += asked.elapsed();
            let batch = Batch::new(raw?, &self.device)?;
            let (loss, accuracy) = self.batch(state, &batch, rate).map_err(|error| match error {
                Error::Diverged { loss, ids, rate, .. } => {
                    Error::Diverged { loss, epoch: epoch + 1, batch: number, batches, ids, rate }
                }
                other => Error::Step { epoch: epoch + 1, batch: number, batches, error: Box::new(other) },
            })?;
            loss_sum += loss * batch.len() as f64;
            right += accuracy * batch.len() as f64;
            seen += batch.len();
            if looked.elapsed() > GLIMPSES || number == batches {
                looked = Instant::now();
                watch.glimpse(&Glimpse {
                    epoch: epoch + 1,
                    batch: number,
                    batches,
                    loss: loss_sum / seen as f64,
                    accuracy: right / seen as f64,
                    radii: Percentiles::of(&state.memory),
                });
            }
        }
        for (name, weight) in state.classifier.weights() {
            if !is_finite(&weight)? {
                return Err(Error::NotFinite { weight: name, epoch: epoch + 1, rate });
            }
        }
        state.epoch += 1;
        let n = seen.max(1) as f64;
        Ok(EpochReport {
            epoch: epoch + 1,
            loss: loss_sum / n,
            accuracy: right / n,
            lr: rate,
            radii: Percentiles::of(&state.memory),
            mean_radius: (!state.memory.is_empty()).then(|| state.memory.iter().sum::<f64>() / n),
            forwards: (self.passes.forwards() - forwards) as f64 / n,
            backwards: (self.passes.backwards() - backwards) as f64 / n,
            seconds: started.elapsed().as_secs_f64(),
            waiting_seconds: waiting.as_secs_f64(),
        })
    }

    /// One step: radii, attack, loss, optimiser. Returns loss and accuracy.
    fn batch(&self, state: &mut State, batch: &Batch, rate: f64) -> Result<(f64, f64)> {
        let rng = |purpose| Rng::new(self.seed, purpose).numbered(state.epoch as u64);
        let attack = self.plan.attack.0.as_ref();
        let frozen = match (attack, self.plan.attack_batch_norm) {
            (Some(_), BatchNormMode::Eval) => Some(Frozen::new(&state.classifier)?),
            _ => None,
        };
        let network = match &frozen {
            Some(frozen) => Network::Frozen(frozen),
            None => Network::BatchStatistics(&state.classifier),
        };
        let victim = Victim::new(network, batch, Goal::Loss, &self.passes)?;
        let radii = match (attack, &self.plan.epsilon) {
            (Some(attack), Some(epsilon)) => {
                let rng = rng("probes");
                radii(epsilon, attack, self.plan, &victim, (state.epoch, rng), &mut state.memory)?
            }
            _ => vec![0.0; batch.len()],
        };
        let mut step =
            Step::new(&state.classifier, batch, &victim, &radii, attack, self.plan.norm, rng("attack"));
        let loss = self.plan.loss.loss(&mut step)?;
        let (accuracy, trained) = (step.accuracy(), step.passes());
        let value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if !value.is_finite() {
            let ids: Vec<String> = batch.ids.iter().take(4).map(ToString::to_string).collect();
            let ids = format!("{}{}", ids.join(", "), if batch.len() > 4 { ", ..." } else { "" });
            return Err(Error::Diverged { loss: value, epoch: 0, batch: 0, batches: 0, ids, rate });
        }
        self.passes.count(trained, trained);
        state.sgd.step(&state.classifier, &loss.backward()?, rate)?;
        Ok((value, accuracy))
    }
}

/// Is every element? One sum holds every NaN and every infinity.
fn is_finite(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?.is_finite())
}

/// Asks the policy, and checks its answer; the memory follows.
fn radii(
    epsilon: &Chosen<dyn Epsilon>,
    attack: &Chosen<dyn Attack>,
    plan: &Plan,
    victim: &Victim,
    (epoch, rng): (usize, Rng),
    memory: &mut [f64],
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
            "radius {radius} for sample {id}, expected a finite number of at least 0"
        )));
    }
    for (i, value) in rows().zip(visit.into_memory()) {
        memory[i] = value;
    }
    Ok(radii)
}
