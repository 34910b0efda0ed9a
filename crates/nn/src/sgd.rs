//! The update of stochastic gradient descent.

use candle_core::{Tensor, Var};

use crate::backend;
use crate::error::Result;
use crate::gradients::Gradient;
use crate::profile::{self, Work};

/// Hyperparameters of one step, as in torch's SGD: `v = momentum v + g + decay w`, `w = w - rate v`; with
/// `nesterov`, `w = w - rate (g + decay w + momentum v)`.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f64,
    /// Fraction of the velocity that is kept.
    pub momentum: f64,
    /// Fraction of each weight that is added to its gradient.
    pub decay: f64,
    /// Whether to use Nesterov's form.
    pub nesterov: bool,
}

impl Sgd {
    /// Moves a weight by its gradient, and returns the new velocity. `velocity` is the velocity after the previous
    /// steps; `None` stands for zero. If the backend can, it changes that tensor in place and returns it.
    pub fn step(&self, weight: &Var, gradient: &Gradient, velocity: Option<&Tensor>) -> Result<Tensor> {
        profile::outside(Work::Optimiser, || {
            backend::of(weight.device()).descend(self, weight, gradient, velocity)
        })
    }
}
