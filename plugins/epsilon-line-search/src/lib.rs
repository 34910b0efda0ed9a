//! Radii by line search, the exact heuristic with which Balaji, Goldstein & Hoffman 2019,
//! <https://arxiv.org/abs/1910.08051>, section 5.2 and table 7, compare IAAT. On every visit a sample gets
//! the largest radius of a grid {eta n}, n = 1 .. max / eta, at which the attack leaves the prediction
//! correct; 0 if there is none.
//!
//! The grid is searched from its largest radius, and a sample is not probed further once it survives, which
//! gives the same radii with fewer passes. A sample that is misclassified unperturbed is not probed and is
//! trained clean, as in Algorithm 1. The paper states neither max nor eta, and does not smooth, which is
//! `beta = 1`.

use temper_core::prelude::*;

plugin! { Epsilon "line-search";
    /// Full line search: the largest radius of a grid whose attack leaves the prediction right.
    /// Balaji et al. 2019, <https://arxiv.org/abs/1910.08051>, section 5.2. Norms: l-inf, l2.
    pub struct LineSearch {
        /// Radius of every correctly classified sample during the warm-up, and memory when the search begins, in pixel
        /// values of [0, 1].
        pub start: Distance = Distance::of_255(8.0),
        /// Epochs with radius `start` before the search.
        pub warmup: usize = 10,
        /// Largest radius of the grid, in pixel values of [0, 1].
        pub max: Distance = Distance::of_255(16.0),
        /// Radii of the grid: `max` / `points` and its multiples. So many attacks more a visit at most.
        pub points: NonZeroUsize = nonzero(16),
        /// Share of the radius found in the new one; the rest is the memory. 1 is no smoothing.
        pub beta: Fraction = Fraction::of(1.0),
        /// Attack of the probes; left out, the training attack.
        pub probe: Option<Chosen<dyn Attack>> = None,
    }
}

impl Epsilon for LineSearch {
    fn start(&self) -> f64 {
        self.start.get()
    }

    fn lengths(&self) -> Vec<(&'static str, f64)> {
        vec![("start", self.start.get()), ("max", self.max.get())]
    }

    fn largest(&self) -> f64 {
        self.start.get().max(self.max.get())
    }

    fn warning(&self, epochs: usize) -> Option<String> {
        never_adapts(self.warmup, epochs)
    }

    fn probe(&self) -> Option<&Chosen<dyn Attack>> {
        self.probe.as_ref()
    }

    fn probes(&self) -> Probes {
        Probes { most: self.points.get(), from_epoch: self.warmup }
    }

    fn refuses_radii(&self) -> Option<String> {
        let forgets = self.beta.get() >= 1.0;
        forgets
            .then(|| "with `beta = 1` its radii do not depend on earlier ones: set a smaller `beta`".into())
    }

    fn radii(&self, visit: &mut Visit) -> Result<Vec<f64>> {
        let correct = visit.correct()?.to_vec();
        let radii = if visit.epoch() < self.warmup {
            vec![self.start.get(); visit.len()]
        } else {
            let found = self.search(visit, &correct)?;
            let smooth = |(m, found): (&f64, &f64)| (1.0 - self.beta.get()) * m + self.beta.get() * found;
            let radii: Vec<f64> = visit.memory().iter().zip(&found).map(smooth).collect();
            visit.remember(radii.clone())?;
            radii
        };
        // Algorithm 1, lines 9 to 11.
        Ok(radii.iter().zip(&correct).map(|(r, correct)| if *correct { *r } else { 0.0 }).collect())
    }
}

impl LineSearch {
    /// The largest radius of the grid that each sample survives, otherwise 0.
    fn search(&self, visit: &mut Visit, correct: &[bool]) -> Result<Vec<f64>> {
        let mut found = vec![0.0; visit.len()];
        let mut standing = correct.to_vec();
        for point in (1..=self.points.get()).rev() {
            if !standing.contains(&true) {
                break;
            }
            let radius = self.max.get() * point as f64 / self.points.get() as f64;
            let radii = vec![radius; visit.len()];
            let survives = match &self.probe {
                Some(attack) => visit.survives_attack(attack, &standing, &radii)?,
                None => visit.survives(&standing, &radii)?,
            };
            for i in (0..found.len()).filter(|i| survives[*i]) {
                (found[i], standing[i]) = (radius, false);
            }
        }
        Ok(found)
    }
}
