//! TRADES, Zhang et al. 2019, <https://arxiv.org/abs/1901.08573>, equation 5: CE(f(x), y) + beta max KL(f(x)
//! || f(x')), with the maximum over x' in the ball of x. As in the authors' code the attack maximises the
//! same divergence with f(x) held fixed, and the training step differentiates it with respect to both
//! arguments.
//!
//! At x the divergence is 0 and so is its gradient, so the attack must not start there. The authors add
//! Gaussian noise of 0.001, which is `attack.pgd = { start = "noise", .. }`; `start = "uniform"` also works.
//! `fgsm` without a random start and `pgd` with `start = "clean"` would follow rounding errors.
//!
//! Batch norm: the clean and the perturbed batch are passed one after the other, each with its own batch
//! statistics. The authors' code passes the clean batch a second time for the divergence. This changes
//! neither loss nor gradient, but updates the running statistics with the clean batch a second time; here a
//! pass without gradients does that. For a sample of radius 0 the divergence comes only from batch
//! statistics.

use temper_core::prelude::*;

plugin! { Loss "trades";
    /// TRADES: cross-entropy of the clean images, plus how far predictions move within the ball.
    /// Zhang et al. 2019, <https://arxiv.org/abs/1901.08573>. Norms: l-inf, l2. Its attack must not start at the clean
    /// image, where it has no slope: `attack.pgd = { start = "noise", .. }`.
    pub struct Trades {
        /// Weight of the divergence: 1 / lambda in the paper, whose tables have 1 and 6.
        pub beta: NonNegative = NonNegative::of(6.0),
    }
}

impl Loss for Trades {
    /// One pass on clean and one on perturbed images.
    fn passes(&self) -> usize {
        2
    }

    fn loss(&self, step: &mut Step) -> Result<Tensor> {
        let attacked =
            step.attack_from_clean(&|clean: &Tensor, logits: &Tensor, _: &Rows| divergence(clean, logits))?;
        let batch = step.batch();
        let clean = step.logits(&batch.pixels)?;
        let perturbed = step.logits(&attacked)?;
        step.move_statistics(&batch.pixels)?;
        trades(&clean, &perturbed, &batch.labels, self.beta.get())
    }
}

/// The loss from logits `[n, classes]` of clean and perturbed images.
fn trades(clean: &Tensor, perturbed: &Tensor, labels: &Tensor, beta: f64) -> Result<Tensor> {
    let rows = Rows { labels: labels.clone(), positions: labels.clone() };
    let natural = cross_entropy(clean, &rows)?.mean_all()?;
    Ok((natural + (divergence(clean, perturbed)?.mean_all()? * beta)?)?)
}

/// KL divergence of the predictions of `logits` from those of `clean`, `[n]`.
fn divergence(clean: &Tensor, logits: &Tensor) -> Result<Tensor> {
    let (clean, logits) = (log_softmax(clean)?, log_softmax(logits)?);
    Ok((clean.exp()? * (clean - logits)?)?.sum(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use temper_core::{Device, Var};

    /// Values of torch with the authors' formula (`plugins/loss-cross-entropy/golden/losses.py`).
    #[test]
    fn loss_and_gradients_agree_with_the_authors_formula_in_torch() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/values.safetensors");
        let golden = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
        let labels = golden["labels"].to_dtype(candle_core::DType::U32).unwrap();
        let [clean, perturbed] =
            ["clean", "adversarial"].map(|name| Var::from_tensor(&golden[name]).unwrap());
        let loss = trades(&clean, &perturbed, &labels, 6.0).unwrap();
        let gradients = loss.backward().unwrap();
        for (got, want) in [
            (&loss, "loss"),
            (gradients.get(&clean).unwrap(), "clean"),
            (gradients.get(&perturbed).unwrap(), "adversarial"),
        ] {
            let off = (got - &golden[&format!("trades/{want}")]).unwrap().abs().unwrap();
            let off = off.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
            assert!(off < 1e-12, "{want} is off by {off}");
        }
    }
}
