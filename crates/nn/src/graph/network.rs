//! The graph of layers that a model plugin builds once.

use std::sync::Arc;

use super::function::Function;
use super::gather::Gather;
use super::layer::{Layer, Node, NodeId};
use super::parameter::Init;
use super::shape::{Axis, ConvAxes, ConvShape, EPSILON, Numerics, Pool};
use crate::error::{Error, Result, dims};

/// Largest number of weights, or of outputs of one sample, that a layer may have.
const LARGEST: usize = 1 << 31;
/// Largest kernel, padding, stride and dilation.
const LONGEST: usize = 1 << 12;
/// Largest number of positions in the window of a max pooling: a backend stores the winner's index in a byte.
const TAPS: usize = 225;
/// Backends may store channels in multiples of this; the size limits count stored channels.
pub(crate) const FILLING: usize = 16;

/// The product; `None` if it overflows.
fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size))
}

/// Describes a kernel or a window with its padding, and with its dilation if it is dilated, for messages.
fn said(what: &str, [rows, columns]: [Axis; 2]) -> String {
    let padding = match [rows.before, rows.after, columns.before, columns.after] {
        [one, b, c, d] if [b, c, d] == [one; 3] => format!("padding {one}"),
        sides => format!("padding {sides:?} (top, bottom, left, right)"),
    };
    let dilation = match [rows.dilation, columns.dilation] {
        [1, 1] => String::new(),
        [rows, columns] => format!("dilation {rows} x {columns} and "),
    };
    format!("a {} x {} {what} with {dilation}{padding}", rows.kernel, columns.kernel)
}

/// A graph of layers. The last node computes the logits, `[n, classes, 1, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    nodes: Vec<Node>,
    numerics: Numerics,
}

impl Network {
    /// A network whose input has this many channels, rows and columns.
    pub fn new(input: [usize; 3]) -> Self {
        let nodes = vec![Node { layer: Layer::Input, inputs: vec![], shape: input }];
        Self { nodes, numerics: Numerics::default() }
    }

    /// The same network with another method for the sums of convolutions, in training and in frozen networks.
    /// Candle's operations, on other devices, use their own method.
    #[must_use]
    pub fn with_numerics(self, numerics: Numerics) -> Self {
        Self { numerics, ..self }
    }

    /// How convolutions compute their sums.
    pub fn numerics(&self) -> Numerics {
        self.numerics
    }

    /// The pixels.
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// All nodes; each reads earlier ones only.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Channels, height, width of a value.
    pub fn shape(&self, id: NodeId) -> [usize; 3] {
        self.nodes[id.0].shape
    }

    /// Channels, height, width of the pixels.
    pub fn input_shape(&self) -> [usize; 3] {
        self.nodes[0].shape
    }

