//! One radius for every sample: adversarial training of Madry et al. 2018,
//! <https://arxiv.org/abs/1706.06083>.

use temper_core::prelude::*;

plugin! { Epsilon "fixed";
    /// One radius for every sample: the adversarial-training baseline, which attacks misclassified ones too.
    /// Madry et al. 2018, <https://arxiv.org/abs/1706.06083>. Norms: l-inf, l2.
    pub struct Fixed {
        /// The radius, in pixel values of [0, 1].
        pub radius: Distance = Distance::of_255(8.0),
    }
}

impl Epsilon for Fixed {
    fn start(&self) -> f64 {
        self.radius.get()
    }

    fn lengths(&self) -> Vec<(&'static str, f64)> {
        vec![("radius", self.radius.get())]
    }

    fn radii(&self, visit: &mut Visit) -> Result<Vec<f64>> {
        Ok(vec![self.radius.get(); visit.len()])
    }
}
