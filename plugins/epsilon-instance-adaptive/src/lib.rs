//! Instance adaptive radii, Balaji, Goldstein & Hoffman 2019, <https://arxiv.org/abs/1910.08051>: Algorithm 2.
//!
//! Every sample has a radius m in memory. On each visit an attack probes m + gamma. If the prediction stays
//! correct, the candidate is m + gamma. Otherwise m is probed: if the prediction stays correct, the candidate
//! is m, otherwise m - gamma (at least 0). The new radius is (1 - beta) m + beta * candidate, so a visit
//! moves a radius by at most beta * gamma (by beta * m for a misclassified sample with `misclassified = "decay"`).
//!
//! Points that the paper leaves open are parameters. Defaults follow the paper's text, and each parameter
//! names the value in the authors' code. m is probed only where m + gamma failed, which gives the same
//! numbers with fewer passes.

use temper_core::prelude::*;

options! {
    /// What happens to a sample that the network misclassifies unperturbed.
    pub enum Misclassified {
        /// Trained on its clean image; Algorithm 2 updates its memory as for any sample. The paper, Algorithm 1.
        Clean = "clean",
        /// Candidate 0, then smoothed: its radius decays by 1 - beta a visit, and it is still attacked. The
        /// authors' code.
        Decay = "decay",
    }
}

options! {
    /// What the memory holds when adaptation begins.
    pub enum Memory {
        /// The warm-up radius for every sample. The paper.
        Start = "start",
        /// 0 at first; each visit of the warm-up writes the warm-up radius for samples classified correctly, 0 for the
        /// others, which train clean. The authors' code.
        Zero = "zero",
    }
}

plugin! { Epsilon "instance-adaptive";
    /// Instance adaptive radii (IAAT): grown where the attack fails, shrunk where it succeeds.
    /// Balaji et al. 2019, <https://arxiv.org/abs/1910.08051>, Algorithm 2. Norms: l-inf, l2.
    pub struct InstanceAdaptive {
        /// Radius during the warm-up, and of every sample when adaptation begins, in pixel values of [0, 1].
        pub start: Distance = Distance::of_255(8.0),
        /// Epochs with radius `start` for every sample before adaptation; `misclassified = "clean"` and
        /// `memory = "zero"` hold in them too, `lower_bound` does not.
        pub warmup: usize = 10,
        /// How far a probe looks beyond and behind the present radius, in pixel values of [0, 1].
        pub gamma: Distance = Distance::of_255(1.9),
        /// Share of the candidate in the new radius.
        pub beta: Fraction = Fraction::of(0.1),
        /// Smallest radius to train with, in pixel values of [0, 1] (ImageNet in the paper: 4/255).
        pub lower_bound: Distance = Distance::ZERO,
        /// Keep the bounded radius in the memory too. The paper's text bounds after the selection.
        pub bound_memory: bool = false,
        /// Samples misclassified unperturbed: `clean` trains on the clean image (paper), `decay` lets the radius decay
        /// and attacks all the same (authors' code).
        pub misclassified: Misclassified = Misclassified::Clean,
        /// Memory before adaptation: `start` (paper), or `zero`, which the warm-up fills for correct samples (authors'
        /// code).
        pub memory: Memory = Memory::Start,
        /// Attack of the probes; left out, the training attack.
        pub probe: Option<Chosen<dyn Attack>> = None,
    }
}

impl Epsilon for InstanceAdaptive {
    fn start(&self) -> f64 {
        match self.memory {
            Memory::Start => self.start.get(),
            Memory::Zero => 0.0,
        }
    }

    fn lengths(&self) -> Vec<(&'static str, f64)> {
        let lengths = [("start", self.start), ("gamma", self.gamma), ("lower_bound", self.lower_bound)];
        lengths.map(|(name, length)| (name, length.get())).into()
    }

    fn largest(&self) -> f64 {
        self.start.get().max(self.lower_bound.get())
    }

    fn warning(&self, epochs: usize) -> Option<String> {
        never_adapts(self.warmup, epochs)
    }

    fn probe(&self) -> Option<&Chosen<dyn Attack>> {
        self.probe.as_ref()
    }

    /// One probe at the larger radius, and one at the radius itself.
    fn probes(&self) -> Probes {
        Probes { most: 2, from_epoch: self.warmup }
    }

    fn refuses_radii(&self) -> Option<String> {
        let overwritten = self.memory == Memory::Zero && self.warmup > 0;
        overwritten.then(|| "with `memory = \"zero\"` its warm-up overwrites them: set `warmup = 0`".into())
    }

    fn radii(&self, visit: &mut Visit) -> Result<Vec<f64>> {
        let correct = visit.correct()?.to_vec();
        let (selected, remembered) = if visit.epoch() < self.warmup {
            self.warm_up(visit, &correct)
        } else {
            let selected = self.select(visit, &correct)?;
            let bounded: Vec<f64> = selected.iter().map(|m| m.max(self.lower_bound.get())).collect();
            let remembered = if self.bound_memory { bounded.clone() } else { selected };
            (bounded, remembered)
        };
        visit.remember(remembered)?;
        Ok(match self.misclassified {
            // Algorithm 1, lines 9 to 11.
            Misclassified::Clean => only(&selected, &correct),
            Misclassified::Decay => selected,
        })
    }
}

impl InstanceAdaptive {
    /// The radii and the memory of a visit before adaptation starts.
    fn warm_up(&self, visit: &Visit, correct: &[bool]) -> (Vec<f64>, Vec<f64>) {
        let uniform = vec![self.start.get(); visit.len()];
        match self.memory {
            Memory::Start => (uniform, visit.memory().to_vec()),
            Memory::Zero => {
                let masked = only(&uniform, correct);
                (masked.clone(), masked)
            }
        }
    }

    /// Algorithm 2 for a batch: the new memory of each sample.
    fn select(&self, visit: &mut Visit, correct: &[bool]) -> Result<Vec<f64>> {
        let (beta, gamma) = (self.beta.get(), self.gamma.get());
        let memory = visit.memory().to_vec();
        // With `decay` the candidate of a misclassified sample is 0, whatever the result of a probe.
        let probed: Vec<bool> = match self.misclassified {
            Misclassified::Clean => vec![true; memory.len()],
            Misclassified::Decay => correct.to_vec(),
        };
        let beyond: Vec<f64> = memory.iter().map(|m| m + gamma).collect();
        let grows = self.survives(visit, &probed, &beyond)?;
        let rest: Vec<bool> = probed.iter().zip(&grows).map(|(probed, grows)| *probed && !grows).collect();
        let stays = self.survives(visit, &rest, &memory)?;
        let candidate = |i: usize| match (probed[i], grows[i], stays[i]) {
            (false, ..) => 0.0,
            (true, true, _) => beyond[i],
            (true, false, true) => memory[i],
            (true, false, false) => (memory[i] - gamma).max(0.0),
        };
        Ok((0..memory.len()).map(|i| (1.0 - beta) * memory[i] + beta * candidate(i)).collect())
    }

    fn survives(&self, visit: &mut Visit, rows: &[bool], radii: &[f64]) -> Result<Vec<bool>> {
        match &self.probe {
            Some(attack) => visit.survives_attack(attack, rows, radii),
            None => visit.survives(rows, radii),
        }
    }
}

/// `radii`, and 0 where `mask` is false.
fn only(radii: &[f64], mask: &[bool]) -> Vec<f64> {
    radii.iter().zip(mask).map(|(r, keep)| if *keep { *r } else { 0.0 }).collect()
}
