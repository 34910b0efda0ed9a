//! Losses: the scalar that one training step minimises.

use std::fmt::Debug;

use candle_core::{D, Tensor};
use temper_data::Rng;
use temper_nn::{BatchNorm, Classifier};

use crate::rows::replace;
use crate::{Attack, Ball, Batch, Chosen, Norm, Result, Score, Victim, cross_entropy, perturb};

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
    correct: usize,
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
        Self { classifier, batch, victim, radii, attack, norm, rng, batch_norm, correct: 0, seen: 0 }
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

    /// Randomness of this step, for losses that draw their own.
    pub fn rng(&self) -> Rng {
        self.rng.named("loss")
    }

    /// Adversarial pixels `[n, c, h, w]`: each sample inside its ball, clean where its radius is 0.
    pub fn attack(&mut self) -> Result<Tensor> {
        self.attack_on(&cross_entropy)
    }

    /// As [`Self::attack`], raising another score than cross-entropy.
    pub fn attack_on(&mut self, score: &Score<'_>) -> Result<Tensor> {
        let clean = &self.batch.pixels;
        let Some(attack) = self.attack else { return Ok(clean.clone()) };
        let attacked: Vec<bool> = self.radii.iter().map(|r| *r > 0.0).collect();
        if !attacked.contains(&true) {
            return Ok(clean.clone());
        }
        let victim = self.victim.with_score(score);
        // Batch statistics would be others for a part of the batch: then all run; a radius of 0 keeps them clean.
        let run = if victim.mixes_samples() { vec![true; attacked.len()] } else { attacked };
        let victim = victim.rows(&run)?;
        let some: Vec<f64> = self.radii.iter().zip(&run).filter(|(_, run)| **run).map(|(r, _)| *r).collect();
        let ball = Ball::new(victim.pixels(), &some, self.norm, victim.ids())?;
        let perturbed = perturb(attack, &victim, &ball, &self.rng)?.pixels;
        if run.iter().all(|run| *run) { Ok(perturbed) } else { replace(clean, &perturbed, &run) }
    }

    /// Logits `[n, classes]` in training mode, tracked back to the weights. Batch norm's running statistics follow, unless
    /// they are frozen.
    pub fn logits(&mut self, pixels: &Tensor) -> Result<Tensor> {
        let logits = self.classifier.train(pixels, true, self.batch_norm)?;
        let right = logits.detach().argmax(D::Minus1)?.eq(&self.batch.labels)?;
        self.correct += right.to_dtype(candle_core::DType::U32)?.sum_all()?.to_scalar::<u32>()? as usize;
        self.seen += self.batch.len();
        Ok(logits)
    }

    /// Passes through the classifier in training mode so far, counted a sample: each one forward and one backward.
    pub fn passes(&self) -> usize {
        self.seen
    }

    /// Share of the samples of all [`Self::logits`] calls that were classified as their label says.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.seen.max(1) as f64
    }
}
