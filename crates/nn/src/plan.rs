//! From a graph of layers to the steps that run it: each step takes along what can follow it in one pass.

use crate::kernel::{Conv, Pool, stored};
use crate::network::{Layer, Network, Node, NodeId};

/// One step: reads values, gives one. Values are numbered as the nodes that they stand for.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// What the step works on.
    pub(crate) input: usize,
    /// Another value that is added to the result.
    pub(crate) addend: Option<usize>,
    /// Whether the result, the addend included, is cut at 0.
    pub(crate) relu: bool,
    pub(crate) output: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `(x - mean) / std`, from NCHW pixels to NHWC.
    Normalize {
        mean: Vec<f64>,
        std: Vec<f64>,
    },
    Conv {
        name: String,
        shape: Conv,
        bias: bool,
        norm: Option<String>,
        pool: Option<Pool>,
    },
    BatchNorm {
        name: String,
    },
    MaxPool(Pool),
    AveragePool(Pool),
    GlobalAveragePool,
    /// The true channels of the input, `channels` of them, from channel `first` of the result on; zero elsewhere.
    Place {
        channels: usize,
        first: usize,
    },
    /// The sum, or what there is, as it is.
    Add,
}

/// Steps of a network, and for every value the numbers of one sample.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// Stored channels, height and width of each node's value, and of what stands between two steps of one node.
    pub(crate) shapes: Vec<[usize; 3]>,
}

/// A network's graph, as the planner asks for it.
struct Graph<'a> {
    nodes: &'a [Node],
    absorbed: Vec<bool>,
}

impl<'a> Graph<'a> {
    /// The only reader of a node, if there is just one.
    fn reader(&self, id: usize) -> Option<usize> {
        let mut readers = (0..self.nodes.len()).filter(|i| self.nodes[*i].inputs.contains(&NodeId(id)));
        match (readers.next(), readers.next()) {
            (Some(reader), None) => Some(reader),
            _ => None,
        }
    }

    /// Absorbs the only reader of `last` if it is as `wanted`; `last` is then that.
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

fn place(nodes: &[Node], input: NodeId, first: usize) -> Kind {
    Kind::Place { channels: nodes[input.0].shape[0], first }
}

/// Plans a network. Sums become part of either summand's last step; if `fold`, in evaluation mode, a batch norm becomes part of the
/// convolution before it.
pub(crate) fn plan(network: &Network, fold: bool) -> Plan {
    let nodes = network.nodes();
    let mut graph = Graph { nodes, absorbed: vec![false; nodes.len()] };
    let mut shapes: Vec<[usize; 3]> =
        nodes.iter().map(|node| [stored(node.shape[0]), node.shape[1], node.shape[2]]).collect();
    let mut done = vec![false; nodes.len()];
    let mut steps = vec![];
    let raw =
        |node: &Node| node.inputs.contains(&NodeId(0)) && !matches!(node.layer, Layer::Normalize { .. });
    if nodes.iter().any(raw) {
        // Pixels arrive as NCHW. `Normalize` always reads those and changes the layout; so does this one, for layers
        // that read the pixels as they are.
        let channels = nodes[0].shape[0];
        let kind = Kind::Normalize { mean: vec![0.0; channels], std: vec![1.0; channels] };
        steps.push(Step { kind, input: 0, addend: None, relu: false, output: 0 });
        done[0] = true;
    }
    // Pixels that only convolutions read are not filled up to a panel.
    let pixels = |id: usize| {
        let normal = id == 0 || matches!(nodes[id].layer, Layer::Normalize { .. });
        let convs = |node: &Node| {
            let reads = node.inputs.contains(&NodeId(id));
            !reads
                || matches!(node.layer, Layer::Conv { .. })
                || matches!(node.layer, Layer::Normalize { .. })
        };
        normal && nodes.iter().all(convs)
    };
    for (id, node) in nodes.iter().enumerate() {
        if pixels(id) {
            shapes[id] = node.shape;
        }
        if graph.absorbed[id] || id == 0 {
            continue;
        }
        let mut last = id;
        let (mut addend, mut relu) = (None, false);
        let is_relu = |layer: &Layer| *layer == Layer::Relu;
        let kind = match &node.layer {
            Layer::Input => continue,
            Layer::Normalize { mean, std } => Kind::Normalize { mean: mean.clone(), std: std.clone() },
            Layer::Conv { name, shape, bias, .. } => {
                let shape = Conv { pixels: pixels(node.inputs[0].0), ..*shape };
                let (mut norm, mut pool) = (None, None);
                // The kernels give no bits for a part of a panel, where a group may end.
                let whole = shape.groups == 1;
                if fold {
                    let follower = graph.follow(&mut last, |layer| matches!(layer, Layer::BatchNorm { .. }));
                    norm = match follower {
                        Some(Layer::BatchNorm { name, .. }) => Some(name.clone()),
                        _ => None,
                    };
                }
                if whole {
                    addend = graph.follow_sum(&mut last, &done);
                }
                relu = whole && graph.follow(&mut last, is_relu).is_some();
                if addend.is_none() && shape.pools_at_once() {
                    pool = match graph.follow(&mut last, |layer| matches!(layer, Layer::MaxPool(_))) {
                        Some(Layer::MaxPool(pool)) => Some(*pool),
                        _ => None,
                    };
                }
                Kind::Conv { name: name.clone(), shape, bias: *bias, norm, pool }
            }
            Layer::BatchNorm { name, .. } => {
                addend = graph.follow_sum(&mut last, &done);
                relu = graph.follow(&mut last, is_relu).is_some();
                Kind::BatchNorm { name: name.clone() }
            }
            Layer::Relu => {
                relu = true;
                Kind::Add
            }
            Layer::MaxPool(pool) => Kind::MaxPool(*pool),
            Layer::AveragePool(pool) => Kind::AveragePool(*pool),
            Layer::GlobalAveragePool => Kind::GlobalAveragePool,
            Layer::PadChannels { before, .. } => place(nodes, node.inputs[0], *before),
            Layer::Concat => {
                // One step an input, each added to what the ones before made.
                let mut first = 0;
                for (i, input) in node.inputs.iter().enumerate() {
                    let output = if i + 1 == node.inputs.len() { id } else { shapes.len() };
                    if output != id {
                        shapes.push(shapes[id]);
                    }
                    let kind = place(nodes, *input, first);
                    steps.push(Step { kind, input: input.0, addend, relu: false, output });
                    addend = Some(output);
                    first += nodes[input.0].shape[0];
                }
                done[id] = true;
                continue;
            }
            Layer::Add => {
                addend = Some(node.inputs[1].0);
                relu = graph.follow(&mut last, is_relu).is_some();
                Kind::Add
            }
        };
        done[last] = true;
        steps.push(Step { kind, input: node.inputs[0].0, addend, relu, output: last });
    }
    Plan { steps, shapes }
}
