//! Auto-PGD (APGD), Croce and Hein 2020, <https://arxiv.org/abs/2003.01690>, section 3 and algorithm 1, as in the
//! authors' code <https://github.com/fra31/auto-attack>.
//!
//! Projected gradient ascent with momentum. The step length starts at the diameter of the ball. At checkpoints it is
//! halved for each sample whose loss rises too rarely, and the search goes on from the best iterate so far.
//!
//! Where the paper and the authors' code differ, this module follows the code: checkpoints are rounded down, a share
//! of rises of exactly `rho` halves the step, and the second condition for halving does not apply at the first
//! checkpoint.
//!
//! Deviations from the code:
//!
//! - The code compares the first loss of the first window with 0, not with the loss at the start:
//!   `first_window = "zero"` does the same.
//! - In an evaluation a sample leaves the batch at its first misclassified iterate, which gives the same accuracy. The
//!   code takes all steps and returns the last misclassified iterate.
//! - `loss = "ce"` raises the log odds. They rise exactly when cross-entropy rises, along the same direction, so steps
//!   and halvings are those of cross-entropy, but their gradient does not vanish when the network is confident.
//! - With fewer than 3 classes (targeted: 4) `dlr` is not defined. The margin of logits, its numerator, is raised
//!   instead; the code fails there.
//! - With `eot`, gradients of log odds are averaged, so a pass in which the network is confident weighs as much as
//!   others. The code averages gradients of cross-entropy, in which such a pass weighs less.
//! - Random numbers depend on the sample only, so starts do not depend on the batch or on which samples remain.
//!
//! The l1 variant of Croce and Hein 2021, <https://arxiv.org/abs/2103.01208>, is not included: temper has no l1 balls.

mod ascent;
mod progress;
#[cfg(test)]
mod tests;

use temper_core::Pass;
use temper_core::prelude::*;

use crate::ascent::Ascent;
use crate::progress::Windows;

/// The number of classes that the difference of logits ratio needs, untargeted and targeted.
const DLR_CLASSES: [usize; 2] = [3, 4];

options! {
    /// With what the first loss after the start is compared.
    pub enum FirstWindow {
        /// With the loss at the start. The paper.
        Start = "start",
        /// With 0. The authors' code, torchattacks and adv-lib.
        Zero = "zero",
    }
}

plugin! { Attack "apgd";
    /// Auto-PGD (APGD): projected gradient ascent with momentum, which chooses its step lengths itself.
    /// Croce & Hein 2020, <https://arxiv.org/abs/2003.01690>, algorithm 1. Norms: l-inf, l2 (not l1).
    pub struct AutoPgd {
        /// Gradient steps (the paper, the authors' code, adv-lib, ART: 100; torchattacks: 10). The schedule of step
        /// lengths follows from them.
        pub steps: NonZeroUsize = nonzero(100),
        /// Random starts, each tried on what the former ones left standing (AutoAttack, torchattacks, adv-lib: 1;
        /// AutoAttack's version `plus`, ART: 5).
        pub restarts: NonZeroUsize = nonzero(1),
        /// Loss that is raised: `ce` (cross-entropy, by its log odds), `dlr` (difference of logits ratio) or `margin`
        /// of logits. `dlr` needs 3 classes, with a target 4; with fewer the margin is raised. A loss of training that
        /// has a score of its own, such as TRADES, overrides it.
        pub loss: Raised = Raised::Ce,
        /// Class aimed at: `none` (any wrong one), `random` (drawn evenly for each sample), `least-likely` on the clean
        /// image, the `{ likeliest = N }` wrong ones (AutoAttack: 9, with `dlr`), or `all` of them, one after the
        /// other.
        pub target: Target = Target::None,
        /// In an evaluation, a sample is broken when `any` iterate is misclassified (the authors' code), or when the
        /// iterate of the highest loss is: `final`, the output of the paper's algorithm 1.
        pub success: Success = Success::Any,
        /// Passes over which each gradient is averaged, for networks that draw random numbers (AutoAttack: 1; its
        /// version for randomised defences: 20). Loss and prediction are those of the last pass.
        pub eot: NonZeroUsize = nonzero(1),
        /// Length of the first step, as a multiple of each sample's radius (the paper, the authors' code, torchattacks,
        /// adv-lib: 2; ART: 0.3333).
        pub first_step: Positive = Positive::of(2.0),
        /// Weight of the step along the gradient, alpha in the paper; that of the former move is 1 - `alpha`. At 1
        /// there is no momentum (the paper, all libraries: 0.75).
        pub alpha: Fraction = Fraction::of(0.75),
        /// The step length is halved at a checkpoint if the loss rose in this share of the steps since the last one, or
        /// in fewer (the paper, all libraries: 0.75).
        pub rho: Fraction = Fraction::of(0.75),
        /// The first loss of the first window counts as a rise if it is above that of the `start` (the paper), or above
        /// `zero` (an oversight of the authors' code, torchattacks and adv-lib).
        pub first_window: FirstWindow = FirstWindow::Start,
    }
}

impl Attack for AutoPgd {
    fn problem_of_classes(&self, classes: usize) -> Option<String> {
        self.raised(classes).problem(self.target, classes)
    }

