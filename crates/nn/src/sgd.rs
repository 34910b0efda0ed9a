//! The update of stochastic gradient descent.

use candle_core::{Tensor, Var};

use crate::backend;
use crate::error::Result;
use crate::gradients::Gradient;

/// Rates of one step, as torch's SGD has them: `v = momentum v + g + decay w`, `w = w - rate v`; with
/// `nesterov` `w = w - rate (g + decay w + momentum v)`.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f64,
    /// Share of the velocity that stays.
    pub momentum: f64,
    /// Share of each weight added to its gradient.
    pub decay: f64,
    /// Nesterov's form.
    pub nesterov: bool,
}

impl Sgd {
    /// Moves a weight by its gradient. `velocity` is that of the steps before, `None` at rest. The new one is
    /// returned: the same tensor, changed in place, where the backend can.
    pub fn step(&self, weight: &Var, gradient: &Gradient, velocity: Option<&Tensor>) -> Result<Tensor> {
        backend::of(weight.device()).descend(self, weight, gradient, velocity)
    }
}
