//! Stochastic gradient descent with momentum and weight decay, as torch defines it.

use std::collections::BTreeMap;

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temper_core::nn::{Classifier, Gradients};
use temper_core::{Decay, NonNegative, Positive};

use crate::error::Result;

/// Parameters of SGD. Per weight w with gradient g: `v = momentum v + g + weight_decay w`, `w = w - lr v`; with
/// `nesterov`, `w = w - lr (g + weight_decay w + momentum v)`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Optimizer {
    /// Learning rate at the start.
    pub lr: Positive,
    /// Share of the velocity that remains in each step, below 1.
    pub momentum: Decay,
    /// Share of each weight added to its gradient.
    pub weight_decay: NonNegative,
    /// Nesterov's form of momentum.
    pub nesterov: bool,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self {
            lr: Positive::of(0.1),
            momentum: Decay::of(0.9),
            weight_decay: NonNegative::of(5e-4),
            nesterov: false,
        }
    }
}

/// The optimiser's state.
#[derive(Debug)]
pub struct SgdState {
    options: Optimizer,
    velocity: BTreeMap<String, Tensor>,
}

impl SgdState {
    /// The initial state, without velocities.
    pub fn new(options: Optimizer) -> Self {
        Self { options, velocity: BTreeMap::new() }
    }

    /// Velocities by weight; empty before the first step.
    pub fn velocity(&self) -> &BTreeMap<String, Tensor> {
        &self.velocity
    }

    /// Restores velocities from a checkpoint.
    pub fn restore(&mut self, velocity: BTreeMap<String, Tensor>) {
        self.velocity = velocity;
    }

    /// One step with learning rate `rate`.
    pub fn step(&mut self, classifier: &Classifier, gradients: &Gradients, rate: f64) -> Result<()> {
        let Optimizer { momentum, weight_decay, nesterov, .. } = &self.options;
        let (momentum, decay) = (momentum.get(), weight_decay.get());
        let step = temper_core::nn::Sgd { rate, momentum, decay, nesterov: *nesterov };
        for (name, var) in classifier.trained() {
            let Some(gradient) = gradients.get(name) else { continue };
            let velocity = step.step(var, gradient, self.velocity.get(name))?;
            self.velocity.insert(name.to_owned(), velocity);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};
    use temper_core::nn::Network;

    /// Values of torch 2.15: SGD(lr=0.1, momentum=0.9, `weight_decay=0.01`) on w = 1 with gradients 2, -1, 0.5.
    #[test]
    fn steps_agree_with_torch() {
        for (nesterov, expected) in
            [(false, [0.799, 0.717_301, 0.593_054_599]), (true, [0.618_1, 0.644_115_61, 0.481_862_129_341])]
        {
            let mut network = Network::new([1, 1, 1]);
            network.linear(network.input(), "fc", 1).unwrap();
            let weights = [
                ("fc.weight".to_string(), Tensor::new(&[[1f64]], &Device::Cpu).unwrap()),
                ("fc.bias".to_string(), Tensor::zeros(1, DType::F64, &Device::Cpu).unwrap()),
            ];
            let classifier = Classifier::new(network, &weights.into()).unwrap();
            let options = Optimizer {
                lr: Positive::of(0.1),
                momentum: Decay::of(0.9),
                weight_decay: NonNegative::of(0.01),
                nesterov,
            };
            let mut sgd = SgdState::new(options);
            for (gradient, expected) in [2.0, -1.0, 0.5].into_iter().zip(expected) {
                let weight: &Var = classifier.trained().find(|(name, _)| *name == "fc.weight").unwrap().1;
                let loss = (weight.as_tensor() * gradient).unwrap().sum_all().unwrap();
                let gradients = classifier.backward(&loss).unwrap();
                sgd.step(&classifier, &gradients, 0.1).unwrap();
                let got = weight.to_vec2::<f64>().unwrap()[0][0];
                assert!((got - expected).abs() < 1e-9, "nesterov {nesterov}: {got} for {expected}");
            }
        }
    }
}
