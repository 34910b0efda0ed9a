//! Losses: the scalar that one training step minimises.

use std::fmt::Debug;

use candle_core::{D, DType, Tensor};
use temper_data::Rng;
use temper_nn::{BatchNorm, Classifier, Role};

use crate::rows::replace;
use crate::{Attack, Ball, Batch, Chosen, CleanScore, Norm, Result, Rows, Score, Victim, perturb};

/// What training minimises.
pub trait Loss: Debug + Send + Sync {
    /// The scalar loss of a step, a candle graph over the classifier's weights.
    fn loss(&self, step: &mut Step) -> Result<Tensor>;
}

/// One training step as a loss sees it: the classifier in training mode, the batch, the radii, the attack.
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
    /// A step over `batch` with one radius a sample; without an attack every image stays clean.
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

    /// The same step with another way of batch norm than [`BatchNorm::Update`].
    pub fn with_batch_norm(self, batch_norm: BatchNorm) -> Self {
        Self { batch_norm, ..self }
    }

    /// The clean batch.
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// Radius of each sample, `[n]`.
    pub fn radii(&self) -> &'a [f64] {
        self.radii
    }

    /// Randomness of this step, for losses that draw their own for each sample, keyed by its id.
    pub fn rng(&self) -> Rng {
        self.rng.named("loss")
    }

    /// Randomness for what a loss draws once for the whole batch: another in every batch of an epoch.
    pub fn batch_rng(&self) -> Rng {
        // A sample comes once an epoch, so the first one names the batch.
        self.rng().named("batch").numbered(self.batch.ids.first().copied().unwrap_or_default())
    }

    /// Adversarial pixels `[n, c, h, w]`: each sample inside its ball, clean where its radius is 0.
    pub fn attack(&mut self) -> Result<Tensor> {
        match self.attacked() {
            Some((attack, run)) => self.perturbed(attack, &run, self.victim),
            None => Ok(self.batch.pixels.clone()),
        }
    }

    /// As [`Self::attack`], raising another score than the victim's own.
    pub fn attack_on(&mut self, score: &Score<'_>) -> Result<Tensor> {
        match self.attacked() {
            Some((attack, run)) => self.perturbed(attack, &run, &self.victim.with_score(score)),
            None => Ok(self.batch.pixels.clone()),
        }
    }

    /// As [`Self::attack_on`], raising a score that compares with the clean images: it gets their logits, as the network
    /// under attack gives them, beside those at hand. That is one forward pass more.
    pub fn attack_from_clean(&mut self, score: &CleanScore<'_>) -> Result<Tensor> {
        let Some((attack, run)) = self.attacked() else { return Ok(self.batch.pixels.clone()) };
        let victim = self.victim.rows(&run)?;
        let some = victim.logits(victim.pixels())?;
        // Scores know samples by their position in the whole batch.
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

    /// The attack, and the samples that it runs on; `None` if there is nothing to attack.
    fn attacked(&self) -> Option<(&'a Chosen<dyn Attack>, Vec<bool>)> {
        let attack = self.attack?;
        let attacked: Vec<bool> = self.radii.iter().map(|r| *r > 0.0).collect();
        if !attacked.contains(&true) {
            return None;
        }
        // Batch statistics would be others for a part of the batch: then all run; a radius of 0 keeps them clean.
        Some((attack, if self.victim.mixes_samples() { vec![true; attacked.len()] } else { attacked }))
    }

    /// The batch with the samples of `run` perturbed.
    fn perturbed(&self, attack: &Chosen<dyn Attack>, run: &[bool], victim: &Victim) -> Result<Tensor> {
        let clean = &self.batch.pixels;
        let victim = victim.rows(run)?;
        let some: Vec<f64> = self.radii.iter().zip(run).filter(|(_, run)| **run).map(|(r, _)| *r).collect();
        let ball = Ball::new(victim.pixels(), &some, self.norm, victim.ids())?;
        let perturbed = perturb(attack, &victim, &ball, &self.rng)?.pixels;
        if run.iter().all(|run| *run) { Ok(perturbed) } else { replace(clean, &perturbed, run) }
    }

    /// Logits `[n, classes]` in training mode, tracked back to the weights. Batch norm's running statistics follow, unless
    /// they are frozen.
    pub fn logits(&mut self, pixels: &Tensor) -> Result<Tensor> {
        let labels = &self.batch.labels;
        self.logits_shared(pixels, &[(1.0, labels)])
    }

    /// As [`Self::logits`], of images that belong to several classes by shares that sum to 1: a prediction of one of them
    /// counts as that share of a correct one. Labels are `[n]`, `u32`.
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

    /// Moves batch norm's running statistics as [`Self::logits`] does, without its gradients: one forward pass more, and
    /// none where the network has no running statistics or keeps them.
    pub fn move_statistics(&mut self, pixels: &Tensor) -> Result<()> {
        let parameters = self.classifier.network().parameters();
        if self.batch_norm == BatchNorm::Update && parameters.iter().any(|p| p.role == Role::RunningMean) {
            self.victim.passes().count(self.batch.len(), 0);
            self.classifier.train(pixels, false, self.batch_norm)?;
        }
        Ok(())
    }

    /// Passes through the classifier in training mode so far, counted a sample: each one forward and one backward.
    pub fn passes(&self) -> usize {
        self.seen
    }

    /// Share of the samples of all [`Self::logits`] calls that were classified as their label says.
    pub fn accuracy(&self) -> f64 {
        self.correct / self.seen.max(1) as f64
    }
}
