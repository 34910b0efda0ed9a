//! Elementwise functions, by their names in TOML.

use temper_core::nn::{Function, NodeId, Result};
use temper_core::prelude::*;

/// An elementwise function without trained parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x` above 0, this slope times `x` elsewhere.
    LeakyRelu(f64),
    /// `x` above 0, this number times `exp(x) - 1` elsewhere.
    Elu(f64),
    /// One of [`WORDS`].
    Word(&'static str, Function),
}

/// The words for functions other than `relu`.
pub(crate) const WORDS: [(&str, Function); 11] = [
    ("relu6", Function::Clip { low: 0.0, high: 6.0 }),
    ("sigmoid", Function::Sigmoid),
    ("tanh", Function::Tanh),
    ("gelu", Function::Gelu),
    ("gelu_tanh", Function::GeluTanh),
    ("silu", Function::Silu),
    ("hard_sigmoid", Function::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 }),
    ("hard_swish", Function::HardSwish),
    ("softplus", Function::Softplus),
    ("mish", Function::Mish),
    ("selu", Function::Elu { alpha: 1.673_263_242_354_377_2, scale: 1.050_700_987_355_480_5 }),
];

impl Activation {
    /// The function of this word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        if word == "relu" {
            return Some(Self::Relu);
        }
        WORDS.iter().find(|(name, _)| *name == word).map(|(name, function)| Self::Word(name, *function))
    }

    /// Adds the function to a network.
    pub(crate) fn build(self, network: &mut Network, x: NodeId) -> Result<NodeId> {
        match self {
            Self::Relu => Ok(network.relu(x)),
            Self::LeakyRelu(slope) => network.function(x, Function::LeakyRelu { slope }),
            Self::Elu(alpha) => network.function(x, Function::Elu { alpha, scale: 1.0 }),
            Self::Word(_, function) => network.function(x, function),
        }
    }
}
