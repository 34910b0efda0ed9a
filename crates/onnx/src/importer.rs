//! Turns the nodes of a file into the layers of a network.

use std::collections::{BTreeMap, HashMap, HashSet};

use candle_core::Tensor;
use temper_nn::{Network, NodeId};

use crate::call::{Call, Item};
use crate::constant::{Constant, Data};
use crate::decode;
use crate::error::{Error, Found, Problem, Result};
use crate::external::Beside;
use crate::ops::choice;
use crate::order::Order;
use crate::proto::{Graph, Node};
use crate::table;

/// Maximum total size of the maps of values in use at once, in numbers.
const MOST_MAPPED: usize = 1 << 24;
/// Maximum total size of the network's rearrangements and constants, in numbers.
const MOST_KEPT: usize = 1 << 24;
/// Maximum total size of weights whose numbers are all equal, in numbers.
const MOST_UNIFORM: usize = 1 << 24;
/// Maximum count of numbers that are processed while the network is built, beyond [`COST`] for each byte of the file.
const MOST_WORK: usize = 1 << 26;
/// How many numbers can be processed in the time that rearranging one number, or listing a constant for it, takes.
pub(crate) const COST: usize = 8;
/// Maximum total size of folded constants, in numbers, beyond the bytes of the file.
const MOST_FOLDED: usize = 1 << 22;

/// The length of an item's map; 0 without a map.
fn mapped(item: &Item<'_>) -> usize {
    match item {
        Item::Value(value) => value.map.as_ref().map_or(0, |map| map.len()),
        Item::Constant(_) => 0,
    }
}

/// Means and standard deviations of the pixels, one for each channel or one for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Normalisation<'a> {
    pub(crate) mean: &'a [f64],
    pub(crate) std: &'a [f64],
}

/// The network under construction.
pub(crate) struct Importer<'a> {
    pub(crate) network: Network,
    pub(crate) weights: BTreeMap<String, Tensor>,
    pub(crate) told: Vec<String>,
    pub(crate) opset: i64,
    pub(crate) graph: &'a Graph<'a>,
    pub(crate) order: Order<'a>,
    pub(crate) items: HashMap<&'a str, Item<'a>>,
    /// The last layer.
    pub(crate) last: NodeId,
    /// Indices of `Where` nodes that are softplus.
    pub(crate) softplus: HashSet<usize>,
    /// Number of layers of constant factors and summands.
    pub(crate) constants: usize,
    /// Layers, by the name of their weight in the file.
    named: HashMap<&'a str, String>,
    /// Names of layers, each with the number of layers that were named after it.
    layers: HashMap<String, usize>,
    /// How often each tensor was read.
    read: HashMap<&'a str, usize>,
    /// Total length of the maps of all items.
    mapped: usize,
    done: Vec<bool>,
    beside: Beside<'a>,
    /// The normalisation before the graph.
    pub(crate) before: Option<Normalisation<'a>>,
    folded: usize,
    kept: usize,
    work: usize,
    uniform: usize,
}

impl<'a> Importer<'a> {
    pub(crate) fn new(
        graph: &'a Graph<'a>,
        opset: i64,
        (beside, before): (Beside<'a>, Option<Normalisation<'a>>),
        bytes: usize,
    ) -> Result<Self> {
        let network = Network::new([1, 1, 1]);
        let last = network.input();
        let mut importer = Self {
            network,
            weights: BTreeMap::new(),
            told: vec![],
            opset,
            graph,
            order: Order::of(graph)?,
            items: HashMap::new(),
            last,
            softplus: HashSet::new(),
            constants: 0,
            named: HashMap::new(),
            layers: HashMap::new(),
            read: HashMap::new(),
            mapped: 0,
            done: vec![false; graph.nodes.len()],
            beside,
            before,
            folded: bytes.saturating_add(MOST_FOLDED),
            kept: MOST_KEPT,
            work: bytes.saturating_mul(COST).saturating_add(MOST_WORK),
            uniform: MOST_UNIFORM,
        };
        importer.known()?;
        importer.initializers();
        importer.images()?;
        Ok(importer)
    }

    /// Refuses unknown operators before any work is done.
    fn known(&self) -> Result<()> {
        let live = || self.order.nodes.iter().map(|index| &self.graph.nodes[*index]);
        let Some(node) = live().find(|node| table::handler(node).is_none()) else { return Ok(()) };
        let (label, name) = (node.label().to_string(), node.operator);
        if matches!(name, "If" | "Loop" | "Scan") || node.attributes.iter().any(|attribute| attribute.graph) {
            return Err(Error::ControlFlow { node: label, operator: name.into() });
        }
        if name.contains("Quantize") || name.starts_with("QLinear") || name.ends_with("Integer") {
            return Err(
                Problem::Integers("it computes with integers, expected floats".into()).at(&label, name)
            );
        }
        let count = live().filter(|other| other.operator == name && other.domain == node.domain).count();
        let operator = match node.domain {
            "" | "ai.onnx" => name.into(),
            domain => format!("{domain}.{name}"),
        };
        Err(Error::Unknown { node: label, operator, opset: self.opset, count })
    }

