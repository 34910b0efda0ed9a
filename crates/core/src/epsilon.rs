//! Epsilon policies: which radius each training sample gets.

use std::fmt::Debug;

use temper_data::Rng;

use crate::{Attack, Ball, Chosen, Error, Norm, Result, Victim, perturb};

/// A warning about a policy whose warm-up leaves no epoch in which radii adapt.
pub fn never_adapts(warmup: usize, epochs: usize) -> Option<String> {
    (warmup >= epochs)
        .then(|| format!("a warm-up of {warmup} epochs leaves none of {epochs}: no radius adapts"))
}

/// Chooses the radius of every sample of a training batch.
pub trait Epsilon: Debug + Send + Sync {
    /// What the memory of a sample holds before its first visit, in pixel values of [0, 1].
    fn start(&self) -> f64;

    /// The lengths among its parameters, by their names, in pixel values of [0, 1]: a radius that holds every image is refused
    /// before any work, as everywhere.
    fn lengths(&self) -> Vec<(&'static str, f64)>;

    /// The largest radius that it trains with for sure, or may choose, in pixel values of [0, 1]: the attack must be able to fill it.
    fn largest(&self) -> f64 {
        self.start()
    }

    /// Why numbers of a run of so many epochs should not be believed, in words that are reported beside the numbers.
    fn warning(&self, _epochs: usize) -> Option<String> {
        None
    }

    /// The attack of its probes, if it has one of its own.
    fn probe(&self) -> Option<&Chosen<dyn Attack>> {
        None
    }

    /// One radius for each sample of the visit, `[n]`, in pixel values of [0, 1]; 0 trains on the clean image. What is
    /// to be remembered goes into [`Visit::remember`].
    fn radii(&self, visit: &mut Visit) -> Result<Vec<f64>>;
}

/// One batch's visit to an epsilon policy, before its training step.
pub struct Visit<'a> {
    epoch: usize,
    memory: Vec<f64>,
    victim: &'a Victim<'a>,
    attack: &'a Chosen<dyn Attack>,
    norm: Norm,
    rng: Rng,
    correct: Option<Vec<bool>>,
    probes: u64,
}

impl<'a> Visit<'a> {
    /// A visit in `epoch` (from 0) with the batch's rows of the epsilon memory.
    pub fn new(
        epoch: usize,
        memory: Vec<f64>,
        victim: &'a Victim<'a>,
        attack: &'a Chosen<dyn Attack>,
        norm: Norm,
        rng: Rng,
    ) -> Self {
        Self { epoch, memory, victim, attack, norm, rng, correct: None, probes: 0 }
    }

    /// The epoch, from 0.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// The samples' memory, `[n]`.
    pub fn memory(&self) -> &[f64] {
        &self.memory
    }

    /// Replaces the samples' memory, `[n]`.
    pub fn remember(&mut self, memory: Vec<f64>) -> Result<()> {
        if memory.len() != self.len() || memory.iter().any(|m| !m.is_finite() || *m < 0.0) {
            return Err(Error::refused(format!(
                "an epsilon policy must remember {} finite numbers of at least 0, got {memory:?}",
                self.len()
            )));
        }
        self.memory = memory;
        Ok(())
    }

    /// Takes the memory back.
    pub fn into_memory(self) -> Vec<f64> {
        self.memory
    }

    /// Which samples the network classifies correctly unperturbed.
    pub fn correct(&mut self) -> Result<&[bool]> {
        if self.correct.is_none() {
            let broken = self.victim.broken(self.victim.pixels())?;
            self.correct = Some(broken.iter().map(|b| !b).collect());
        }
        Ok(self.correct.as_deref().unwrap_or_default())
    }

    /// For the samples that `rows` names: whether the prediction is still right after the training attack within `radii` `[n]`.
    /// `false` for the others.
    pub fn survives(&mut self, rows: &[bool], radii: &[f64]) -> Result<Vec<bool>> {
        self.survives_attack(self.attack, rows, radii)
    }

    /// As [`Self::survives`], with an attack of the policy's own.
    pub fn survives_attack(
        &mut self,
        attack: &Chosen<dyn Attack>,
        rows: &[bool],
        radii: &[f64],
    ) -> Result<Vec<bool>> {
        if rows.len() != self.len() || radii.len() != self.len() {
            let (rows, radii, n) = (rows.len(), radii.len(), self.len());
            return Err(Error::refused(format!("a probe of {rows} rows and {radii} radii for {n} samples")));
        }
        self.probes += 1;
        let rng = self.rng.numbered(self.probes);
        if !rows.contains(&true) {
            return Ok(vec![false; self.len()]);
        }
        // Batch statistics would be others for a part of the batch: then all run, and the answer is cut.
        let run = if self.victim.mixes_samples() { vec![true; rows.len()] } else { rows.to_vec() };
        let victim = self.victim.rows(&run)?;
        let some: Vec<f64> = radii.iter().zip(&run).filter(|(_, run)| **run).map(|(r, _)| *r).collect();
        let ball = Ball::new(victim.pixels(), &some, self.norm, victim.ids())?;
        let perturbed = perturb(attack, &victim, &ball, &rng)?;
        let mut broken = victim.broken(&perturbed.pixels)?.into_iter();
        let survived = run.iter().map(|run| *run && broken.next() == Some(false));
        Ok(survived.zip(rows).map(|(survived, asked)| survived && *asked).collect())
    }
}
