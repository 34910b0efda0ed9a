//! Projected gradient descent, Madry et al. 2018, <https://arxiv.org/abs/1706.06083>.
//!
//! Deviations: restarts run only on the samples that are not broken yet, which gives the same accuracy by
//! definition. With `success = "any"`, the default, an evaluation counts a sample as broken at any iterate,
//! not only the last. Training and Algorithm 2 always use the last iterate (with restarts: the one with the
//! highest loss), unless `stop_after` stops a sample.
//!
//! `stop_after` is friendly adversarial training (Zhang et al. 2020, <https://arxiv.org/abs/2002.11242>,
//! Algorithm 1: PGD-K-tau). A sample takes this number of steps from misclassified iterates, consecutive or
//! not, and stops at the next misclassified one. The paper's tau starts at 0 and grows to 3 during training;
//! here it is constant.
//!
//! On `ImageNet` the IAAT paper uses random target classes with steps of max(1, eps / n) / 255, eps in
//! 255ths: `target = "random"`, `step = "1/255"`, and `relative_step` of 1 / `steps`.

use temper_core::prelude::*;

/// Default step length as a multiple of the radius. A fixed length would be too long for small radii and too
/// short for large ones.
const DEFAULT_STEP: f64 = 0.25;

options! {
    /// Where the search begins.
    pub enum Start {
        /// Uniform in the ball, cut by [0, 1].
        Uniform = "uniform",
        /// Uniform in the ball, not cut by [0, 1] before the first pass: the authors' code of IAAT.
        Unclamped = "unclamped",
        /// The clean image: the basic iterative method of Kurakin et al. 2017.
        Clean = "clean",
        /// Gaussian noise around the clean image, cut by ball and [0, 1]: the authors' code of TRADES and MART.
        Noise = "noise",
    }
}

plugin! { Attack "pgd";
    /// Projected gradient descent: steps along the gradient, each projected into the ball.
    /// Madry et al. 2018, <https://arxiv.org/abs/1706.06083>. Norms: l-inf, l2.
    pub struct Pgd {
        /// Gradient steps (torchattacks, the authors of IAAT: 10; Madry et al.'s `robustness`: 7; foolbox:
        /// 40, in l2 50; adv-lib: 40; ART: 100).
        pub steps: NonZeroUsize = nonzero(10),
        /// Step length, in pixel values of [0, 1] (torchattacks, the authors of IAAT: 2/255; ART: 0.1;
        /// foolbox, adv-lib: none).
        pub step: Option<Distance> = None,
        /// Step length as a multiple of each sample's radius (foolbox, adv-lib: 0.0333; foolbox in l2:
        /// 0.025). Of two lengths the longer one is taken; without any it is a quarter of the radius, or one
        /// over `steps` of it if that is more.
        pub relative_step: Option<NonNegative> = None,
        /// Where the search begins: `uniform` in the ball, `unclamped` (not cut by [0, 1] before the first
        /// pass), `clean`, or `noise` (foolbox, torchattacks, adv-lib: `uniform`; the authors of IAAT:
        /// `unclamped`; ART, `robustness`: `clean`; the authors of TRADES and MART: `noise`). An evaluation
        /// that judges `any` iterate cuts all the same: beyond [0, 1] there are no images.
        pub start: Start = Start::Uniform,
        /// Standard deviation of the start `noise`, in pixel values of [0, 1]; the default is that of TRADES and MART.
        pub noise: Distance = Distance::of_255(0.255),
        /// Random starts, each tried on what the former ones left standing; one, where the start is not random.
        pub restarts: NonZeroUsize = nonzero(1),
        /// In an evaluation, a sample is broken when `any` iterate is misclassified, or when the `final` one is
        /// (libraries return the last iterate; adv-lib the last that is misclassified).
        pub success: Success = Success::Any,
        /// Class aimed at: `none` (any wrong one), `random` (drawn evenly for each sample), `least-likely` on
        /// the clean image, the `{ likeliest = N }` wrong ones, or `all` of them, one after the other.
        pub target: Target = Target::None,
        /// Loss that is raised: `ce` (cross-entropy, by its log odds), `margin` of logits (Carlini and Wagner
        /// 2017), or `dlr` (Croce and Hein 2020). A loss of training that has a score of its own, such as
        /// TRADES, overrides it.
        pub loss: Raised = Raised::Ce,
        /// Friendly adversarial training (Zhang et al. 2020, their tau): in training and in probes, a sample
        /// stops once it is misclassified after this many further steps from misclassified iterates. An
        /// evaluation does not stop for it.
        pub stop_after: Option<usize> = None,
    }
}

