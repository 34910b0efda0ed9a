//! Networks whose weights come without an architecture: the pipeline lists their layers, with the names that the file
//! of weights uses.

mod activation;
mod build;
mod layer;
mod sizes;
#[cfg(test)]
mod tests;

use temper_core::prelude::*;
use temper_core::{Field, plugin};

pub use activation::Activation;
pub use layer::{ListedLayer, Window};
pub use sizes::{Padding, Pair};

plugin! { Model "sequential";
    /// Layers listed in the pipeline: for weights that come without an architecture.
    /// Layers have the names that they have in the file of weights, and torch's
    /// defaults. `kernel`, `stride`, `padding` and `dilation` are a number, or
    /// [rows, columns]; `padding` of a convolution may be "same". The last linear
    /// layer has a number a class if its `features` is left out. A `linear` reads
    /// all numbers of its input, in the order (channel, row, column).
    ///
    /// `PyTorch`'s MNIST example (the default):
    ///
    /// layers = [
    /// { conv = "conv1", channels = 32, kernel = 3 }, "relu",
    /// { conv = "conv2", channels = 64, kernel = 3 }, "relu",
    /// { max_pool = 2 }, "flatten",
    /// { linear = "fc1", features = 128 }, "relu", { linear = "fc2" },
    /// ]
    ///
    /// Two convolutions a pooling, as in a Sequential of torch, whose names are numbers:
    ///
    /// layers = [
    /// { conv = "0", channels = 32, kernel = 3 }, "relu",
    /// { conv = "2", channels = 32, kernel = 3 }, "relu", { max_pool = 2 },
    /// { conv = "5", channels = 64, kernel = 3 }, "relu",
    /// { conv = "7", channels = 64, kernel = 3 }, "relu", { max_pool = 2 },
    /// "flatten", { linear = "11", features = 200 }, "relu", { linear = "13" },
    /// ]
    ///
    /// Other layers: { conv = "features.0", channels = 32, kernel = [5, 3],
    /// stride = 2, padding = [2, 1], groups = 1, dilation = 1, bias = false },
    /// { batch_norm = "bn1", epsilon = 1e-5 }, { linear = "fc", bias = false },
    /// { average_pool = 2, stride = 2, padding = 0 }, "global_average_pool",
    /// { leaky_relu = 0.01 }, { elu = 1.0 }, { prelu = "act1", shared = true },
    /// "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "selu",
    /// "hard_sigmoid", "hard_swish", "softplus", "mish", and
    /// { residual = [ .. ], shortcut = [ .. ], after = "relu" }, whose shortcut is
    /// the input if it is left out.
    pub struct Sequential {
        /// The layers, in order. Left out, those of `PyTorch`'s MNIST example.
        pub layers: Option<Vec<ListedLayer>> = None,
        /// Subtracted from the pixels inside the network: one value, or one a channel. Left out, 0.
        pub mean: Option<Vec<f64>> = None,
        /// What the pixels are then divided by: one value, or one a channel. Left out, 1.
        pub std: Option<Vec<f64>> = None,
    }
}

impl JsonSchema for ListedLayer {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "layer".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": Self::expects(), "type": ["string", "object"] })
    }
}

impl Field for ListedLayer {
    fn expects() -> String {
        "layer, as a word or a table".into()
    }
}

impl Model for Sequential {
    fn build(&self, input: [usize; 3], classes: usize) -> Result<Network> {
        let mut network = Network::new(input);
        let mut x = network.input();
        if self.mean.is_some() || self.std.is_some() {
            let (mean, std) = (self.mean.as_deref().unwrap_or(&[0.0]), self.std.as_deref().unwrap_or(&[1.0]));
            x = network.normalize(x, mean, std)?;
        }
        match &self.layers {
            Some(layers) => build::build(&mut network, x, layers, classes)?,
            None => build::build(&mut network, x, &example(), classes)?,
        }
        Ok(network)
    }
}

/// The network of <https://github.com/pytorch/examples/blob/main/mnist/main.py>, without its dropout, which does
/// nothing in evaluation.
fn example() -> Vec<ListedLayer> {
    let conv = |name: &str, channels| ListedLayer::Conv {
        name: name.into(),
        channels,
        kernel: Pair::of(3),
        stride: Pair::of(1),
        padding: Padding::Even(Pair::of(0)),
        groups: 1,
        dilation: Pair::of(1),
        bias: true,
    };
    let linear = |name: &str, features| ListedLayer::Linear { name: name.into(), features, bias: true };
    let relu = ListedLayer::Activation(Activation::Relu);
    let window = Window { size: Pair::of(2), stride: Pair::of(2), padding: Pair::of(0) };
    vec![
        conv("conv1", 32),
        relu.clone(),
        conv("conv2", 64),
        relu.clone(),
        ListedLayer::MaxPool(window),
        ListedLayer::Flatten,
        linear("fc1", Some(128)),
        relu,
        linear("fc2", None),
    ]
}
