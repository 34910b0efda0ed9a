//! Plans the steps that run a graph of layers. A step includes following layers that the same pass can compute.

use std::sync::Arc;

use super::function::Function;
use super::gather::Gather;
use super::layer::{Layer, Node, NodeId};
use super::network::Network;
use super::shape::{ConvShape, Pool};

/// Which layers a backend computes in one pass with a convolution.
#[derive(Clone, Copy)]
pub(crate) struct Fusion {
    /// Whether batch norm is folded into the convolution before it, as in evaluation mode.
    pub(crate) fold: bool,
    /// Whether a sum and a `ReLU` may follow such a convolution.
    pub(crate) finishes: fn(&ConvShape) -> bool,
    /// Whether a max pooling may follow such a convolution.
    pub(crate) pools: fn(&ConvShape) -> bool,
}

/// A batch norm by name, with its epsilon.
#[derive(Debug, Clone)]
pub(crate) struct BatchNormStep {
    pub(crate) name: String,
    pub(crate) epsilon: f64,
}

/// One step, which reads values and computes one. Values have the indices of the nodes whose outputs they are.
#[derive(Debug, Clone)]
pub(crate) struct PlanStep {
    pub(crate) kind: Operation,
    /// The value that the step reads.
    pub(crate) input: usize,
    /// The second factor of a product.
    pub(crate) factor: Option<usize>,
    /// Another value, which is added to the result.
    pub(crate) addend: Option<usize>,
    /// Whether `max(.., 0)` is applied to the result, including the addend.
    pub(crate) relu: bool,
    pub(crate) output: usize,
}

impl PlanStep {
    fn new(kind: Operation, input: usize, output: usize) -> Self {
        Self { kind, input, factor: None, addend: None, relu: false, output }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// `(x - mean) / std`, from NCHW pixels to NHWC.
    Normalize {
        mean: Vec<f64>,
        std: Vec<f64>,
    },
    Conv {
        name: String,
        shape: ConvShape,
        bias: bool,
        norm: Option<BatchNormStep>,
        pool: Option<Pool>,
    },
    BatchNorm(BatchNormStep),
    MaxPool(Pool),
    AveragePool(Pool),
    GlobalAveragePool,
    /// Copies the `channels` true channels of the input to the channels from `first` on; the result is zero
    /// elsewhere.
    Place {
        channels: usize,
        first: usize,
    },
    /// The input, plus the step's addend if there is one.
    Add,
    Function(Function),
    PRelu {
        name: String,
        shared: bool,
    },
    Affine {
        scale: Arc<[f64]>,
        shift: Arc<[f64]>,
    },
    /// The product with the step's factor.
    Multiply,
    Gather(Arc<Gather>),
}

impl Operation {
    /// Whether its gradient with respect to its input depends on the values that it read.
    pub(crate) fn is_curved(&self) -> bool {
        matches!(self, Self::Function(_) | Self::PRelu { .. } | Self::Multiply)
    }
}

/// Steps of a network, and its values: one per node, and those between two steps of the same node.
#[derive(Debug, Clone)]
pub(crate) struct GraphPlan {
    pub(crate) steps: Vec<PlanStep>,
    /// Channels, height and width of each value.
    pub(crate) shapes: Vec<[usize; 3]>,
    /// Whether each value is pixels, raw or normalised, that only convolutions read.
    pub(crate) pixels: Vec<bool>,
}

/// A network's graph, with the queries of the planner.
struct Graph<'a> {
    nodes: &'a [Node],
    absorbed: Vec<bool>,
}

impl<'a> Graph<'a> {
    /// The reader of a node, if there is exactly one.
    fn reader(&self, id: usize) -> Option<usize> {
        let mut readers = (0..self.nodes.len()).filter(|i| self.nodes[*i].inputs.contains(&NodeId(id)));
        match (readers.next(), readers.next()) {
            (Some(reader), None) => Some(reader),
            _ => None,
        }
    }

