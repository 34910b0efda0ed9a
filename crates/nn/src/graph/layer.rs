//! The layers of a network.

use std::sync::Arc;

use super::function::Function;
use super::gather::Gather;
use super::parameter::Init;
use super::shape::{ConvShape, Pool};

/// A value in the network: the output of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(pub(crate) usize);

impl NodeId {
    /// Its index among the network's nodes.
    pub fn index(self) -> usize {
        self.0
    }
}

/// One layer. Names are those of torch's state dictionaries: `conv1` has `conv1.weight` and `conv1.bias`.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// The pixels, `[n, c, h, w]` in [0, 1].
    Input,
    /// `(x - mean) / std`, per channel. Zero padding of later layers is applied after this step, as in torch.
    Normalize {
        /// Means, one per channel.
        mean: Vec<f64>,
        /// Standard deviations, one per channel.
        std: Vec<f64>,
    },
    /// Convolution, or a linear layer: a convolution whose kernel covers its input.
    Conv {
        /// Name of its parameters.
        name: String,
        /// Shape.
        shape: ConvShape,
        /// Whether it has a bias.
        bias: bool,
        /// Whether its weight is a matrix `[out, in]`, as torch stores a linear layer's.
        linear: bool,
        /// Initialisation of its weight and its bias.
        init: [Init; 2],
    },
    /// Batch norm over n, h and w; momentum 0.1.
    BatchNorm {
        /// Name of its parameters.
        name: String,
        /// Whether it has a weight and a bias.
        affine: bool,
        /// Added to the variance.
        epsilon: f64,
    },
    /// `max(x, 0)`.
    Relu,
    /// Another elementwise function.
    Function(Function),
    /// `x` where it is above 0, and a trained slope times `x` elsewhere (He, Zhang, Ren & Sun, ICCV 2015, equation 1).
    PRelu {
        /// Name of its parameter.
        name: String,
        /// Whether all channels share one slope. Otherwise each channel has its own.
        shared: bool,
    },
    /// `scale * x + shift` with constants: one for each channel, or one for each number `[c, h, w]`.
    Affine {
        /// Factors.
        scale: Arc<[f64]>,
        /// Summands.
        shift: Arc<[f64]>,
    },
    /// Max pooling.
    MaxPool(Pool),
    /// Mean over windows. Padding counts as zeros.
    AveragePool(Pool),
    /// Mean over height and width.
    GlobalAveragePool,
    /// The channels of all inputs, one after the other.
    Concat,
    /// The channels of the input between channels of zeros.
    PadChannels {
        /// Channels of zeros before those of the input.
        before: usize,
        /// Channels of zeros after them.
        after: usize,
    },
    /// Sum of two values of the same shape.
    Add,
    /// Product of two values of the same shape. The second may have a single position, which then multiplies all
    /// positions of the first.
    Multiply,
    /// Weighted sums of the input's numbers, with constant weights: a rearrangement, a slice, padding, a mean over
    /// some axes, an interpolation.
    Gather(Arc<Gather>),
}

/// A layer, its inputs, and the shape of its output.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The layer.
    pub layer: Layer,
    /// Its inputs: earlier nodes only.
    pub inputs: Vec<NodeId>,
    /// Channels, height, width of its output.
    pub shape: [usize; 3],
}
