//! my-loss: cite the paper here, with its link, then say where this code deviates from it.

use temper_core::prelude::*;

plugin! { Loss "my-loss";
    /// Cross-entropy of attacked and clean images, weighed against each other.
    /// AUTHORS and YEAR, <https://arxiv.org/abs/NUMBER>. Norms: l-inf, l2.
    pub struct MyLoss {
        /// Weight of the attacked images; that of the clean ones is the rest.
        pub attacked: Fraction = Fraction::of(0.5),
    }
}

impl Loss for MyLoss {
    /// Forward and backward passes of a training step, besides those of the attack: estimates use it.
    fn passes(&self) -> usize {
        2
    }

    fn loss(&self, step: &mut Step) -> Result<Tensor> {
        let (pixels, labels) = (step.batch().pixels.clone(), step.batch().labels.clone());
        let attacked = step.attack()?;
        let positions = Tensor::arange(0, labels.dim(0)? as u32, labels.device())?;
        let rows = Rows { labels, positions };
        let of_attacked = cross_entropy(&step.logits(&attacked)?, &rows)?.mean_all()?;
        let of_clean = cross_entropy(&step.logits(&pixels)?, &rows)?.mean_all()?;
        let weight = self.attacked.get();
        Ok(((of_attacked * weight)? + (of_clean * (1.0 - weight))?)?)
    }
}