    /// Absorbs the only reader of `last` if its layer is `wanted`, and sets `last` to that reader.
    fn follow(&mut self, last: &mut usize, wanted: impl Fn(&Layer) -> bool) -> Option<&'a Layer> {
        let next = self.reader(*last).filter(|r| wanted(&self.nodes[*r].layer))?;
        self.absorbed[next] = true;
        *last = next;
        Some(&self.nodes[next].layer)
    }

    /// Absorbs the sum that is the only reader of `last`, if the other summand is among the values `done`.
    fn follow_sum(&mut self, last: &mut usize, done: &[bool]) -> Option<usize> {
        let next = self.reader(*last).filter(|r| self.nodes[*r].layer == Layer::Add)?;
        let other = self.nodes[next].inputs.iter().map(|i| i.0).find(|i| i != last).filter(|i| done[*i])?;
        self.absorbed[next] = true;
        *last = next;
        Some(other)
    }
}

fn place(nodes: &[Node], input: NodeId, first: usize) -> Operation {
    Operation::Place { channels: nodes[input.0].shape[0], first }
}

/// Whether a value is pixels, raw or normalised, that only `Normalize` and convolutions that are not depth-wise read.
/// Such convolutions read pixels without filling; depth-wise ones work on whole panels.
fn is_pixels(nodes: &[Node], id: usize) -> bool {
    let normal = id == 0 || matches!(nodes[id].layer, Layer::Normalize { .. });
    let convs = |node: &Node| {
        let reads = node.inputs.contains(&NodeId(id));
        let gathers = matches!(&node.layer, Layer::Conv { shape, .. } if !shape.is_depthwise());
        !reads || gathers || matches!(node.layer, Layer::Normalize { .. })
    };
    normal && nodes.iter().all(convs)
}

/// Plans a network. A sum becomes part of the last step of either summand.
pub(crate) fn plan(network: &Network, fusion: Fusion) -> GraphPlan {
    let nodes = network.nodes();
    let mut planner = Planner {
        graph: Graph { nodes, absorbed: vec![false; nodes.len()] },
        done: vec![false; nodes.len()],
        fusion,
        plan: GraphPlan {
            steps: vec![],
            shapes: nodes.iter().map(|node| node.shape).collect(),
            pixels: (0..nodes.len()).map(|id| is_pixels(nodes, id)).collect(),
        },
    };
    planner.change_layout();
    for (id, node) in nodes.iter().enumerate() {
        if planner.graph.absorbed[id] || id == 0 {
            continue;
        }
        match node.layer {
            Layer::Concat => planner.concat(id, node),
            _ => planner.step(id, node),
        }
    }
    planner.plan
}

/// A plan under construction.
struct Planner<'a> {
    graph: Graph<'a>,
    /// Which values the steps so far compute.
    done: Vec<bool>,
    fusion: Fusion,
    plan: GraphPlan,
}

impl<'a> Planner<'a> {
    /// Adds a step that changes the layout for layers that read the raw pixels. Pixels arrive as NCHW. `Normalize`
    /// reads them and changes the layout as well.
    fn change_layout(&mut self) {
        let nodes = self.graph.nodes;
        let raw =
            |node: &Node| node.inputs.contains(&NodeId(0)) && !matches!(node.layer, Layer::Normalize { .. });
        if nodes.iter().any(raw) {
            let channels = nodes[0].shape[0];
            let kind = Operation::Normalize { mean: vec![0.0; channels], std: vec![1.0; channels] };
            self.plan.steps.push(PlanStep::new(kind, 0, 0));
            self.done[0] = true;
        }
    }

