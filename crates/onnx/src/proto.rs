//! The messages of an ONNX file (`onnx.proto3` of ONNX 1.23), as far as a network needs them. Texts and the numbers
//! of tensors are not copied from the file.

use crate::error::{Found, Problem};
use crate::wire::{Field, Fields};

/// Maximum number of nodes, of initializers and of inputs of a graph.
const MOST: usize = 50_000;
/// Maximum number of inputs and of outputs of a node.
const MOST_OF_NODE: usize = 1 << 12;
/// Maximum number of attributes of a node.
const MOST_ATTRIBUTES: usize = 32;
/// Maximum count of numbers in an attribute.
const MOST_NUMBERS: usize = 1 << 16;
/// Maximum total of the inputs, outputs, attributes and attribute numbers of all nodes.
const MOST_PARTS: usize = 1 << 20;
/// Maximum number of axes of a tensor.
const MOST_AXES: usize = 16;

/// `ModelProto`.
#[derive(Debug, Default)]
pub(crate) struct Model<'a> {
    pub(crate) producer: String,
    pub(crate) graph: Option<Graph<'a>>,
    /// Domains with the version of their operators.
    pub(crate) opsets: Vec<(&'a str, i64)>,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) initializers: Vec<Tensor<'a>>,
    pub(crate) inputs: Vec<Info<'a>>,
    pub(crate) outputs: Vec<&'a str>,
}

/// `NodeProto`.
#[derive(Debug, Default)]
pub(crate) struct Node<'a> {
    pub(crate) name: &'a str,
    pub(crate) operator: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) outputs: Vec<&'a str>,
    pub(crate) attributes: Vec<Attribute<'a>>,
}

/// `AttributeProto`. Of a graph, only the presence is recorded.
#[derive(Debug, Default)]
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    pub(crate) float: Option<f32>,
    pub(crate) int: Option<i64>,
    pub(crate) text: Option<&'a [u8]>,
    pub(crate) tensor: Option<Box<Tensor<'a>>>,
    pub(crate) floats: Vec<f32>,
    pub(crate) ints: Vec<i64>,
    pub(crate) graph: bool,
}

/// `TensorProto`, whose numbers are not read yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) dims: Vec<usize>,
    pub(crate) kind: u64,
    /// How many numbers the tensor has: the product of `dims`.
    pub(crate) numbers: usize,
    /// The message.
    pub(crate) message: &'a [u8],
    /// The location of numbers that are in another file: keys and values.
    pub(crate) external: Option<Vec<(&'a str, &'a str)>>,
}

impl<'a> Tensor<'a> {
    /// The name of the file with its numbers, if they are in another file.
    pub(crate) fn location(&self) -> Option<&'a str> {
        let places = self.external.as_ref()?;
        places.iter().find(|(key, _)| *key == "location").map(|(_, name)| *name)
    }
}

/// `ValueInfoProto` of a tensor. In `dims`, `None` stands for an axis of any length.
#[derive(Debug, Default)]
pub(crate) struct Info<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: u64,
    pub(crate) dims: Option<Vec<Option<usize>>>,
}

/// Adds an item to a list of at most `most` items, so that a file cannot make the list arbitrarily long.
fn push<T>(list: &mut Vec<T>, item: T, most: usize, what: &str) -> Found<()> {
    if list.len() == most {
        return Err(Problem::Damaged(format!("more than {most} {what}")));
    }
    list.push(item);
    Ok(())
}

impl<'a> Model<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Found<Self> {
        let mut model = Self::default();
        let mut version = "";
        for field in Fields::of(message) {
            match field? {
                (2, field) => model.producer = field.text()?.chars().take(100).collect(),
                (3, field) => version = field.text()?,
                (7, field) => model.graph = Some(Graph::read(field.bytes()?)?),
                (8, field) => push(&mut model.opsets, opset(field.bytes()?)?, MOST, "operator sets")?,
                _ => {}
            }
        }
        if !version.is_empty() {
            model.producer = format!("{} {}", model.producer, version.chars().take(100).collect::<String>());
        }
        Ok(model)
    }
}

fn opset(message: &[u8]) -> Found<(&str, i64)> {
    let mut set = ("", 0);
    for field in Fields::of(message) {
        match field? {
            (1, field) => set.0 = field.text()?,
            (2, field) => set.1 = field.number()? as i64,
            _ => {}
        }
    }
    Ok(set)
}

impl<'a> Graph<'a> {
    fn read(message: &'a [u8]) -> Found<Self> {
        let mut graph = Self::default();
        let mut parts = 0;
        for field in Fields::of(message) {
            match field? {
                (1, field) => {
                    let node = Node::read(field.bytes()?)?;
                    parts += node.parts();
                    if parts > MOST_PARTS {
                        return Err(Problem::Damaged(format!(
                            "its nodes have more than {MOST_PARTS} inputs and attributes"
                        )));
                    }
                    push(&mut graph.nodes, node, MOST, "nodes")?;
                }
                (5, field) => {
                    push(&mut graph.initializers, Tensor::read(field.bytes()?)?, MOST, "initializers")?;
                }
                (11, field) => push(&mut graph.inputs, Info::read(field.bytes()?)?, MOST, "inputs")?,
                (12, field) => push(&mut graph.outputs, Info::read(field.bytes()?)?.name, MOST, "outputs")?,
                _ => {}
            }
        }
        Ok(graph)
    }
}