    fn warning_for_classes(&self, classes: usize) -> Option<String> {
        let (needed, targeted) = match self.target {
            Target::None => (DLR_CLASSES[0], ""),
            _ => (DLR_CLASSES[1], "targeted "),
        };
        (self.raised(classes) != self.loss).then(|| {
            format!(
                "the {targeted}loss `dlr` needs at least {needed} classes, not {classes}: the margin of logits, its numerator, was raised instead"
            )
        })
    }

    /// `None` if only the iterate with the highest loss counts: the others are then not results.
    fn steps(&self) -> Option<usize> {
        (self.success == Success::Any).then_some(self.steps.get())
    }

    fn most_passes(&self, classes: usize) -> Option<[u64; 2]> {
        let runs = (self.target.tried(classes) as u64).saturating_mul(self.restarts.get() as u64);
        // Gradients are computed at the start and at all iterates but the last. The last one is judged, and compared
        // with those of other starts and other target classes. A pass over the clean image ranks these classes.
        let gradients = (self.steps.get() as u64).saturating_mul(self.eot.get() as u64);
        let forwards = runs.saturating_mul(gradients.saturating_add(3)).saturating_add(1);
        Some([forwards, runs.saturating_mul(gradients)])
    }

    fn variant(&self) -> Option<String> {
        Some(variant(self.steps, self.restarts.get(), self.target, self.loss))
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        let raised = self.raised(victim.classes());
        let before = self.loss_before_start(raised, victim);
        self.target.aim(raised, victim, ball, rng, |victim, ball, rng| {
            restarts(victim, ball, rng, self.restarts.get(), |victim, ball, rng| {
                self.run(victim, ball, ball.on_surface(rng)?, before)
            })
        })
    }
}

impl AutoPgd {
    /// The loss that is raised with this number of classes.
    fn raised(&self, classes: usize) -> Raised {
        let needed = DLR_CLASSES[usize::from(self.target != Target::None)];
        match self.loss {
            Raised::Dlr if classes < needed => Raised::Margin,
            loss => loss,
        }
    }

    /// The number with which the first loss after the start is compared; `None` for the loss at the start.
    /// Cross-entropy is always above 0 and its targeted form always below, so the log odds that replace them are
    /// always above or below this number.
    fn loss_before_start(&self, raised: Raised, victim: &Victim) -> Option<f64> {
        let targeted = self.target != Target::None;
        let log_odds =
            raised == Raised::Ce && !victim.mixes_samples() && (targeted || !victim.has_own_score());
        match (self.first_window, log_odds, targeted) {
            (FirstWindow::Start, ..) => None,
            (FirstWindow::Zero, false, _) => Some(0.0),
            (FirstWindow::Zero, true, false) => Some(f64::NEG_INFINITY),
            (FirstWindow::Zero, true, true) => Some(f64::INFINITY),
        }
    }

    /// One run from these starts. If any mistake ends the run, the result is the first misclassified iterate, or else
    /// the last iterate. Otherwise the result is the iterate with the highest loss.
    fn run(&self, victim: &Victim, ball: &Ball, start: Tensor, before: Option<f64>) -> Result<Tensor> {
        let any_mistake = self.success == Success::Any && victim.goal() == Goal::Mistake;
        let mut walk = Walk::new(victim, ball, start, self.success);
        let Some((pass, _)) = self.pass(&mut walk)? else { return walk.finish() };
        let mut ascent = Ascent::begin(walk.pixels(), &pass, self.first_step.get(), before)?;
        let mut windows = Windows::of(self.steps.get());
        for step in 1..self.steps.get() {
            walk.go(ascent.next(walk.ball(), self.alpha.get())?)?;
            let Some((pass, kept)) = self.pass(&mut walk)? else { return walk.finish() };
            ascent.keep(kept.as_ref())?;
            ascent.arrive(walk.pixels(), &pass)?;
            if let Some(window) = windows.ended_by(step) {
                ascent.check(window, self.rho.get())?;
            }
        }
        // The last iterate needs no gradient.
        walk.go(ascent.next(walk.ball(), self.alpha.get())?)?;
        if any_mistake {
            return walk.finish();
        }
        let scores = walk.victim().scores(walk.pixels())?;
        ascent.best_with(walk.pixels(), &scores)
    }

    /// A pass at the current iterate, with the mean gradient of `eot` passes. The last pass determines which samples
    /// remain.
    fn pass(&self, walk: &mut Walk) -> Result<Option<(Pass, Option<Tensor>)>> {
        let mut sum = None;
        for _ in 1..self.eot.get() {
            let gradient = walk.victim().gradient(walk.pixels())?;
            sum = Some(match sum {
                None => gradient,
                Some(sum) => (sum + gradient)?,
            });
        }
        let Some((mut pass, kept)) = walk.pass()? else { return Ok(None) };
        if let Some(mut sum) = sum {
            if let Some(kept) = &kept {
                sum = sum.index_select(kept, 0)?;
            }
            pass.gradient = ((sum + &pass.gradient)? / self.eot.get() as f64)?;
        }
        Ok(Some((pass, kept)))
    }
}
