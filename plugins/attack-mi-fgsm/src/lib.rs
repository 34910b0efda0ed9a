//! Momentum iterative fast gradient sign method (MI-FGSM), Dong et al. 2018, <https://arxiv.org/abs/1710.06081>.
//!
//! Each gradient is divided by the mean of its absolute values and added to `decay` times the momentum. The
//! step goes along the sign of the momentum, in an l2 ball along the momentum itself. Dong et al. divide by
//! the sum of the absolute values, a constant factor that does not change the direction. A gradient of 0 adds
//! nothing, so the step follows the previous momentum (torchattacks divides by 0 there).
//!
//! Five extensions for images that transfer to other networks can be combined freely. All are off by default.
//!
//! - `nesterov` (NI) and `scales` (SI): Lin et al. 2020, <https://arxiv.org/abs/1908.06281>.
//! - `variance` (VMI, with `nesterov` VNI): Wang and He 2021, <https://arxiv.org/abs/2103.15571>.
//! - `diversity` (DI): Xie et al. 2019, <https://arxiv.org/abs/1803.06978>.
//! - `kernel` (TI): Dong et al. 2019, <https://arxiv.org/abs/1904.02884>.
//!
//! Deviations: restarts and the success criterion are those of `pgd`; random starts and targets are not in
//! the paper. `scales` and `variance` average gradients of the log odds, not of cross-entropy, so a copy on
//! which the network is confident weighs no less than others. The neighbours of `variance` lie around the
//! point at which the gradient was computed, which with `nesterov` is the point ahead. In an l2 ball they are
//! uniform in the ball, and the point ahead lies about as many steps away as in an l-inf ball.

use temper_core::prelude::*;

use crate::diversity::Diversity;
use crate::kernel::Blur;
use crate::views::Views;

mod diversity;
mod kernel;
mod planes;
mod views;

/// Default length of all steps together, as a multiple of the radius: that of ten steps of PGD.
const DEFAULT_TRAVEL: f64 = 2.5;

options! {
    /// What the momentum gathers.
    pub enum Gathering {
        /// Gradients over the mean of their absolute values. The paper.
        Mean = "mean",
        /// Directions of steepest ascent: signs in an l-inf ball, gradients of length 1 in an l2 ball. foolbox 3.
        Steepest = "steepest",
    }
}

plugin! { Attack "mi-fgsm";
    /// Momentum iterative FGSM (MI-FGSM): steps along gathered gradients.
    /// Dong et al. 2018, <https://arxiv.org/abs/1710.06081>. Norms: l-inf, l2.
    /// For images that transfer to other networks: `nesterov` (NI), `variance`
    /// (VMI), `scales` (SI), `diversity` (DI), `kernel` (TI).
    pub struct MomentumIterative {
        /// Gradient steps (foolbox, torchattacks, CleverHans: 10; advertorch, the authors of IAAT: 40; ART: 100).
        pub steps: NonZeroUsize = nonzero(10),
        /// Share of the gathered gradients that the next step keeps, without unit: mu in the paper, where it
        /// is 1; so it is by default in all libraries.
        pub decay: NonNegative = NonNegative::of(1.0),
        /// Length of all steps together, as a multiple of each sample's radius (paper: 1, steps of eps / T,
        /// which end inside the ball wherever a sign turns; foolbox and CleverHans: 2; the authors of IAAT:
        /// 0.999975, which is 40 steps of eps / 40.001). Left out it is 2.5, and no step is longer than the
        /// radius.
        pub travel: Option<Positive> = None,
        /// Length of a step in pixel values of [0, 1], instead of what `travel` gives (torchattacks: 2/255;
        /// advertorch: 0.01; ART: 0.1).
        pub step: Option<Distance> = None,
        /// What the momentum gathers: gradients over their `mean` absolute value (paper), or directions of
        /// `steepest` ascent (foolbox 3).
        pub gather: Gathering = Gathering::Mean,
        /// Start at a random point of the ball instead of the clean image (paper: false).
        pub random_start: bool = false,
        /// Runs, each on what the former ones left standing; one where `random_start`, `variance` and `diversity`
        /// are off, as all would be the same.
        pub restarts: NonZeroUsize = nonzero(1),
        /// In an evaluation, a sample is broken when `any` iterate is misclassified, or when the `final` one is.
        pub success: Success = Success::Any,
        /// Class aimed at: `none` (any wrong one), `random` (drawn evenly for each sample), `least-likely` on
        /// the clean image, the `{ likeliest = N }` wrong ones, or `all` of them, one after the other.
        pub target: Target = Target::None,
        /// Loss that is raised: `ce` (cross-entropy, by its log odds), `margin` of logits, or `dlr` (Croce
        /// and Hein 2020).
        pub loss: Raised = Raised::Ce,
        /// Take each gradient one step ahead along the momentum (NI, Lin et al. 2020).
        pub nesterov: bool = false,
        /// Neighbours whose mean gradient tunes the next gradient (VMI, Wang and He 2021: 20; torchattacks: 5); 0
        /// for none.
        pub variance: usize = 0,
        /// How far these neighbours lie at most, as a multiple of each sample's radius (paper, torchattacks: 1.5).
        pub variance_radius: Positive = Positive::of(1.5),
        /// Copies of the image, divided by 1, 2, 4 and so on, whose gradients are averaged (SI, Lin et al. 2020:
        /// 5); 1 is the image alone.
        pub scales: NonZeroUsize = nonzero(1),
        /// Probability that the network is shown an image that is resized and padded at random (DI, Xie et al.
        /// 2019: 0.5); 0 is never.
        pub diversity: Fraction = Fraction::of(0.0),
        /// Side to which `diversity` resizes at most, as a multiple of the image's; below one pixel more it
        /// changes nothing (TransferAttack: 1.1; torchattacks: 0.9, then pads to the image's side).
        pub resize: Growth = Growth::of(1.1),
        /// Side of the Gaussian kernel that smooths gradients, an odd number of pixels (TI, Dong et al. 2019,
        /// torchattacks: 15); 0 for none.
        pub kernel: usize = 0,
    }
}

