//! my-epsilon: cite the paper here, with its link, then say where this code deviates from it.

use temper_core::prelude::*;

plugin! { Epsilon "my-epsilon";
    /// Radii that grow from epoch to epoch, for all samples alike.
    /// AUTHORS and YEAR, <https://arxiv.org/abs/NUMBER>. Norms: l-inf, l2.
    pub struct MyEpsilon {
        /// Radius of the first epoch, in pixel values of [0, 1].
        pub start: Distance = Distance::of_255(2.0),
        /// What each further epoch adds, in pixel values of [0, 1].
        pub growth: Distance = Distance::of_255(1.0),
        /// The largest radius, in pixel values of [0, 1].
        pub most: Distance = Distance::of_255(8.0),
    }
}

impl Epsilon for MyEpsilon {
    fn start(&self) -> f64 {
        self.start.get()
    }

    fn lengths(&self) -> Vec<(&'static str, f64)> {
        vec![("start", self.start.get()), ("growth", self.growth.get()), ("most", self.most.get())]
    }

    fn largest(&self) -> f64 {
        self.start.get().max(self.most.get())
    }

    fn radii(&self, visit: &mut Visit) -> Result<Vec<f64>> {
        let radius = (self.start.get() + visit.epoch() as f64 * self.growth.get()).min(self.largest());
        visit.remember(vec![radius; visit.len()])?;
        Ok(vec![radius; visit.len()])
    }
}