impl Attack for Pgd {
    fn problem_of_classes(&self, classes: usize) -> Option<String> {
        self.loss.problem(self.target, classes)
    }

    fn warning(&self, radius: f64) -> Option<String> {
        let (fixed, relative) = self.step_length();
        joined([
            step_warning(radius, self.steps.get(), fixed.get().max(relative * radius)),
            restarts_warning(self.restarts.get(), self.starts_at_random()),
        ])
    }

    fn draws(&self) -> bool {
        self.starts_at_random() || self.target == Target::Random
    }

    fn steps(&self) -> Option<usize> {
        Some(self.steps.get())
    }

    fn most_passes(&self, classes: usize) -> Option<[u64; 2]> {
        let restarts = if self.starts_at_random() { self.restarts.get() } else { 1 };
        let runs = (self.target.tried(classes) as u64).saturating_mul(restarts as u64);
        let steps = self.steps.get() as u64;
        // Results of runs are compared, and a pass over the clean image ranks target classes.
        let forwards = runs.saturating_mul(steps.saturating_add(2)).saturating_add(1);
        Some([forwards, runs.saturating_mul(steps)])
    }

    fn variant(&self) -> Option<String> {
        let restarts = if self.starts_at_random() { self.restarts.get() } else { 1 };
        Some(variant(self.steps, restarts, self.target, self.loss))
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        self.target.aim(self.loss, victim, ball, rng, |victim, ball, rng| {
            let times = if self.starts_at_random() { self.restarts.get() } else { 1 };
            restarts(victim, ball, rng, times, |victim, ball, rng| self.run(victim, ball, rng))
        })
    }
}

impl Pgd {
    /// Step length in pixel values, and as a multiple of the radius; the longer one is used.
    fn step_length(&self) -> (Distance, f64) {
        let relative = match (self.step, self.relative_step) {
            (None, None) => DEFAULT_STEP.max(1.0 / self.steps.get() as f64),
            (_, relative) => relative.map_or(0.0, NonNegative::get),
        };
        (self.step.unwrap_or(Distance::ZERO), relative)
    }

    fn starts_at_random(&self) -> bool {
        match self.start {
            Start::Uniform | Start::Unclamped => true,
            Start::Clean => false,
            Start::Noise => self.noise > Distance::ZERO,
        }
    }

    /// One run from one start.
    fn run(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        let start = match self.start {
            Start::Uniform => ball.random(rng)?,
            Start::Unclamped if self.success == Success::Any && victim.goal() == Goal::Mistake => {
                ball.random(rng)?
            }
            Start::Unclamped => ball.random_unclamped(rng)?,
            Start::Clean => ball.center().clone(),
            Start::Noise => ball.noisy(rng, self.noise)?,
        };
        let mut walk = match (self.stop_after, victim.goal()) {
            (Some(steps), Goal::Loss) => Walk::stopping(victim, ball, start, steps),
            _ => Walk::new(victim, ball, start, self.success),
        };
        let (fixed, relative) = self.step_length();
        for _ in 0..self.steps.get() {
            let Some((pass, _)) = walk.pass()? else { break };
            let ball = walk.ball();
            let direction = ball.steepest(&pass.gradient)?;
            let next = ball.step(walk.pixels(), &direction, &ball.lengths(fixed, relative)?)?;
            walk.go(next)?;
        }
        ball.project(&walk.finish()?)
    }
}
