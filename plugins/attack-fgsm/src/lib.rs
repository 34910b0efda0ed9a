//! Fast gradient sign method, Goodfellow et al. 2015, <https://arxiv.org/abs/1412.6572>.
//!
//! One step of the length of the radius along the sign of the gradient; in an l2 ball along the gradient
//! itself (the "fast gradient method"). With `random_start` the step starts from a random point of the ball,
//! as in R+FGSM and in Wong et al. 2020, whose step of 1.25 radii is `step = 1.25`.

use temper_core::prelude::*;

plugin! { Attack "fgsm";
    /// Fast gradient sign method: one step to the edge of the ball.
    /// Goodfellow et al. 2015, <https://arxiv.org/abs/1412.6572>. Norms: l-inf, l2.
    pub struct Fgsm {
        /// Step length, as a multiple of each sample's radius (paper, foolbox, torchattacks, ART, CleverHans:
        /// 1; Wong et al. 2020: 1.25, with `random_start`).
        pub step: Positive = Positive::of(1.0),
        /// Start at a random point of the ball instead of the clean image (paper, foolbox: false).
        pub random_start: bool = false,
        /// Loss that is raised: `ce` (cross-entropy, by its log odds; paper), `margin` of logits, or `dlr`
        /// (Croce and Hein 2020).
        pub loss: Raised = Raised::Ce,
    }
}

impl Attack for Fgsm {
    fn problem_of_classes(&self, classes: usize) -> Option<String> {
        self.loss.problem(Target::None, classes)
    }

    fn warning(&self, radius: f64) -> Option<String> {
        step_warning(radius, 1, self.step.get() * radius)
    }

    fn draws(&self) -> bool {
        self.random_start
    }

    fn most_passes(&self, _classes: usize) -> Option<[u64; 2]> {
        Some([1, 1])
    }

    fn variant(&self) -> Option<String> {
        let suffix = self.loss.suffix();
        (!suffix.is_empty()).then(|| suffix.trim_start_matches('-').into())
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        Target::None.aim(self.loss, victim, ball, rng, |victim, ball, rng| {
            let start = if self.random_start { ball.random(rng)? } else { ball.center().clone() };
            let direction = ball.steepest(&victim.gradient(&start)?)?;
            ball.step(&start, &direction, &ball.lengths(Distance::ZERO, self.step.get())?)
        })
    }
}
