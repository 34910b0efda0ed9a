//! `cw-linf`: section VI-C of the paper, as in the authors' code.
//!
//! The maximum norm has a gradient at one pixel only, so all changes above a threshold tau are penalised:
//! Adam minimises sum max(|x' - x| - tau, 0) + c max(margin + confidence, 0). If an attempt brings this below
//! c / 10,000 and succeeds, tau becomes 0.9 of the largest change, and the next attempt continues from there
//! with reset moments. Otherwise c is doubled and the attempt continues unchanged. A sample ends when tau is
//! below 1/256, or c reaches its largest value.
//!
//! Deviations:
//!
//! - The weight of the margin relative to the changes, whose slope is 1, is c times the slope of the margin.
//!   A sample gives up only when both c and this product have reached the largest constant, because the scale
//!   of logits is arbitrary.
//! - The nearest successful image of all iterates counts, whether or not it ended an attempt (as in adv-lib).
//! - Each sample starts its next attempt immediately, independently of the others.

use temper_core::prelude::*;

use crate::adam::Adam;
use crate::front::{Front, Look, largest as largest_of, sums};
use crate::margin::{Aim, Margin};
use crate::tanh::TanhBox;

/// A sample with a smaller threshold ends.
const SMALLEST: f64 = 1.0 / 256.0;

plugin! { Attack "cw-linf";
    /// Carlini and Wagner's l-inf attack: smallest largest change, by Adam in tanh space under a falling threshold.
    /// Carlini & Wagner 2017, <https://arxiv.org/abs/1608.04644>, section VI-C.
    /// Norms: l-inf, whatever the norm of the radius.
    pub struct CarliniWagnerLinf {
        /// Most steps of an attempt (authors' code, adv-lib: 1000; ART since 1.9: 10).
        pub steps: NonZeroUsize = nonzero(1000),
        /// Adam's learning rate, in units of tanh space (authors' code: 5e-3; adv-lib, ART: 0.01).
        pub learning_rate: Positive = Positive::of(5e-3),
        /// Constant of the first attempt, without unit: weight of the margin beside the changes, below
        /// `largest_const` (authors' code, adv-lib, ART: 1e-5).
        pub initial_const: Positive = Positive::of(1e-5),
        /// Constant at which a sample gives up, without unit (authors' code, adv-lib, ART: 20); it goes on
        /// where the margin's largest slope in a pixel, times the constant, is still below that.
        pub largest_const: Positive = Positive::of(20.0),
        /// By how much an attempt that failed raises the constant, as a factor above 1 (authors' code,
        /// adv-lib, ART: 2).
        pub const_factor: Growth = Growth::of(2.0),
        /// Halve the constant after each success (authors' code, adv-lib: false).
        pub reduce_const: bool = false,
        /// The next threshold, as a share of the largest change of a success (authors' code, adv-lib, ART: 0.9).
        pub decrease: Share = Share::of(0.9),
        /// How much larger than the own logit another must be for a success, in logits (all libraries: 0).
        pub confidence: NonNegative = NonNegative::of(0.0),
        /// End an attempt as soon as it succeeds, instead of after all `steps`.
        pub abort_early: bool = true,
        /// Class that is left: the `true` one, or the one `predicted` for the clean image (ART without labels).
        pub labels: Labels = Labels::True,
        /// Class aimed at: `none` (any wrong one), `random` (drawn evenly for each sample), or `least-likely`
        /// on the clean image.
        pub target: Target = Target::None,
    }
}

/// The attempts of one sample, and the nearest success so far.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    threshold: f64,
    constant: f64,
    steps: usize,
    /// Largest change of the nearest success.
    best: f64,
    /// Largest slope of the margin in a pixel so far.
    slope: f64,
}

/// Beyond this constant single precision overflows.
const EDGE: f64 = 1e30;

impl Attempt {
    /// Whether a larger constant could still help; never if the margin has no slope.
    fn goes_on(&self, largest_const: f64) -> bool {
        let heavy = self.constant >= largest_const
            && (self.slope == 0.0 || self.constant * self.slope >= largest_const || self.constant >= EDGE);
        self.threshold > SMALLEST && !heavy
    }
}

/// The effect of an iterate on its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Step,
    Success,
    Failure,
}

impl Attack for CarliniWagnerLinf {
    fn min_norm(&self) -> Option<Norm> {
        Some(Norm::Linf)
    }

