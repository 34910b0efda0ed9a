//! Cross-entropy on the attacked batch: the loss of adversarial training (Madry et al. 2018,
//! <https://arxiv.org/abs/1706.06083>) and of IAAT (Balaji et al. 2019, <https://arxiv.org/abs/1910.08051>, Algorithm 1).

use temper_core::prelude::*;

plugin! { Loss "cross-entropy";
    /// Mean cross-entropy of the attacked batch: each sample within its radius, clean where that is 0.
    pub struct CrossEntropy {}
}

impl Loss for CrossEntropy {
    fn loss(&self, step: &mut Step) -> Result<Tensor> {
        let pixels = step.attack()?;
        let logits = step.logits(&pixels)?;
        let labels = step.batch().labels.clone();
        let positions = labels.clone();
        Ok(cross_entropy(&logits, &Rows { labels, positions })?.mean_all()?)
    }
}
