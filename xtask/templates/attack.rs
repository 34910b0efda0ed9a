//! my-attack: cite the paper here, with its link, then say where this code deviates from it.

use temper_core::prelude::*;

plugin! { Attack "my-attack";
    /// Steepest ascent from the clean image, with a step that shrinks as one over the number of steps.
    /// AUTHORS and YEAR, <https://arxiv.org/abs/NUMBER>. Norms: l-inf, l2.
    pub struct MyAttack {
        /// Gradient steps.
        pub steps: NonZeroUsize = nonzero(10),
        /// Length of the first step, as a multiple of each sample's radius.
        pub first_step: Positive = Positive::of(1.0),
    }
}

impl Attack for MyAttack {
    fn draws(&self) -> bool {
        false
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, _rng: &Rng) -> Result<Tensor> {
        let mut pixels = ball.center().clone();
        for step in 1..=self.steps.get() {
            let direction = ball.steepest(&victim.gradient(&pixels)?)?;
            let lengths = ball.lengths(Distance::ZERO, self.first_step.get() / step as f64)?;
            pixels = ball.step(&pixels, &direction, &lengths)?;
        }
        Ok(pixels)
    }
}