    /// Adds one step for each input. Each step adds its channels to the result of the previous steps.
    fn concat(&mut self, id: usize, node: &Node) {
        let nodes = self.graph.nodes;
        let (mut first, mut addend) = (0, None);
        for (i, input) in node.inputs.iter().enumerate() {
            let output = if i + 1 == node.inputs.len() { id } else { self.plan.shapes.len() };
            if output != id {
                self.plan.shapes.push(node.shape);
                self.plan.pixels.push(false);
            }
            let kind = place(nodes, *input, first);
            self.plan.steps.push(PlanStep { addend, ..PlanStep::new(kind, input.0, output) });
            addend = Some(output);
            first += nodes[input.0].shape[0];
        }
        self.done[id] = true;
    }

    /// Adds the step of a layer, including the following layers that it absorbs.
    fn step(&mut self, id: usize, node: &'a Node) {
        // Only the pixels have no input, and they have no step.
        let Some(input) = node.inputs.first() else { return };
        let mut step = PlanStep::new(Operation::Add, input.0, id);
        let mut last = id;
        let is_relu = |layer: &Layer| *layer == Layer::Relu;
        step.kind = match &node.layer {
            Layer::Input | Layer::Concat => return,
            Layer::Normalize { mean, std } => Operation::Normalize { mean: mean.clone(), std: std.clone() },
            Layer::Conv { name, shape, bias, .. } => {
                let norm = self.norm_after(&mut last);
                if (self.fusion.finishes)(shape) {
                    step.addend = self.graph.follow_sum(&mut last, &self.done);
                    step.relu = self.graph.follow(&mut last, is_relu).is_some();
                }
                let pools = step.addend.is_none() && (self.fusion.pools)(shape);
                let pool = if pools { self.pool_after(&mut last) } else { None };
                Operation::Conv { name: name.clone(), shape: *shape, bias: *bias, norm, pool }
            }
            Layer::BatchNorm { name, epsilon, .. } => {
                step.addend = self.graph.follow_sum(&mut last, &self.done);
                step.relu = self.graph.follow(&mut last, is_relu).is_some();
                Operation::BatchNorm(BatchNormStep { name: name.clone(), epsilon: *epsilon })
            }
            Layer::Relu => {
                step.relu = true;
                Operation::Add
            }
            Layer::MaxPool(pool) => Operation::MaxPool(*pool),
            Layer::AveragePool(pool) => Operation::AveragePool(*pool),
            Layer::GlobalAveragePool => Operation::GlobalAveragePool,
            Layer::PadChannels { before, .. } => place(self.graph.nodes, node.inputs[0], *before),
            Layer::Add => {
                step.addend = Some(node.inputs[1].0);
                step.relu = self.graph.follow(&mut last, is_relu).is_some();
                Operation::Add
            }
            Layer::Function(function) => Operation::Function(*function),
            Layer::PRelu { name, shared } => Operation::PRelu { name: name.clone(), shared: *shared },
            Layer::Affine { scale, shift } => {
                step.relu = self.graph.follow(&mut last, is_relu).is_some();
                Operation::Affine { scale: scale.clone(), shift: shift.clone() }
            }
            Layer::Multiply => {
                step.factor = Some(node.inputs[1].0);
                Operation::Multiply
            }
            Layer::Gather(gather) => Operation::Gather(gather.clone()),
        };
        self.done[last] = true;
        self.plan.steps.push(PlanStep { output: last, ..step });
    }

    /// Absorbs a batch norm after a convolution, in evaluation mode.
    fn norm_after(&mut self, last: &mut usize) -> Option<BatchNormStep> {
        if !self.fusion.fold {
            return None;
        }
        match self.graph.follow(last, |layer| matches!(layer, Layer::BatchNorm { .. })) {
            Some(Layer::BatchNorm { name, epsilon, .. }) => {
                Some(BatchNormStep { name: name.clone(), epsilon: *epsilon })
            }
            _ => None,
        }
    }

    /// Absorbs a max pooling.
    fn pool_after(&mut self, last: &mut usize) -> Option<Pool> {
        match self.graph.follow(last, |layer| matches!(layer, Layer::MaxPool(_))) {
            Some(Layer::MaxPool(pool)) => Some(*pool),
            _ => None,
        }
    }
}