    fn draws(&self) -> bool {
        self.target == Target::Random
    }

    fn problem(&self, _norm: Norm) -> Option<String> {
        let (initial, largest) = (self.initial_const.get(), self.largest_const.get());
        let hopeless = (initial >= largest).then(|| {
            format!(
                "attack `cw-linf` gives up at `largest_const`, {largest}, before it tries anything: `initial_const` \
                 must be below that, not {initial}"
            )
        });
        hopeless.or_else(|| Aim::problem("cw-linf", self.target))
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        if let Some(problem) = self.problem(ball.norm()) {
            return Err(Error::refused(problem));
        }
        let victim = self.labels.view(victim)?;
        let aim = Aim::new(&victim, self.target, self.confidence.get(), rng)?;
        let mut front = Front::new(&victim, &aim, ball.center(), TanhBox::unit(ball.center())?)?;
        let mut nearest = ball.center().clone();
        let constant = self.initial_const.get();
        let first = Attempt { threshold: 1.0, constant, steps: 0, best: f64::INFINITY, slope: 0.0 };
        let mut attempts = vec![first; victim.len()];
        let mut adam = Adam::new(&front.variable)?;
        while !front.rows.is_empty() {
            let Look { image, forward, margins } = front.look()?;
            let offset = (&image - &front.clean)?;
            let changes = offset.abs()?;
            let largest = largest_of(&changes)?;
            let better = |i: usize| margins[i].success && largest[i] < attempts[i].best;
            let better: Vec<bool> = (0..margins.len()).map(better).collect();
            nearest = front.put(&nearest, &image, &better)?;

            let thresholds: Vec<f64> = attempts.iter().map(|a| a.threshold).collect();
            let excess = changes.broadcast_sub(&rows::column(&thresholds, &image)?)?.relu()?;
            let punished = sums(&excess)?;
            let constants: Vec<f64> = attempts.iter().map(|a| a.constant).collect();
            let turns: Vec<Turn> = (0..margins.len())
                .map(|i| self.turn(&mut attempts[i], margins[i], largest[i], punished[i]))
                .collect();

            let raised = front.aim.gradient(&forward, &margins, false)?;
            for (attempt, slope) in attempts.iter_mut().zip(largest_of(&raised)?) {
                attempt.slope = attempt.slope.max(slope);
            }
            let raised = raised.broadcast_mul(&rows::column(&constants, &image)?)?;
            let beyond = excess.gt(0.0)?.to_dtype(image.dtype())?;
            let gradient = front.space.pull_back(&front.variable, &(raised + (offset.sign()? * beyond)?)?)?;
            let next = (&front.variable + adam.step(&gradient, self.learning_rate.get())?)?;

            let succeeded: Vec<bool> = turns.iter().map(|turn| *turn == Turn::Success).collect();
            front.variable = rows::choose(&succeeded, &front.variable, &next)?;
            adam.reset(&succeeded)?;

            let goes_on: Vec<bool> = attempts.iter().map(|a| a.goes_on(self.largest_const.get())).collect();
            if goes_on.contains(&false) {
                front.keep(&goes_on)?;
                attempts = rows::kept(&attempts, &goes_on);
                adam = adam.rows(&goes_on)?;
            }
        }
        Ok(nearest)
    }
}

impl CarliniWagnerLinf {
    /// Updates the attempt with an iterate: its margin, its largest change, and the sum of its changes above
    /// the threshold.
    fn turn(&self, attempt: &mut Attempt, margin: Margin, largest: f64, punished: f64) -> Turn {
        if margin.success {
            attempt.best = attempt.best.min(largest);
        }
        let loss = punished + attempt.constant * margin.hinge();
        attempt.steps += 1;
        let is_last = attempt.steps == self.steps.get();
        let turn = match loss < 1e-4 * attempt.constant && margin.success {
            true if self.abort_early || is_last => Turn::Success,
            _ if is_last => Turn::Failure,
            _ => return Turn::Step,
        };
        attempt.steps = 0;
        match turn {
            Turn::Success => {
                attempt.threshold = attempt.threshold.min(largest) * self.decrease.get();
                attempt.constant *= if self.reduce_const { 0.5 } else { 1.0 };
            }
            _ => attempt.constant *= self.const_factor.get(),
        }
        turn
    }
}
