//! Interpolated adversarial training, Lamb et al. 2019, <https://arxiv.org/abs/1906.06784>, with mixup (Zhang
//! et al. 2018, <https://arxiv.org/abs/1710.09412>): the row "mixup" of the paper of IAAT.
//!
//! Each image is attacked with its own label, before mixing. Then lambda ~ Beta(alpha, alpha) and a
//! permutation of the batch are drawn. Pixels and one-hot labels are mixed with the same weights, and the
//! loss is the mean of the cross-entropies of the mixed clean batch and the mixed adversarial batch.
//!
//! Both terms use the same draw, so that the same pairs are mixed with the same weights and the terms differ
//! only by the attack. The expectation is the same as with separate draws. There are two passes in training
//! mode, clean first, each with its own batch statistics.

use temper_core::prelude::*;

plugin! { Loss "mixup";
    /// Interpolated adversarial training: cross-entropy of mixed pairs of images, clean and attacked.
    /// Lamb et al. 2019, <https://arxiv.org/abs/1906.06784>. Norms: l-inf, l2.
    pub struct Mixup {
        /// Both parameters of the beta distribution of lambda, the share of the first image of a pair; 1 (the paper) is
        /// uniform, towards 0 pairs are hardly mixed.
        pub alpha: Positive = Positive::of(1.0),
        /// Share of the clean term in the loss; the paper weighs both alike.
        pub clean_weight: Fraction = Fraction::of(0.5),
    }
}

impl Loss for Mixup {
    /// One pass on clean and one on perturbed images.
    fn passes(&self) -> usize {
        2
    }

    fn loss(&self, step: &mut Step) -> Result<Tensor> {
        let (batch, rng) = (step.batch(), step.batch_rng());
        let lambda = rng.named("lambda").beta(self.alpha.get());
        let order = rng.named("pairs").permutation(batch.len()).into_iter().map(|i| i as u32).collect();
        let order = Tensor::from_vec::<_, u32>(order, batch.len(), batch.pixels.device())?;
        let partners = batch.labels.index_select(&order, 0)?;
        let labels = [(lambda, &batch.labels), (1.0 - lambda, &partners)];
        let clean_weight = self.clean_weight.get();
        let mut total = None;
        for (weight, attacked) in [(clean_weight, false), (1.0 - clean_weight, true)] {
            // A term of weight 0 is not computed.
            if weight > 0.0 {
                let pixels = if attacked { step.attack()? } else { batch.pixels.clone() };
                let logits = step.logits_shared(&mixed(&pixels, &order, lambda)?, &labels)?;
                let term = (mixed_cross_entropy(&logits, &labels)? * weight)?;
                total = Some(match total {
                    Some(sum) => (sum + term)?,
                    None => term,
                });
            }
        }
        total.ok_or_else(|| Error::refused("mixup: both terms have no weight"))
    }
}

/// Each image `[n, c, h, w]` with weight `lambda`, mixed with the image that `order` pairs it with.
fn mixed(pixels: &Tensor, order: &Tensor, lambda: f64) -> Result<Tensor> {
    Ok(((pixels * lambda)? + (pixels.index_select(order, 0)? * (1.0 - lambda))?)?)
}

/// Mean cross-entropy of logits `[n, classes]` with weighted one-hot labels.
fn mixed_cross_entropy(logits: &Tensor, labels: &[(f64, &Tensor); 2]) -> Result<Tensor> {
    let [first, second] = labels.map(|(share, labels)| -> Result<Tensor> {
        let rows = Rows { labels: labels.clone(), positions: labels.clone() };
        Ok((cross_entropy(logits, &rows)?.mean_all()? * share)?)
    });
    Ok((first? + second?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use temper_core::{Device, Var};

    fn off(got: &Tensor, want: &Tensor) -> f64 {
        let off = (got - want).unwrap().abs().unwrap();
        off.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap()
    }

    /// Values of torch (`plugins/loss-cross-entropy/golden/losses.py`), whose cross-entropy takes
    /// probabilities as labels.
    #[test]
    fn mixed_labels_agree_with_torchs_cross_entropy_of_probabilities() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/values.safetensors");
        let golden = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
        let whole = |name: &str| golden[name].to_dtype(candle_core::DType::U32).unwrap();
        let (labels, order) = (whole("labels"), whole("mixup/order"));
        let lambda = golden["mixup/lambda"].to_scalar::<f64>().unwrap();
        let logits = Var::from_tensor(&golden["adversarial"]).unwrap();
        let partners = labels.index_select(&order, 0).unwrap();
        let labels = [(lambda, &labels), (1.0 - lambda, &partners)];
        let loss = mixed_cross_entropy(&logits, &labels).unwrap();
        assert!(off(&loss, &golden["mixup/loss"]) < 1e-12);
        let gradients = loss.backward().unwrap();
        assert!(off(gradients.get(&logits).unwrap(), &golden["mixup/adversarial"]) < 1e-12);
        // Logits in place of pixels: mixing is linear.
        let got = mixed(&golden["adversarial"], &order, lambda).unwrap();
        assert!(off(&got, &golden["mixup/mixed"]) < 1e-12);
    }
}
