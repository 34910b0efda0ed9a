//! The white-box protocol of instance adaptive adversarial training, Balaji, Goldstein & Hoffman 2019,
//! <https://arxiv.org/abs/1910.08051>, table 1: PGD with 10, 100 and 1000 steps of 2/255 and 5, 5 and 2
//! restarts, for l-inf radii.
//!
//! The paper reports an accuracy for each of the three attacks. A suite reports the worst case over all of them
//! for each sample, and how many of the remaining samples each attack broke. As in the paper, success is judged
//! at the final iterate.

use temper_core::prelude::*;

/// Steps and restarts of the three attacks.
const ATTACKS: [(usize, usize); 3] = [(10, 5), (100, 5), (1000, 2)];

plugin! { Suite "iaat-white-box";
    /// White-box protocol of the IAAT paper: PGD of 10, 100 and 1000 steps.
    /// Balaji et al. 2019, <https://arxiv.org/abs/1910.08051>, table 1. Norm: l-inf.
    pub struct WhiteBox {
        /// Step length, in pixel values of [0, 1] (paper: 2/255, at a radius of 8/255).
        pub step: Distance = Distance::of_255(2.0),
        /// A sample is broken when the `final` iterate is misclassified (paper), or when `any` is.
        pub success: Success = Success::Final,
    }
}

impl Suite for WhiteBox {
    fn problem(&self, norm: Norm) -> Option<String> {
        (norm != Norm::Linf).then(|| format!("the white-box protocol is defined in l-inf, not in {norm}"))
    }

    fn members(&self, norm: Norm, _classes: usize) -> std::result::Result<Vec<Member>, String> {
        if let Some(problem) = self.problem(norm) {
            return Err(problem);
        }
        let success = match self.success {
            Success::Any => "any",
            Success::Final => "final",
        };
        let member = |(steps, restarts): (usize, usize)| {
            Member::parse(&format!(
                "pgd = {{ steps = {steps}, step = {:?}, restarts = {restarts}, success = \"{success}\" }}",
                self.step.get()
            ))
        };
        ATTACKS.into_iter().map(member).collect()
    }
}
