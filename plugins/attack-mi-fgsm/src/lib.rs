//! Momentum iterative fast gradient sign method (MI-FGSM), Dong et al. 2018, <https://arxiv.org/abs/1710.06081>.
//!
//! Each gradient is divided by the mean of its absolute values and added to `decay` times the momentum. The
//! step goes along the sign of the momentum, in an l2 ball along the momentum itself. Dong et al. divide by
//! the sum of the absolute values, a constant factor that does not change the direction. A gradient of 0 adds
//! nothing, so the step follows the previous momentum (torchattacks divides by 0 there).
//!
//! Deviations: restarts and the success criterion are those of `pgd`; random starts and targets are not in
//! the paper.

use temper_core::prelude::*;

/// Default length of all steps together, as a multiple of the radius: that of ten steps of PGD.
const DEFAULT_TRAVEL: f64 = 2.5;

options! {
    /// What the momentum gathers.
    pub enum Gather {
        /// Gradients over the mean of their absolute values. The paper.
        Mean = "mean",
        /// Directions of steepest ascent: signs in an l-inf ball, gradients of length 1 in an l2 ball. foolbox 3.
        Steepest = "steepest",
    }
}

plugin! { Attack "mi-fgsm";
    /// Momentum iterative FGSM (MI-FGSM): steps along gathered gradients.
    /// Dong et al. 2018, <https://arxiv.org/abs/1710.06081>. Norms: l-inf, l2.
    pub struct MomentumIterative {
        /// Gradient steps (foolbox, torchattacks, CleverHans: 10; advertorch, the authors of IAAT: 40; ART: 100).
        pub steps: NonZeroUsize = nonzero(10),
        /// Share of the gathered gradients that the next step keeps, without unit: mu in the paper, where it is 1; so it is by default in all
        /// libraries.
        pub decay: NonNegative = NonNegative::of(1.0),
        /// Length of all steps together, as a multiple of each sample's radius (paper: 1, steps of eps / T, which end inside the ball
        /// wherever a sign turns; foolbox and CleverHans: 2; the authors of IAAT: 0.999975, which is 40 steps of eps / 40.001). Left out
        /// it is 2.5, and no step is longer than the radius.
        pub travel: Option<Positive> = None,
        /// Length of a step in pixel values of [0, 1], instead of what `travel` gives (torchattacks: 2/255; advertorch: 0.01;
        /// ART: 0.1).
        pub step: Option<Distance> = None,
        /// What the momentum gathers: gradients over their `mean` absolute value (paper), or directions of `steepest` ascent
        /// (foolbox 3).
        pub gather: Gather = Gather::Mean,
        /// Start at a random point of the ball instead of the clean image (paper: false).
        pub random_start: bool = false,
        /// Runs, each on what the former ones left standing; one without `random_start`, as all would be the same.
        pub restarts: NonZeroUsize = nonzero(1),
        /// In an evaluation, a sample is broken when `any` iterate is misclassified, or when the `final` one is.
        pub success: Success = Success::Any,
        /// Class aimed at: `none` (any wrong one), `random` (drawn evenly for each sample), `least-likely` on the clean image,
        /// the `{ likeliest = N }` wrong ones, or `all` of them, one after the other.
        pub target: Target = Target::None,
        /// Loss that is raised: `ce` (cross-entropy, by its log odds), `margin` of logits, or `dlr` (Croce and Hein 2020).
        pub loss: Raised = Raised::Ce,
    }
}

impl Attack for MomentumIterative {
    fn warning(&self, radius: f64) -> Option<String> {
        let length = self.step.map_or(self.relative_step() * radius, Distance::get);
        joined([
            step_warning(radius, self.steps.get(), length),
            restarts_warning(self.restarts.get(), self.random_start),
        ])
    }

    fn draws(&self) -> bool {
        self.random_start || self.target == Target::Random
    }

    fn steps(&self) -> Option<usize> {
        Some(self.steps.get())
    }

    fn variant(&self) -> Option<String> {
        let restarts = if self.random_start { self.restarts.get() } else { 1 };
        Some(variant(self.steps, restarts, self.target, self.loss))
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        self.target.aim(self.loss, victim, ball, rng, |victim, ball, rng| {
            let times = if self.random_start { self.restarts.get() } else { 1 };
            restarts(victim, ball, rng, times, |victim, ball, rng| self.run(victim, ball, rng))
        })
    }
}

impl MomentumIterative {
    /// Step length as a multiple of the radius, if none is given in pixel values.
    fn relative_step(&self) -> f64 {
        let steps = self.steps.get() as f64;
        self.travel.map_or((DEFAULT_TRAVEL / steps).min(1.0), |travel| travel.get() / steps)
    }

    /// One run from one start.
    fn run(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        let start = if self.random_start { ball.random(rng)? } else { ball.center().clone() };
        let mut momentum = start.zeros_like()?;
        let mut walk = Walk::new(victim, ball, start, self.success);
        for _ in 0..self.steps.get() {
            let Some((pass, kept)) = walk.pass()? else { break };
            if let Some(kept) = kept {
                momentum = momentum.index_select(&kept, 0)?;
            }
            let ball = walk.ball();
            let gathered = match self.gather {
                Gather::Mean => over_mean(&pass.gradient)?,
                Gather::Steepest => ball.steepest(&pass.gradient)?,
            };
            momentum = ((momentum * self.decay.get())? + gathered)?;
            let lengths = match self.step {
                Some(step) => ball.lengths(step, 0.0)?,
                None => ball.lengths(Distance::ZERO, self.relative_step())?,
            };
            let next = ball.step(walk.pixels(), &ball.steepest(&momentum)?, &lengths)?;
            walk.go(next)?;
        }
        walk.finish()
    }
}

/// Each sample's gradient divided by the mean of its absolute values; 0 stays 0.
fn over_mean(gradient: &Tensor) -> Result<Tensor> {
    let gradient = scaled(gradient)?;
    let mean = gradient.abs()?.flatten_from(1)?.mean_keepdim(1)?;
    // The largest entry is 1, so the mean is at least 1 over the number of pixels, or 0.
    let mean = mean.maximum(1e-12)?.reshape((gradient.dim(0)?, 1, 1, 1))?;
    Ok(gradient.broadcast_div(&mean)?)
}
