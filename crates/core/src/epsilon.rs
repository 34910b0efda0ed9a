//! Epsilon policies, which choose the radius of each training sample.

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
    /// The initial value of a sample's memory, in pixel values of [0, 1].
    fn start(&self) -> f64;

    /// Its parameters that are radii, by name, in pixel values of [0, 1]. A radius whose ball contains every
    /// image is refused before training.
    fn lengths(&self) -> Vec<(&'static str, f64)>;

    /// The largest radius that it is sure to train with, or may choose, in pixel values of [0, 1]. The steps
    /// of the training attack are checked against it.
    fn largest(&self) -> f64 {
        self.start()
    }

    /// A warning about the numbers of a run of `epochs` epochs, if the policy has one.
    fn warning(&self, _epochs: usize) -> Option<String> {
        None
    }

    /// The attack of its probes; `None` if it probes with the training attack.
    fn probe(&self) -> Option<&Chosen<dyn Attack>> {
        None
    }

    /// The largest number of probes per sample and visit, and the first epoch with probes; used to estimate a
    /// run's cost.
    fn probes(&self) -> Probes {
        Probes::default()
    }

    /// Why radii of another run (`train.init_radii`) would do nothing as its initial memory, in place of
    /// [`Self::start`]; `None` if its radii depend on them. By default they do not.
    fn refuses_radii(&self) -> Option<String> {
        Some("its radii do not depend on earlier ones".into())
    }

    /// The radius of each sample of this visit, `[n]`, in pixel values of [0, 1]; a radius of 0 trains on the
    /// clean image. The policy stores what it must remember with [`Visit::remember`].
    fn radii(&self, visit: &mut Visit) -> Result<Vec<f64>>;
}

/// Probes of an epsilon policy. By default there are no probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probes {
    /// Attacks on a sample in a visit, at most.
    pub most: usize,
    /// The first epoch with probes, from 0.
    pub from_epoch: usize,
}

/// The input of an epsilon policy for one batch, before the training step on that batch.
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
    /// A visit in `epoch` (from 0) with the batch's entries of the epsilon memory.
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

    /// Whether the visit has no samples.
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

    /// The memory after the visit, `[n]`.
    pub fn into_memory(self) -> Vec<f64> {
        self.memory
    }

    /// Whether the network classifies each sample correctly unperturbed, `[n]`. The first call costs a
    /// forward pass.
    pub fn correct(&mut self) -> Result<&[bool]> {
        if self.correct.is_none() {
            let broken = self.victim.broken(self.victim.pixels())?;
            self.correct = Some(broken.iter().map(|b| !b).collect());
        }
        Ok(self.correct.as_deref().unwrap_or_default())
    }

    /// Whether each sample that `rows` selects is still classified correctly after the training attack within
    /// `radii` `[n]`; `false` for the other samples.
    pub fn survives(&mut self, rows: &[bool], radii: &[f64]) -> Result<Vec<bool>> {
        self.survives_attack(self.attack, rows, radii)
    }

    /// Like [`Self::survives`], with another attack.
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
        // Batch statistics of a part of the batch would differ, so all samples run and the other results are
        // dropped.
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
