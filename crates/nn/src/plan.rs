//! From a graph of layers to the steps that run it: each convolution takes along what can follow it in one pass.

use crate::kernel::{Conv, Pool, Tail};
use crate::network::{Layer, Network, Node};

/// One step: reads values, gives one. Values are numbered as the nodes that they stand for.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    pub(crate) inputs: Vec<usize>,
    pub(crate) output: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Normalize { mean: Vec<f64>, std: Vec<f64> },
    Conv { name: String, shape: Conv, bias: bool, norm: Option<String>, tail: Tail },
    BatchNorm { name: String, relu: bool },
    Relu,
    MaxPool(Pool),
    GlobalAveragePool,
    Add,
}

/// Steps of a network. `fold`: batch norm in evaluation mode becomes part of the convolution before it.
pub(crate) fn steps(network: &Network, fold: bool) -> Vec<Step> {
    let nodes = network.nodes();
    // The only reader of a node, if there is just one.
    let reader = |id: usize| {
        let mut readers = nodes.iter().enumerate().filter(|(_, n)| n.inputs.iter().any(|i| i.0 == id));
        match (readers.next(), readers.next()) {
            (Some((reader, _)), None) => Some(reader),
            _ => None,
        }
    };
    let mut absorbed = vec![false; nodes.len()];
    let mut steps = vec![];
    let raw =
        |node: &Node| node.inputs.iter().any(|i| i.0 == 0) && !matches!(node.layer, Layer::Normalize { .. });
    if nodes.iter().any(raw) {
        // Pixels arrive as NCHW. `Normalize` always reads those and changes the layout; so does this one, for layers
        // that read the pixels as they are.
        let channels = nodes[0].shape[0];
        let kind = Kind::Normalize { mean: vec![0.0; channels], std: vec![1.0; channels] };
        steps.push(Step { kind, inputs: vec![0], output: 0 });
    }
    for (id, node) in nodes.iter().enumerate().skip(1) {
        if absorbed[id] {
            continue;
        }
        let mut last = id;
        let mut follow = |last: &mut usize, wanted: fn(&Layer) -> bool| {
            let next = reader(*last).filter(|r| wanted(&nodes[*r].layer))?;
            absorbed[next] = true;
            *last = next;
            Some(&nodes[next].layer)
        };
        let is_relu = |layer: &Layer| *layer == Layer::Relu;
        let kind = match &node.layer {
            Layer::Input => continue,
            Layer::Normalize { mean, std } => Kind::Normalize { mean: mean.clone(), std: std.clone() },
            Layer::Conv { name, shape, bias, .. } => {
                let norm = match fold {
                    true => follow(&mut last, |layer| matches!(layer, Layer::BatchNorm { .. })),
                    false => None,
                };
                let norm = match norm {
                    Some(Layer::BatchNorm { name }) => Some(name.clone()),
                    _ => None,
                };
                let relu = follow(&mut last, is_relu).is_some();
                let pool = match follow(&mut last, |layer| matches!(layer, Layer::MaxPool(_))) {
                    Some(Layer::MaxPool(pool)) => Some(*pool),
                    _ => None,
                };
                Kind::Conv { name: name.clone(), shape: *shape, bias: *bias, norm, tail: Tail { relu, pool } }
            }
            Layer::BatchNorm { name } => {
                Kind::BatchNorm { name: name.clone(), relu: follow(&mut last, is_relu).is_some() }
            }
            Layer::Relu => Kind::Relu,
            Layer::MaxPool(pool) => Kind::MaxPool(*pool),
            Layer::GlobalAveragePool => Kind::GlobalAveragePool,
            Layer::Add => Kind::Add,
        };
        steps.push(Step { kind, inputs: node.inputs.iter().map(|i| i.0).collect(), output: last });
    }
    steps
}