impl Attack for MomentumIterative {
    fn problem(&self, _norm: Norm) -> Option<String> {
        kernel::problem(self.kernel)
    }

    fn warning(&self, radius: f64) -> Option<String> {
        let length = self.step.map_or(self.relative_step() * radius, Distance::get);
        joined([
            step_warning(radius, self.steps.get(), length),
            restarts_warning(self.restarts.get(), self.runs_differ()),
        ])
    }

    fn draws(&self) -> bool {
        self.runs_differ() || self.target == Target::Random
    }

    fn problem_of_classes(&self, classes: usize) -> Option<String> {
        self.loss.problem(self.target, classes)
    }

    fn most_passes(&self, classes: usize) -> Option<[u64; 2]> {
        let runs = (self.target.tried(classes) as u64).saturating_mul(self.runs() as u64);
        let steps = self.steps.get() as u64;
        // At the iterate and at each of its neighbours, for each of their scaled copies.
        let of_step = (self.variance as u64).saturating_add(1).saturating_mul(self.scales.get() as u64);
        let gradients = of_step.saturating_mul(runs).saturating_mul(steps);
        // Iterates are judged without a gradient there, results of runs are compared, and a pass over the clean image
        // ranks target classes.
        let judged = if self.nesterov || self.views().diversity.is_on() { steps } else { 0 };
        let others = runs.saturating_mul(judged.saturating_add(2)).saturating_add(1);
        Some([gradients.saturating_add(others), gradients])
    }

    fn steps(&self) -> Option<usize> {
        Some(self.steps.get())
    }

    fn variant(&self) -> Option<String> {
        let mut label = variant(self.steps, self.runs(), self.target, self.loss);
        let extensions = [
            (self.nesterov, "-ni"),
            (self.variance > 0, "-vt"),
            (self.scales.get() > 1, "-si"),
            (self.views().diversity.is_on(), "-di"),
            (self.kernel > 0, "-ti"),
        ];
        label.extend(extensions.iter().filter(|(on, _)| *on).map(|(_, suffix)| *suffix));
        Some(label)
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        self.target.aim(self.loss, victim, ball, rng, |victim, ball, rng| {
            restarts(victim, ball, rng, self.runs(), |victim, ball, rng| self.run(victim, ball, rng))
        })
    }
}

impl MomentumIterative {
    /// Step length as a multiple of the radius, if none is given in pixel values.
    fn relative_step(&self) -> f64 {
        let steps = self.steps.get() as f64;
        self.travel.map_or((DEFAULT_TRAVEL / steps).min(1.0), |travel| travel.get() / steps)
    }

    /// Whether runs with different random numbers return different images.
    fn runs_differ(&self) -> bool {
        // The last step draws no neighbours.
        let neighbours = self.variance > 0 && self.steps.get() > 1;
        self.random_start || neighbours || self.views().diversity.is_on()
    }

    fn runs(&self) -> usize {
        if self.runs_differ() { self.restarts.get() } else { 1 }
    }

