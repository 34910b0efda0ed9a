//! Losses: the scalar that one training step minimises.

use std::fmt::Debug;

use candle_core::{D, DType, Tensor};
use temper_data::Rng;
use temper_nn::{BatchNorm, Classifier, Role};

use crate::rows::replace;
use crate::{Attack, Ball, Batch, Chosen, CleanScore, Norm, Result, Rows, Score, Victim, perturb};

/// A training loss.
pub trait Loss: Debug + Send + Sync {
    /// The scalar loss of a step, as a candle graph over the classifier's weights.
    fn loss(&self, step: &mut Step) -> Result<Tensor>;

    /// The number of passes in training mode per sample and step, where a forward and a backward pass count as
    /// one; used to estimate a run's cost.
    fn passes(&self) -> usize {
        1
    }
}

/// The input of a loss for one training step: the classifier in training mode, the batch, the radii and the
/// attack.
pub struct Step<'a> {
    classifier: &'a Classifier,
    batch: &'a Batch,
    victim: &'a Victim<'a>,
    radii: &'a [f64],
    attack: Option<&'a Chosen<dyn Attack>>,
    norm: Norm,
    rng: Rng,
    batch_norm: BatchNorm,
    correct: f64,
    seen: usize,
}

impl<'a> Step<'a> {
    /// A step over `batch` with one radius per sample. Without an attack every image stays clean.
    pub fn new(
        classifier: &'a Classifier,
        batch: &'a Batch,
        victim: &'a Victim<'a>,
        radii: &'a [f64],
        attack: Option<&'a Chosen<dyn Attack>>,
        norm: Norm,
        rng: Rng,
    ) -> Self {
        let batch_norm = BatchNorm::Update;
        Self { classifier, batch, victim, radii, attack, norm, rng, batch_norm, correct: 0.0, seen: 0 }
    }

    /// The same step with another batch norm mode than [`BatchNorm::Update`].
    pub fn with_batch_norm(self, batch_norm: BatchNorm) -> Self {
        Self { batch_norm, ..self }
    }

    /// The clean batch.
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// The radius of each sample, `[n]`, in pixel values of [0, 1].
    pub fn radii(&self) -> &'a [f64] {
        self.radii
    }

    /// The random numbers of this step, for losses that draw per sample, keyed by sample id.
    pub fn rng(&self) -> Rng {
        self.rng.named("loss")
    }

    /// The random numbers of this batch, for losses that draw once per batch; different for each batch of an
    /// epoch.
    pub fn batch_rng(&self) -> Rng {
        // A sample occurs once per epoch, so the id of the first sample identifies the batch.
        self.rng().named("batch").numbered(self.batch.ids.first().copied().unwrap_or_default())
    }

    /// Adversarial images `[n, c, h, w]`: each inside its ball, clean where its radius is 0.
    pub fn attack(&mut self) -> Result<Tensor> {
        match self.attacked() {
            Some((attack, run)) => self.perturbed(attack, &run, self.victim),
            None => Ok(self.batch.pixels.clone()),
        }
    }

    /// Like [`Self::attack`], but maximises `score` instead of the victim's own score.
    pub fn attack_on(&mut self, score: &Score<'_>) -> Result<Tensor> {
        match self.attacked() {
            Some((attack, run)) => self.perturbed(attack, &run, &self.victim.with_score(score)),
            None => Ok(self.batch.pixels.clone()),
        }
    }

    /// Like [`Self::attack_on`] with a score that also depends on the logits of the clean images. The network
    /// under attack computes these with one additional forward pass.
    pub fn attack_from_clean(&mut self, score: &CleanScore<'_>) -> Result<Tensor> {
        let Some((attack, run)) = self.attacked() else { return Ok(self.batch.pixels.clone()) };
        let victim = self.victim.rows(&run)?;
        let some = victim.logits(victim.pixels())?;
        // Scores index samples by their position in the whole batch.
        let clean = match run.contains(&false) {
            true => {
                let zeros = Tensor::zeros((run.len(), some.dim(1)?), some.dtype(), some.device())?;
                replace(&zeros, &some, &run)?
            }
            false => some,
        };
        let score =
            |logits: &Tensor, rows: &Rows| score(&clean.index_select(&rows.positions, 0)?, logits, rows);
        self.perturbed(attack, &run, &self.victim.with_score(&score))
    }

    /// The attack and the samples that it runs on; `None` if there is nothing to attack.
    fn attacked(&self) -> Option<(&'a Chosen<dyn Attack>, Vec<bool>)> {
        let attack = self.attack?;
        let attacked: Vec<bool> = self.radii.iter().map(|r| *r > 0.0).collect();
        if !attacked.contains(&true) {
            return None;
        }
        // Batch statistics of a part of the batch would differ, so all samples run; a radius of 0 keeps
        // images clean.
        Some((attack, if self.victim.mixes_samples() { vec![true; attacked.len()] } else { attacked }))
    }

    /// The batch, with the samples selected by `run` perturbed.
    fn perturbed(&self, attack: &Chosen<dyn Attack>, run: &[bool], victim: &Victim) -> Result<Tensor> {
        let clean = &self.batch.pixels;
        let victim = victim.rows(run)?;
        let some: Vec<f64> = self.radii.iter().zip(run).filter(|(_, run)| **run).map(|(r, _)| *r).collect();
        let ball = Ball::new(victim.pixels(), &some, self.norm, victim.ids())?;
        let perturbed = perturb(attack, &victim, &ball, &self.rng)?.pixels;
        if run.iter().all(|run| *run) { Ok(perturbed) } else { replace(clean, &perturbed, run) }
    }

    /// Logits `[n, classes]` in training mode, differentiable in the weights. Updates batch norm's running
    /// statistics unless they are frozen.
    pub fn logits(&mut self, pixels: &Tensor) -> Result<Tensor> {
        let labels = &self.batch.labels;
        self.logits_shared(pixels, &[(1.0, labels)])
    }

    /// Like [`Self::logits`], for images with soft labels: each entry of `labels` is a weight and the labels
    /// `[n]`, `u32`; the weights sum to 1. A prediction that equals one of the labels counts towards the
    /// accuracy with its weight.
    pub fn logits_shared(&mut self, pixels: &Tensor, labels: &[(f64, &Tensor)]) -> Result<Tensor> {
        let logits = self.classifier.train(pixels, true, self.batch_norm)?;
        let predicted = logits.detach().argmax(D::Minus1)?;
        for (share, labels) in labels {
            let right = predicted.eq(*labels)?.to_dtype(DType::U32)?.sum_all()?.to_scalar::<u32>()?;
            self.correct += share * f64::from(right);
        }
        self.seen += self.batch.len();
        Ok(logits)
    }

    /// Updates batch norm's running statistics like [`Self::logits`], without a backward pass. This takes one
    /// additional forward pass, or none if the network has no running statistics or they are frozen.
    pub fn move_statistics(&mut self, pixels: &Tensor) -> Result<()> {
        let parameters = self.classifier.network().parameters();
        if self.batch_norm == BatchNorm::Update && parameters.iter().any(|p| p.role == Role::RunningMean) {
            self.victim.passes().count(self.batch.len(), 0);
            self.classifier.train(pixels, false, self.batch_norm)?;
        }
        Ok(())
    }

    /// Passes through the classifier in training mode so far, summed over samples; each is one forward and
    /// one backward pass.
    pub fn passes(&self) -> usize {
        self.seen
    }

    /// Share of the samples of all [`Self::logits`] calls that were classified correctly, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        self.correct / self.seen.max(1) as f64
    }
}