    /// Makes constants of the initializers that are needed, and of nodes that are constants.
    fn initializers(&mut self) {
        let mut others = BTreeMap::new();
        for tensor in &self.graph.initializers {
            if self.order.readers.contains_key(tensor.name) {
                if let Some(kind) = decode::other_float(tensor.kind) {
                    *others.entry(kind).or_insert(0usize) += 1;
                }
                self.items.insert(tensor.name, Item::Constant(Constant::of_file(tensor, self.beside)));
            }
        }
        for (kind, count) in others {
            self.told.push(format!("{count} tensors of {kind} were converted to f32"));
        }
    }

    pub(crate) fn beside(&self) -> Beside<'a> {
        self.beside
    }

    /// Turns all nodes that the first output needs into layers.
    pub(crate) fn run(&mut self) -> Result<()> {
        // Constants come first, so that they can be merged into the layers before them.
        let mut made: HashSet<&str> = HashSet::new();
        let (mut constants, mut others) = (vec![], vec![]);
        for index in self.order.nodes.iter().copied() {
            let node = &self.graph.nodes[index];
            let known = |name: &&str| {
                name.is_empty()
                    || made.contains(name)
                    || matches!(self.items.get(name), Some(Item::Constant(_)))
            };
            match node.inputs.iter().all(known) {
                true => {
                    made.extend(&node.outputs);
                    constants.push(index);
                }
                false => others.push(index),
            }
        }
        self.all(constants)?;
        self.softplus = choice::softplus(self).map_err(Problem::whole)?;
        self.all(others)
    }

    fn all(&mut self, nodes: Vec<usize>) -> Result<()> {
        for index in nodes {
            let node = &self.graph.nodes[index];
            if !self.done[index] {
                self.node(index, node).map_err(|problem| problem.at(node.label(), node.operator))?;
                self.done[index] = true;
            }
            self.forget(node);
        }
        Ok(())
    }

    fn node(&mut self, index: usize, node: &'a Node<'a>) -> Found<()> {
        let mut inputs = vec![];
        for name in &node.inputs {
            let item = self.items.get(name).cloned();
            if item.is_none() && !name.is_empty() {
                return Err(Problem::Damaged(format!("its input `{name}` is not there")));
            }
            if let Some(Item::Constant(Constant { data: Data::File(tensor, _), .. })) = &item {
                // Its numbers are read from the file each time.
                self.work(tensor.numbers)?;
            }
            inputs.push(item);
        }
        let call = Call { index, node, opset: self.opset, inputs };
        let softmax = call.inputs.iter().flatten().find_map(|item| match item {
            Item::Value(value) => value.softmax,
            Item::Constant(_) => None,
        });
        if let Some(softmax) = softmax.filter(|_| !table::passes(node.operator)) {
            let softmax = &self.graph.nodes[softmax];
            return Err(Problem::of(format!(
                "it reads the {} `{}`; softmax is supported at the end of the network only, where it is taken off \
                 (attention is not supported)",
                softmax.operator,
                softmax.label()
            )));
        }
        let handler = table::handler(node).ok_or_else(|| Problem::of("an unknown operator"))?;
        let results = handler(self, &call)?;
        for (name, item) in node.outputs.iter().zip(results) {
            self.give(name, item)?;
        }
        Ok(())
    }

    /// Sets a tensor of the graph.
    pub(crate) fn give(&mut self, name: &'a str, item: Item<'a>) -> Found<()> {
        if name.is_empty() {
            return Ok(());
        }
        let item = match item {
            Item::Value(value) => {
                let numbers = self.network.shape(value.node).iter().product();
                Item::Value(value.simplified(numbers))
            }
            constant @ Item::Constant(_) => constant,
        };
        self.work(mapped(&item).saturating_mul(COST))?;
        self.mapped = self.mapped.saturating_add(mapped(&item));
        self.items.insert(name, item);
        match self.mapped <= MOST_MAPPED {
            true => Ok(()),
            false => Err(Problem::of(format!("rearrangements of more than {MOST_MAPPED} numbers at once"))),
        }
    }

    /// Drops the inputs of a node that no later node reads.
    fn forget(&mut self, node: &Node<'a>) {
        for name in &node.inputs {
            let read = self.read.entry(name).or_insert(0);
            *read += 1;
            let last = self.order.readers.get(name).is_none_or(|readers| readers.len() == *read);
            if last && *name != self.order.output {
                let dropped = self.items.remove(name);
                self.mapped = self.mapped.saturating_sub(dropped.as_ref().map_or(0, mapped));
            }
        }
    }

    /// The only reader of the output of node `index`, if there is exactly one: its index and the node.
    pub(crate) fn follower(&self, index: usize) -> Option<(usize, &'a Node<'a>)> {
        let name = self.graph.nodes[index].outputs.first()?;
        if *name == self.order.output {
            return None;
        }
        match self.order.readers.get(name)?.as_slice() {
            [reader] if !self.done[*reader] => Some((*reader, &self.graph.nodes[*reader])),
            _ => None,
        }
    }

    /// The other input of a node of two inputs, if it is a known constant, and whether it is the first input.
    pub(crate) fn other_constant(&self, node: &Node<'a>, name: &str) -> Option<(Constant<'a>, bool)> {
        let [a, b] = node.inputs.as_slice() else { return None };
        let (other, first) = if *b == name { (a, true) } else { (b, false) };
        match self.items.get(other) {
            Some(Item::Constant(constant)) => Some((constant.clone(), first)),
            _ => None,
        }
    }

    /// Sets an item as the output of a later node, and marks that node as done.
    pub(crate) fn absorb(&mut self, index: usize, item: Item<'a>) -> Found<()> {
        let node = &self.graph.nodes[index];
        self.done[index] = true;
        match node.outputs.first() {
            Some(name) => self.give(name, item),
            None => Ok(()),
        }
    }

    /// Counts numbers of folded constants against their limit.
    pub(crate) fn fold(&mut self, numbers: usize) -> Found<()> {
        let left = self.folded.checked_sub(numbers);
        self.folded =
            left.ok_or_else(|| Problem::of("too much arithmetic with constants for a file of this length"))?;
        Ok(())
    }

    /// Counts numbers that are processed one by one against their limit.
    pub(crate) fn work(&mut self, numbers: usize) -> Found<()> {
        let left = self.work.checked_sub(numbers);
        self.work = left.ok_or_else(|| {
            Problem::of(
                "rearrangements and constants that take more work than a file of this length may ask for",
            )
        })?;
        Ok(())
    }

    /// Counts numbers that the network keeps against their limit.
    pub(crate) fn keep(&mut self, numbers: usize) -> Found<()> {
        let left = self.kept.checked_sub(numbers);
        self.kept = left.ok_or_else(|| {
            Problem::of(format!("rearrangements and constants of more than {MOST_KEPT} numbers in all"))
        })?;
        Ok(())
    }

    /// Records a new layer as the last one and returns its node.
    pub(crate) fn put(&mut self, made: temper_nn::Result<NodeId>) -> Found<NodeId> {
        self.last = made?;
        Ok(self.last)
    }

    /// Returns an unused name for a layer, derived from its weight, or else from the node.
    pub(crate) fn layer(&mut self, weight: &Constant<'a>, node: &Node<'a>) -> String {
        let origin = weight.origin.unwrap_or_default();
        let stem = origin.strip_suffix(".weight").unwrap_or(origin);
        let stem = if stem.is_empty() { node.label() } else { stem };
        let plain = |letter: char| {
            if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' }
        };
        let stem: String = stem.chars().take(120).map(plain).collect();
        let stem = match stem.trim_matches('.') {
            "" => "layer".into(),
            stem => stem.to_string(),
        };
        let mut name = stem.clone();
        while self.layers.contains_key(&name) {
            let number = self.layers.entry(stem.clone()).or_insert(1);
            *number += 1;
            name = format!("{stem}_{number}");
        }
        self.layers.insert(name.clone(), 1);
        if let Some(first) = weight.origin.and_then(|origin| self.named.insert(origin, name.clone())) {
            self.told.push(format!(
                "layers `{first}` and `{name}` share a weight in the file; here each has its own"
            ));
        }
        name
    }

    /// Sets a tensor of a layer.
    pub(crate) fn weight(&mut self, layer: &str, part: &str, tensor: Tensor) -> Found<()> {
        // A tensor of equal numbers takes no memory here, but it will in the network.
        if !tensor.is_contiguous() {
            let left = self.uniform.checked_sub(tensor.elem_count());
            self.uniform = left.ok_or_else(|| {
                Problem::of(format!("weights of more than {MOST_UNIFORM} equal numbers, which no file holds"))
            })?;
        }
        self.weights.insert(format!("{layer}.{part}"), tensor);
        Ok(())
    }
}