    fn views(&self) -> Views {
        let diversity = Diversity { probability: self.diversity.get(), resize: self.resize.get() };
        Views { scales: self.scales.get(), diversity }
    }

    /// One run from one start.
    fn run(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        let start = if self.random_start { ball.random(rng)? } else { ball.center().clone() };
        let mut state = State { momentum: start.zeros_like()?, variance: None };
        let blur = Blur::new(self.kernel, &start)?;
        let mut walk = Walk::new(victim, ball, start, self.success);
        let last = self.steps.get() - 1;
        for step in 0..=last {
            let Some((known, kept)) = self.judge(&mut walk, step)? else { break };
            if let Some(kept) = kept {
                state = state.rows(&kept)?;
            }
            let (victim, ball, rng) = (walk.victim(), walk.ball(), rng.named("step").numbered(step as u64));
            let lengths = match self.step {
                Some(step) => ball.lengths(step, 0.0)?,
                None => ball.lengths(Distance::ZERO, self.relative_step())?,
            };
            let point = self.ahead(&walk, &state.momentum, &lengths)?;
            let gradient = self.views().gradient(victim, &point, rng, known)?;
            let gathered = self.gathered(&gradient, &state, ball, blur.as_ref())?;
            state.momentum = ((state.momentum * self.decay.get())? + gathered)?;
            if self.variance > 0 && step < last {
                let neighbours = (self.variance, self.variance_radius.get());
                let mean = self.views().around(victim, &point, ball, neighbours, rng)?;
                state.variance = Some((mean - gradient)?);
            }
            let next = ball.step(walk.pixels(), &ball.steepest(&state.momentum)?, &lengths)?;
            walk.go(next)?;
        }
        walk.finish()
    }

    /// Removes the samples that stop at the current iterate. Returns the gradient there (`None` if this step computes
    /// it elsewhere) and which samples remain; `None` if all have stopped.
    fn judge(&self, walk: &mut Walk, step: usize) -> Result<Option<(Option<Tensor>, Option<Tensor>)>> {
        // Before the first step there is no momentum.
        let elsewhere = self.views().diversity.is_on() || self.nesterov && step > 0;
        Ok(match elsewhere {
            true => walk.judge()?.map(|(_, kept)| (None, kept)),
            false => walk.pass()?.map(|(pass, kept)| (Some(pass.gradient), kept)),
        })
    }

    /// Where the gradient is taken: at the iterate, or with `nesterov` at `iterate + length * decay * momentum`,
    /// as in the references not clamped to [0, 1]. In an l2 ball, gradients over their mean absolute value are
    /// divided by the root of the number of pixel values, so that one of them moves the image by about the length
    /// of a step.
    fn ahead(&self, walk: &Walk, momentum: &Tensor, lengths: &Tensor) -> Result<Tensor> {
        if !self.nesterov {
            return Ok(walk.pixels().clone());
        }
        let values = momentum.elem_count() as f64 / walk.victim().len().max(1) as f64;
        let unit = match (walk.ball().norm(), self.gather) {
            (Norm::L2, Gathering::Mean) => values.sqrt(),
            _ => 1.0,
        };
        Ok((walk.pixels() + momentum.broadcast_mul(&(lengths * (self.decay.get() / unit))?)?)?)
    }

    /// The gradient as it is added to the momentum: tuned by the last step's variance, smoothed, and normalised.
    fn gathered(&self, gradient: &Tensor, state: &State, ball: &Ball, blur: Option<&Blur>) -> Result<Tensor> {
        let tuned = match &state.variance {
            Some(variance) => (gradient + variance)?,
            None => gradient.clone(),
        };
        let smooth = match blur {
            Some(blur) => blur.apply(&tuned)?,
            None => tuned,
        };
        match self.gather {
            Gathering::Mean => over_mean(&smooth),
            Gathering::Steepest => ball.steepest(&smooth),
        }
    }
}

/// The state of a run, for each sample.
struct State {
    /// `[n, c, h, w]`.
    momentum: Tensor,
    /// The mean gradient around the point of the last gradient minus that gradient, `[n, c, h, w]`.
    variance: Option<Tensor>,
}

impl State {
    /// The samples with these indices.
    fn rows(self, kept: &Tensor) -> Result<Self> {
        let variance = self.variance.map(|variance| variance.index_select(kept, 0)).transpose()?;
        Ok(Self { momentum: self.momentum.index_select(kept, 0)?, variance })
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

#[cfg(test)]
mod tests;
