//! An exponential moving average of the weights, as computed by torch's `AveragedModel` with
//! `get_ema_multi_avg_fn`: after the first step the weights themselves, then `a + (1 - decay) (w - a)` after
//! each.
//!
//! Batch norm's running statistics are not averaged; they remain those of the trained weights, as by default in
//! torch.

use std::collections::BTreeMap;

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temper_core::Decay;
use temper_core::nn::Classifier;

use crate::error::Result;

/// Parameters of the average.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ema {
    /// Share of the average that remains in each step, below 1: at 1 the average would never change.
    pub decay: Decay,
}

impl Default for Ema {
    fn default() -> Self {
        Self { decay: Decay::of(0.999) }
    }
}

impl Ema {
    /// Moves the average towards the weights after a step. The average is empty before the first step.
    pub(crate) fn follow(
        self,
        average: &mut BTreeMap<String, Tensor>,
        classifier: &Classifier,
    ) -> Result<()> {
        for (name, weight) in classifier.trained() {
            let weight = weight.as_detached_tensor();
            let moved = match average.get(name) {
                Some(old) => (old + ((weight - old)? * (1.0 - self.decay.get()))?)?,
                // A copy: the optimiser changes weights in place.
                None => weight.copy()?,
            };
            average.insert(name.to_owned(), moved);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use temper_core::nn::Network;

    /// Values of torch 2.15 (`crates/train/golden/average.py`).
    #[test]
    fn averages_agree_with_torch() {
        let mut network = Network::new([1, 1, 1]);
        network.linear(network.input(), "fc", 1).unwrap();
        let weights = [
            ("fc.weight".to_string(), Tensor::zeros((1, 1), DType::F64, &Device::Cpu).unwrap()),
            ("fc.bias".to_string(), Tensor::zeros(1, DType::F64, &Device::Cpu).unwrap()),
        ];
        let classifier = Classifier::new(network, &weights.into()).unwrap();
        let mut average = BTreeMap::new();
        for (weight, expected) in [(1.0, 1.0), (-1.0, 0.8), (0.5, 0.77), (2.0, 0.893)] {
            let (_, var) = classifier.trained().find(|(name, _)| *name == "fc.weight").unwrap();
            var.set(&Tensor::new(&[[weight]], &Device::Cpu).unwrap()).unwrap();
            Ema { decay: Decay::of(0.9) }.follow(&mut average, &classifier).unwrap();
            let got = average["fc.weight"].to_vec2::<f64>().unwrap()[0][0];
            assert!((got - expected).abs() < 1e-12, "{got} for {expected}");
        }
    }
}