impl<'a> Node<'a> {
    fn read(message: &'a [u8]) -> Found<Self> {
        let mut node = Self::default();
        for field in Fields::of(message) {
            match field? {
                (1, field) => push(&mut node.inputs, field.text()?, MOST_OF_NODE, "inputs of a node")?,
                (2, field) => push(&mut node.outputs, field.text()?, MOST_OF_NODE, "outputs of a node")?,
                (3, field) => node.name = field.text()?,
                (4, field) => node.operator = field.text()?,
                (5, field) => {
                    push(
                        &mut node.attributes,
                        Attribute::read(field.bytes()?)?,
                        MOST_ATTRIBUTES,
                        "attributes of a node",
                    )?;
                }
                (7, field) => node.domain = field.text()?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// Counts the inputs, outputs, attributes and their numbers.
    fn parts(&self) -> usize {
        let attributes = self.attributes.iter().map(|a| 4 + a.floats.len() + a.ints.len());
        self.inputs.len() + self.outputs.len() + attributes.sum::<usize>()
    }

    /// The node's name in messages: its own name, or that of its first output.
    pub(crate) fn label(&self) -> &'a str {
        match (self.name, self.outputs.first()) {
            ("", Some(output)) => output,
            (name, _) => name,
        }
    }
}

impl<'a> Attribute<'a> {
    fn read(message: &'a [u8]) -> Found<Self> {
        let mut attribute = Self::default();
        for field in Fields::of(message) {
            match field? {
                (1, field) => attribute.name = field.text()?,
                (2, Field::Four(word)) => attribute.float = Some(f32::from_le_bytes(word)),
                (3, field) => attribute.int = Some(field.number()? as i64),
                (4, field) => attribute.text = Some(field.bytes()?),
                (5, field) => attribute.tensor = Some(Box::new(Tensor::read(field.bytes()?)?)),
                (6 | 11, _) => attribute.graph = true,
                (7, field) => {
                    for word in field.fours()? {
                        push(
                            &mut attribute.floats,
                            f32::from_le_bytes(word),
                            MOST_NUMBERS,
                            "numbers of an attribute",
                        )?;
                    }
                }
                (8, field) => {
                    for number in field.numbers() {
                        push(&mut attribute.ints, number? as i64, MOST_NUMBERS, "numbers of an attribute")?;
                    }
                }
                _ => {}
            }
        }
        Ok(attribute)
    }
}

impl<'a> Tensor<'a> {
    fn read(message: &'a [u8]) -> Found<Self> {
        let mut tensor = Self { message, ..Self::default() };
        let mut places = vec![];
        let mut elsewhere = false;
        for field in Fields::of(message) {
            match field? {
                (1, field) => {
                    for dim in field.numbers() {
                        let dim = usize::try_from(dim? as i64);
                        let dim =
                            dim.map_err(|_| Problem::Damaged("a tensor has a negative length".into()))?;
                        push(&mut tensor.dims, dim, MOST_AXES, "axes of a tensor")?;
                    }
                }
                (2, field) => tensor.kind = field.number()?,
                (8, field) => tensor.name = field.text()?,
                (13, field) => push(&mut places, entry(field.bytes()?)?, 16, "places of a tensor")?,
                (14, field) => elsewhere = field.number()? == 1,
                _ => {}
            }
        }
        let numbers = tensor.dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim));
        let numbers = numbers.filter(|numbers| *numbers <= 1 << 31);
        tensor.numbers = numbers.ok_or_else(|| {
            Problem::Damaged(format!(
                "tensor `{}` has more than 2^31 numbers: {:?}",
                tensor.name, tensor.dims
            ))
        })?;
        tensor.external = elsewhere.then_some(places);
        Ok(tensor)
    }
}

/// `StringStringEntryProto`.
fn entry(message: &[u8]) -> Found<(&str, &str)> {
    let mut entry = ("", "");
    for field in Fields::of(message) {
        match field? {
            (1, field) => entry.0 = field.text()?,
            (2, field) => entry.1 = field.text()?,
            _ => {}
        }
    }
    Ok(entry)
}

impl<'a> Info<'a> {
    fn read(message: &'a [u8]) -> Found<Self> {
        let mut info = Self::default();
        for field in Fields::of(message) {
            match field? {
                (1, field) => info.name = field.text()?,
                (2, field) => {
                    for field in Fields::of(field.bytes()?) {
                        if let (1, field) = field? {
                            info.tensor(field.bytes()?)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(info)
    }

    /// `TypeProto.Tensor`.
    fn tensor(&mut self, message: &[u8]) -> Found<()> {
        for field in Fields::of(message) {
            match field? {
                (1, field) => self.kind = field.number()?,
                (2, field) => {
                    let mut dims = vec![];
                    for field in Fields::of(field.bytes()?) {
                        if let (1, field) = field? {
                            push(&mut dims, dimension(field.bytes()?)?, MOST_AXES, "axes of a tensor")?;
                        }
                    }
                    self.dims = Some(dims);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// `TensorShapeProto.Dimension`: its length, if it has a fixed one.
fn dimension(message: &[u8]) -> Found<Option<usize>> {
    let mut length = None;
    for field in Fields::of(message) {
        if let (1, field) = field? {
            // In files of some exporters, 0 and negative numbers stand for any length.
            length = usize::try_from(field.number()? as i64).ok().filter(|length| *length > 0);
        }
    }
    Ok(length)
}
