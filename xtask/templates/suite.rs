//! my-suite: cite the paper whose protocol this is, with its link, then say where this code deviates from it.

use temper_core::prelude::*;

plugin! { Suite "my-suite";
    /// PGD with and without restarts, each on what the attacks before left standing.
    /// AUTHORS and YEAR, <https://arxiv.org/abs/NUMBER>. Norms: l-inf, l2.
    pub struct MySuite {
        /// Gradient steps of each attack.
        pub steps: NonZeroUsize = nonzero(20),
    }
}

impl Suite for MySuite {
    fn members(&self, _norm: Norm, _classes: usize) -> std::result::Result<Vec<Member>, String> {
        let steps = self.steps;
        Ok(vec![
            Member::parse(&format!("pgd = {{ steps = {steps} }}"))?,
            Member::parse(&format!("pgd = {{ steps = {steps}, restarts = 5, loss = \"margin\" }}"))?,
        ])
    }
}
