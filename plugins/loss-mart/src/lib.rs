//! MART, Wang et al. 2020, "Improving adversarial robustness requires revisiting misclassified examples",
//! <https://openreview.net/forum?id=rklOg6EFwS>, equation 11:
//! BCE(f(x'), y) + lambda KL(f(x) || f(x')) (1 - f(x)_y), where BCE is -log f(x')_y - log(1 - max f(x')_k) over
//! the classes k other than y, and x' raises the cross-entropy.
//!
//! The small constants added to probabilities are those of the authors' code. `lambda` = 6, the default of
//! their loss (their script for ResNet-18 passes 5), and the start of the attack, Gaussian noise of 0.001
//! (`attack.pgd = { start = "noise", .. }`), are theirs too.
//!
//! Batch norm: two passes in training mode, the clean batch first, each with its own batch statistics, as in
//! that code.

use temper_core::prelude::*;

plugin! { Loss "mart";
    /// MART: boosted cross-entropy of the attacked images, plus a divergence that weighs misclassified ones more.
    /// Wang et al. 2020, <https://openreview.net/forum?id=rklOg6EFwS>. Norms: l-inf, l2.
    pub struct Mart {
        /// Weight of the divergence, beta in the authors' code: 6 by default there, 5 in its script for ResNet-18.
        pub lambda: NonNegative = NonNegative::of(6.0),
    }
}

impl Loss for Mart {
    /// One pass on clean and one on perturbed images.
    fn passes(&self) -> usize {
        2
    }

    fn loss(&self, step: &mut Step) -> Result<Tensor> {
        let attacked = step.attack()?;
        let batch = step.batch();
        let clean = step.logits(&batch.pixels)?;
        let perturbed = step.logits(&attacked)?;
        mart(&clean, &perturbed, &batch.labels, self.lambda.get())
    }
}

/// The loss from logits `[n, classes]` of clean and perturbed images.
fn mart(clean: &Tensor, perturbed: &Tensor, labels: &Tensor, lambda: f64) -> Result<Tensor> {
    let rows = Rows { labels: labels.clone(), positions: labels.clone() };
    let column = labels.unsqueeze(1)?;
    let (log, probabilities) = (log_softmax(clean)?, log_softmax(perturbed)?.exp()?);

    // A probability of -1 removes the true class from the maximum.
    let minus_one = column.zeros_like()?.to_dtype(clean.dtype())?.affine(0.0, -1.0)?;
    let rival = probabilities.detach().scatter(&column, &minus_one, 1)?.argmax_keepdim(1)?;
    let margin = (probabilities.gather(&rival, 1)?.affine(-1.0, 1.0001 + 1e-12)?).log()?.neg()?;
    let boosted = (cross_entropy(perturbed, &rows)?.mean_all()? + margin.mean_all()?)?;

    let apart = (log.exp()? * (&log - (probabilities + 1e-12)?.log()?)?)?.sum(1)?;
    let others = log.exp()?.gather(&column, 1)?.squeeze(1)?.affine(-1.0, 1.000_000_1)?;
    Ok((boosted + ((apart * others)?.mean_all()? * lambda)?)?)
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
        let loss = mart(&clean, &perturbed, &labels, 6.0).unwrap();
        let gradients = loss.backward().unwrap();
        for (got, want) in [
            (&loss, "loss"),
            (gradients.get(&clean).unwrap(), "clean"),
            (gradients.get(&perturbed).unwrap(), "adversarial"),
        ] {
            let off = (got - &golden[&format!("mart/{want}")]).unwrap().abs().unwrap();
            let off = off.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
            assert!(off < 1e-12, "{want} is off by {off}");
        }
    }
}