    /// Number of logits.
    pub fn classes(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.shape.iter().product())
    }

    /// Returns an error if a convolution is too large for memory: sizes come from configurations.
    fn affordable(&self, name: &str, x: NodeId, shape: &ConvShape) -> Result<()> {
        let weights = product(&[shape.channels, shape.axes[0].kernel, shape.axes[1].kernel, shape.input[0]]);
        if weights.is_none_or(|n| n > LARGEST) {
            return Err(self.misfit(name, x, format!("more than {LARGEST} weights")));
        }
        self.holds(name, x, shape.output())
    }

    /// Returns an error if a value is too large for memory.
    fn holds(&self, name: &str, x: NodeId, [channels, h, w]: [usize; 3]) -> Result<()> {
        let stored = channels.checked_next_multiple_of(FILLING);
        if stored.and_then(|stored| product(&[stored, h, w])).is_none_or(|n| n > LARGEST) {
            return Err(self.misfit(name, x, format!("more than {LARGEST} outputs")));
        }
        Ok(())
    }

    fn push(&mut self, layer: Layer, inputs: &[NodeId], shape: [usize; 3]) -> NodeId {
        self.nodes.push(Node { layer, inputs: inputs.to_vec(), shape });
        NodeId(self.nodes.len() - 1)
    }

    fn misfit(&self, layer: &str, x: NodeId, why: String) -> Error {
        Error::Fit { layer: layer.into(), input: dims(self.shape(x)), why }
    }

    /// `(pixels - mean) / std`. A single value applies to all channels.
    pub fn normalize(&mut self, x: NodeId, mean: &[f64], std: &[f64]) -> Result<NodeId> {
        let shape = self.shape(x);
        let spread = |name: &str, v: &[f64]| match v {
            [one] => Ok(vec![*one; shape[0]]),
            v if v.len() == shape[0] => Ok(v.to_vec()),
            v => Err(self.misfit(
                "normalize",
                x,
                format!("{} values of `{name}` for {} channels", v.len(), shape[0]),
            )),
        };
        let (mean, std) = (spread("mean", mean)?, spread("std", std)?);
        if !std.iter().all(|s| *s > 0.0 && s.is_finite()) || !mean.iter().all(|m| m.is_finite()) {
            return Err(self.misfit("normalize", x, "`std` must be above 0 and `mean` finite".into()));
        }
        if x != self.input() {
            return Err(self.misfit("normalize", x, "it must be the first layer".into()));
        }
        Ok(self.push(Layer::Normalize { mean, std }, &[x], shape))
    }

    /// Convolution: a [`Conv2d`](crate::Conv2d), or [`ConvAxes`] if the axes differ.
    pub fn conv(&mut self, x: NodeId, name: &str, options: impl Into<ConvAxes>) -> Result<NodeId> {
        self.grouped_conv(x, name, options, 1)
    }

    /// Convolution whose input and output channels are split into `groups`. Each output reads only the inputs of
    /// its group.
    pub fn grouped_conv(
        &mut self,
        x: NodeId,
        name: &str,
        options: impl Into<ConvAxes>,
        groups: usize,
    ) -> Result<NodeId> {
        let ConvAxes { channels, axes, bias } = options.into();
        let input = self.shape(x);
        if channels == 0 || axes.iter().any(|axis| axis.kernel == 0 || axis.stride == 0) {
            return Err(self.misfit(name, x, "channels, kernel and stride must be at least 1".into()));
        }
        if axes.iter().any(|axis| axis.dilation == 0) {
            return Err(self.misfit(name, x, "dilation must be at least 1".into()));
        }
        if groups == 0 || !input[0].is_multiple_of(groups) || !channels.is_multiple_of(groups) {
            let why = format!("{groups} groups do not divide {} and {channels} channels", input[0]);
            return Err(self.misfit(name, x, why));
        }
        let longest = |a: &Axis| a.kernel.max(a.before).max(a.after).max(a.stride);
        if axes.iter().any(|axis| longest(axis) > LONGEST) {
            let why = format!("kernel, padding and stride must be at most {LONGEST}");
            return Err(self.misfit(name, x, why));
        }
        if axes.iter().any(|axis| axis.dilation > LONGEST) {
            return Err(self.misfit(name, x, format!("dilation must be at most {LONGEST}")));
        }
        if axes.iter().zip(&input[1..]).any(|(axis, length)| axis.output(*length).is_none()) {
            return Err(self.misfit(name, x, format!("{} is larger than that", said("kernel", axes))));
        }
        // Dilation has no effect on a single tap.
        let axes = axes.map(|axis| if axis.kernel == 1 { Axis { dilation: 1, ..axis } } else { axis });
        let shape = ConvShape { input, channels, axes, groups };
        self.affordable(name, x, &shape)?;
        let (name, init) = (name.into(), [Init::Uniform; 2]);
        Ok(self.push(Layer::Conv { name, shape, bias, linear: false, init }, &[x], shape.output()))
    }

    /// Linear layer over all of `x`, flattened as (channel, row, column), with a bias.
    pub fn linear(&mut self, x: NodeId, name: &str, features: usize) -> Result<NodeId> {
        self.push_linear(x, name, features, true)
    }

    /// As [`Self::linear`], without a bias.
    pub fn linear_without_bias(&mut self, x: NodeId, name: &str, features: usize) -> Result<NodeId> {
        self.push_linear(x, name, features, false)
    }

    fn push_linear(&mut self, x: NodeId, name: &str, features: usize, bias: bool) -> Result<NodeId> {
        let input = self.shape(x);
        if features == 0 || input.contains(&0) {
            return Err(self.misfit(name, x, "a linear layer needs inputs and outputs".into()));
        }
        let axes = [input[1], input[2]].map(|length| Axis::even(length, 1, 0));
        let shape = ConvShape { input, channels: features, axes, groups: 1 };
        self.affordable(name, x, &shape)?;
        let (name, init) = (name.into(), [Init::Uniform; 2]);
        Ok(self.push(Layer::Conv { name, shape, bias, linear: true, init }, &[x], shape.output()))
    }

    /// Sets the initialisation of the weight and the bias of a convolution or a linear layer, whose output is `x`.
    /// The default is torch's, [`Init::Uniform`].
    pub fn init(&mut self, x: NodeId, weight: Init, bias: Init) -> Result<()> {
        if let Layer::Conv { init, .. } = &mut self.nodes[x.0].layer {
            *init = [weight, bias];
            return Ok(());
        }
        Err(self.misfit("init", x, "only convolutions and linear layers can start in several ways".into()))
    }

    /// Batch norm with weight and bias, and torch's epsilon, [`EPSILON`].
    pub fn batch_norm(&mut self, x: NodeId, name: &str) -> NodeId {
        self.push_norm(x, name, true, EPSILON)
    }

    /// Batch norm without weight and bias: torch's `affine=False`.
    pub fn bare_batch_norm(&mut self, x: NodeId, name: &str) -> NodeId {
        self.push_norm(x, name, false, EPSILON)
    }

    /// Batch norm with a given epsilon, and with weight and bias if `affine`. The epsilon must be finite and above
    /// 0; any other is an error.
    pub fn batch_norm_with(&mut self, x: NodeId, name: &str, affine: bool, epsilon: f64) -> Result<NodeId> {
        if !(epsilon.is_finite() && epsilon > 0.0) {
            return Err(self.misfit(name, x, format!("epsilon must be finite and above 0, got {epsilon}")));
        }
        Ok(self.push_norm(x, name, affine, epsilon))
    }

    fn push_norm(&mut self, x: NodeId, name: &str, affine: bool, epsilon: f64) -> NodeId {
        self.push(Layer::BatchNorm { name: name.into(), affine, epsilon }, &[x], self.shape(x))
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, x: NodeId) -> NodeId {
        self.push(Layer::Relu, &[x], self.shape(x))
    }

    /// Another elementwise function. Parameters that are not finite are an error.
    pub fn function(&mut self, x: NodeId, function: Function) -> Result<NodeId> {
        if let Some(why) = function.problem() {
            return Err(self.misfit(function.name(), x, why));
        }
        Ok(self.push(Layer::Function(function), &[x], self.shape(x)))
    }

    /// `x` where it is above 0, and a trained slope times `x` elsewhere: one slope if `shared`, otherwise one for
    /// each channel.
    pub fn prelu(&mut self, x: NodeId, name: &str, shared: bool) -> NodeId {
        self.push(Layer::PRelu { name: name.into(), shared }, &[x], self.shape(x))
    }

    /// `scale * x + shift` with constants: one for each channel, or one for each number `[c, h, w]`.
    pub fn affine(&mut self, x: NodeId, scale: &[f64], shift: &[f64]) -> Result<NodeId> {
        let [c, h, w] = self.shape(x);
        if scale.len() != shift.len() || ![c, c * h * w].contains(&scale.len()) {
            let why = format!("{} factors and {} summands", scale.len(), shift.len());
            return Err(self.misfit("affine", x, why));
        }
        if !scale.iter().chain(shift).all(|number| number.is_finite()) {
            return Err(self.misfit("affine", x, "factors and summands must be finite".into()));
        }
        let (scale, shift) = (scale.into(), shift.into());
        Ok(self.push(Layer::Affine { scale, shift }, &[x], self.shape(x)))
    }

    /// Max pooling: a [`Pool2d`](crate::Pool2d), or [`Pool`] if the axes differ.
    pub fn max_pool(&mut self, x: NodeId, pool: impl Into<Pool>) -> Result<NodeId> {
        let pool = pool.into();
        let shape = self.pooled("max_pool", x, &pool)?;
        Ok(self.push(Layer::MaxPool(pool), &[x], shape))
    }

    /// Mean over windows. Padding counts as zeros, as in torch. A window of size 1 selects every `stride`-th row
    /// and column.
    pub fn average_pool(&mut self, x: NodeId, pool: impl Into<Pool>) -> Result<NodeId> {
        let pool = pool.into();
        let shape = self.pooled("average_pool", x, &pool)?;
        Ok(self.push(Layer::AveragePool(pool), &[x], shape))
    }

    fn pooled(&self, name: &str, x: NodeId, pool: &Pool) -> Result<[usize; 3]> {
        let [c, h, w] = self.shape(x);
        let bad = |axis: &Axis| {
            let Axis { kernel, stride, before, after, dilation } = *axis;
            let positive = kernel > 0 && stride > 0 && dilation > 0;
            let small = kernel <= TAPS && stride <= LONGEST && dilation <= LONGEST;
            !positive || !small || before >= axis.extent() || after >= axis.extent()
        };
        if pool.axes.iter().any(bad) || pool.taps() > TAPS {
            let why = format!(
                "{}: a window has 1 to {TAPS} positions, stride and dilation are at least 1, and padding is smaller \
                 than the window",
                said("window", pool.axes)
            );
            return Err(self.misfit(name, x, why));
        }
        let Some([rows, columns]) = pool.output([h, w]) else {
            return Err(self.misfit(name, x, format!("{} is larger than that", said("window", pool.axes))));
        };
        if pool.axes.iter().zip([h, w]).any(|(axis, length)| axis.misses(length)) {
            let why = format!("{} has positions of padding alone", said("window", pool.axes));
            return Err(self.misfit(name, x, why));
        }
        Ok([c, rows, columns])
    }

    /// Concatenates the channels of several values of the same height and width.
    pub fn concat(&mut self, values: &[NodeId]) -> Result<NodeId> {
        let Some(first) = values.first() else {
            return Err(self.misfit("concat", self.input(), "it needs at least one value".into()));
        };
        let [_, h, w] = self.shape(*first);
        if let Some(other) = values.iter().find(|id| self.shape(**id)[1..] != [h, w]) {
            let why = format!("another value is {}", dims(self.shape(*other)));
            return Err(self.misfit("concat", *first, why));
        }
        let channels = values.iter().map(|id| self.shape(*id)[0]).fold(0, usize::saturating_add);
        self.holds("concat", *first, [channels, h, w])?;
        Ok(self.push(Layer::Concat, values, [channels, h, w]))
    }

    /// The channels of `x` with channels of zeros before and after them.
    pub fn pad_channels(&mut self, x: NodeId, before: usize, after: usize) -> Result<NodeId> {
        let [c, h, w] = self.shape(x);
        let padded = c.saturating_add(before).saturating_add(after);
        self.holds("pad_channels", x, [padded, h, w])?;
        Ok(self.push(Layer::PadChannels { before, after }, &[x], [padded, h, w]))
    }

    /// Mean over height and width.
    pub fn global_average_pool(&mut self, x: NodeId) -> NodeId {
        let [c, ..] = self.shape(x);
        self.push(Layer::GlobalAveragePool, &[x], [c, 1, 1])
    }

    /// Sum of two values of the same shape.
    pub fn add(&mut self, a: NodeId, b: NodeId) -> Result<NodeId> {
        if self.shape(a) != self.shape(b) {
            return Err(self.misfit("add", a, format!("the other operand is {}", dims(self.shape(b)))));
        }
        Ok(self.push(Layer::Add, &[a, b], self.shape(a)))
    }

    /// Product of two values of the same shape. `b` may have a single position, `[c, 1, 1]`, which then multiplies
    /// all positions of `a`.
    pub fn multiply(&mut self, a: NodeId, b: NodeId) -> Result<NodeId> {
        let ([c, h, w], other) = (self.shape(a), self.shape(b));
        if other != [c, h, w] && other != [c, 1, 1] {
            return Err(self.misfit("multiply", a, format!("the other factor is {}", dims(other))));
        }
        Ok(self.push(Layer::Multiply, &[a, b], [c, h, w]))
    }

    /// Weighted sums of the numbers of `x`, with constant weights.
    pub fn gather(&mut self, x: NodeId, gather: Gather) -> Result<NodeId> {
        if let Some(why) = gather.problem(self.shape(x)) {
            return Err(self.misfit("gather", x, why));
        }
        let shape = gather.shape();
        self.holds("gather", x, shape)?;
        Ok(self.push(Layer::Gather(Arc::new(gather)), &[x], shape))
    }
}
