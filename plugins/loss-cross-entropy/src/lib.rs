//! Cross-entropy on the attacked batch: the loss of adversarial training (Madry et al. 2018,
//! <https://arxiv.org/abs/1706.06083>) and of IAAT (Balaji et al. 2019, <https://arxiv.org/abs/1910.08051>,
//! Algorithm 1).
//!
//! Label smoothing (Szegedy et al. 2016, <https://arxiv.org/abs/1512.00567>, section 7) is that of torch: the
//! true class has probability 1 - s + s / classes, each other class s / classes. The attack maximises
//! cross-entropy without smoothing.

use temper_core::prelude::*;

plugin! { Loss "cross-entropy";
    /// Mean cross-entropy of the attacked batch: each sample within its radius, clean where that is 0.
    /// Madry et al. 2018, <https://arxiv.org/abs/1706.06083>. Norms: l-inf, l2.
    pub struct CrossEntropy {
        /// Probability spread evenly over all classes, the true one included (0.1 in the paper of Inception
        /// v3). The attack does not see it.
        pub label_smoothing: Decay = Decay::of(0.0),
    }
}

impl Loss for CrossEntropy {
    fn loss(&self, step: &mut Step) -> Result<Tensor> {
        let pixels = step.attack()?;
        let logits = step.logits(&pixels)?;
        smoothed(&logits, &step.batch().labels, self.label_smoothing.get())
    }
}

/// Mean cross-entropy of logits `[n, classes]` with labels of which the share `smoothing` is distributed over
/// all classes.
fn smoothed(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let rows = Rows { labels: labels.clone(), positions: labels.clone() };
    let hard = cross_entropy(logits, &rows)?.mean_all()?;
    if smoothing == 0.0 {
        return Ok(hard);
    }
    let spread = log_softmax(logits)?.mean_all()?.neg()?;
    Ok(((hard * (1.0 - smoothing))? + (spread * smoothing)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use temper_core::{Device, Var};

    /// Values of torch (`plugins/loss-cross-entropy/golden/losses.py`).
    #[test]
    fn label_smoothing_agrees_with_torch() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/values.safetensors");
        let golden = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
        let labels = golden["labels"].to_dtype(candle_core::DType::U32).unwrap();
        for (name, smoothing) in [("cross-entropy", 0.0), ("label-smoothing", 0.1)] {
            let logits = Var::from_tensor(&golden["adversarial"]).unwrap();
            let loss = smoothed(&logits, &labels, smoothing).unwrap();
            let gradients = loss.backward().unwrap();
            for (got, want) in [(&loss, "loss"), (gradients.get(&logits).unwrap(), "adversarial")] {
                let off = (got - &golden[&format!("{name}/{want}")]).unwrap().abs().unwrap();
                let off = off.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
                assert!(off < 1e-12, "{name}/{want} is off by {off}");
            }
        }
    }
}
