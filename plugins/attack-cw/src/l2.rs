//! `cw-l2`: section VI-A of the paper, as the authors' code runs it.
//!
//! For a constant c Adam lowers ||x' - x||^2 + c max(margin + confidence, 0); c is searched by bisection, upwards by tens until a
//! success. The nearest successful image of all iterates counts.
//!
//! Deviations: a sample that makes no progress leaves its descent alone (the authors' code looks at the sum over the batch),
//! and distances are to the clean image itself, not to its image in tanh space.

use temper_core::prelude::*;

use crate::adam::Adam;
use crate::front::{Front, Look, sums};
use crate::margin::{Aim, Margin};
use crate::tanh::TanhBox;

plugin! { Attack "cw-l2";
    /// Carlini and Wagner's l2 attack: smallest l2 perturbation by Adam in tanh space, with a search for its constant.
    /// Carlini & Wagner 2017, <https://arxiv.org/abs/1608.04644>, section VI-A.
    /// Norms: l2, whatever the norm of the radius.
    pub struct CarliniWagnerL2 {
        /// Most steps of each descent (authors' code, foolbox, adv-lib, advertorch: 10000; CleverHans: 1000; torchattacks: 50; ART: 10).
        pub steps: NonZeroUsize = nonzero(1000),
        /// Descents, each with another constant (authors' code, foolbox, adv-lib, advertorch: 9; ART: 10; CleverHans: 5; torchattacks has
        /// no search: 1).
        pub binary_search_steps: NonZeroUsize = nonzero(9),
        /// Constant of the first descent, without unit: weight of the margin beside the squared distance (authors' code, foolbox,
        /// adv-lib, advertorch: 1e-3; CleverHans, ART: 0.01; torchattacks: 1).
        pub initial_const: Positive = Positive::of(1e-3),
        /// Adam's learning rate, in units of tanh space (authors' code, foolbox, adv-lib, torchattacks, ART: 0.01; CleverHans: 5e-3).
        pub learning_rate: Positive = Positive::of(0.01),
        /// How much larger than the own logit another must be for a success, in logits (all libraries: 0).
        pub confidence: NonNegative = NonNegative::of(0.0),
        /// End a sample's descent when a tenth of `steps` lowered its loss by less than 1 in 10,000.
        pub abort_early: bool = true,
        /// Class that is left: the `true` one, or the one `predicted` for the clean image (CleverHans and ART without labels).
        pub labels: Labels = Labels::True,
        /// Class aimed at: `none` (any wrong one), `random` (drawn evenly for each sample), or `least-likely` on the clean
        /// image.
        pub target: Target = Target::None,
    }
}

/// One sample's search for its constant, and the nearest success so far.
#[derive(Debug, Clone, Copy)]
struct Search {
    constant: f64,
    lower: f64,
    upper: f64,
    /// In this descent.
    found: bool,
    /// Squared distance of the nearest success.
    best: f64,
}

impl Search {
    /// Takes in an iterate, and says whether it is the nearest success so far.
    fn hear(&mut self, margin: Margin, square: f64) -> bool {
        self.found |= margin.success;
        let better = margin.success && square < self.best;
        if better {
            self.best = square;
        }
        better
    }

    /// Bisects, or goes up by tens as long as nothing succeeded.
    fn next(&mut self) {
        match self.found {
            true => self.upper = self.upper.min(self.constant),
            false => self.lower = self.lower.max(self.constant),
        }
        self.constant = match self.upper.is_finite() {
            true => f64::midpoint(self.lower, self.upper),
            false => self.constant * 10.0,
        };
        self.found = false;
    }
}

impl Attack for CarliniWagnerL2 {
    fn minimal(&self) -> Option<Norm> {
        Some(Norm::L2)
    }

    fn problem(&self, _norm: Norm) -> Option<String> {
        Aim::problem("cw-l2", self.target)
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        let victim = self.labels.view(victim)?;
        let aim = Aim::new(&victim, self.target, self.confidence.get(), rng)?;
        let constant = self.initial_const.get();
        let search = Search { constant, lower: 0.0, upper: f64::INFINITY, found: false, best: f64::INFINITY };
        let mut searches = vec![search; victim.len()];
        let mut nearest = ball.center().clone();
        let last = self.binary_search_steps.get() - 1;
        for descent in 0..=last {
            if descent == last && last >= 9 {
                // As the authors' code: a long search ends with the smallest constant that succeeded.
                for search in searches.iter_mut().filter(|search| search.upper.is_finite()) {
                    search.constant = search.upper;
                }
            }
            let front = Front::new(&victim, &aim, ball.center(), TanhBox::unit(ball.center())?)?;
            self.descend(front, &mut searches, &mut nearest)?;
            searches.iter_mut().for_each(Search::next);
        }
        Ok(nearest)
    }
}

impl CarliniWagnerL2 {
    /// One descent for every sample from its clean image. `nearest` `[n, c, h, w]` takes the nearest successes.
    fn descend(&self, mut front: Front, searches: &mut [Search], nearest: &mut Tensor) -> Result<()> {
        let mut adam = Adam::new(&front.variable)?;
        let mut previous = vec![f64::INFINITY; searches.len()];
        for step in 0..self.steps.get() {
            let Look { image, forward, margins } = front.look()?;
            let offset = (&image - &front.clean)?;
            let squares = sums(&offset.sqr()?)?;
            let better = front.rows.iter().zip(margins.iter().zip(&squares));
            let better: Vec<bool> = better.map(|(row, (m, s))| searches[*row].hear(*m, *s)).collect();
            *nearest = front.put(nearest, &image, &better)?;

            let constants: Vec<f64> = front.rows.iter().map(|row| searches[*row].constant).collect();
            let raised = front.aim.gradient(&forward, &margins, false)?;
            let raised = raised.broadcast_mul(&rows::column(&constants, &image)?)?;
            let gradient = (raised + offset.affine(2.0, 0.0)?)?;
            let mut gradient = front.space.pull_back(&front.variable, &gradient)?;
            if self.abort_early && step % self.steps.get().div_ceil(10) == 0 {
                let loss = |i: usize| squares[i] + constants[i] * margins[i].hinge();
                let losses: Vec<f64> = (0..squares.len()).map(loss).collect();
                let progress = losses.iter().zip(&previous).map(|(new, old)| *new <= old * 0.9999);
                let progress: Vec<bool> = progress.collect();
                front.keep(&progress)?;
                if front.rows.is_empty() {
                    break;
                }
                previous = rows::kept(&losses, &progress);
                (adam, gradient) = (adam.rows(&progress)?, rows::select(&gradient, &progress)?);
            }
            front.variable = (&front.variable + adam.step(&gradient, self.learning_rate.get())?)?;
        }
        Ok(())
    }
}
