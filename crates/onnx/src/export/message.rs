//! Writes the messages of an ONNX file: protocol buffers with the field numbers of `onnx.proto`.

use temper_files::protobuf::{bytes, float, number};

/// An attribute of a node.
#[derive(Debug, Clone)]
pub(super) enum Attribute {
    Int(&'static str, i64),
    Ints(&'static str, Vec<i64>),
    Float(&'static str, f32),
}

/// ONNX's numbers for element types.
const FLOAT: u64 = 1;
const INT64: u64 = 7;

impl Attribute {
    fn message(&self) -> Vec<u8> {
        let mut all = vec![];
        match self {
            Self::Int(name, value) => {
                bytes(1, name.as_bytes(), &mut all);
                number(3, value.cast_unsigned(), &mut all);
                number(20, 2, &mut all);
            }
            Self::Ints(name, values) => {
                bytes(1, name.as_bytes(), &mut all);
                for value in values {
                    number(8, value.cast_unsigned(), &mut all);
                }
                number(20, 7, &mut all);
            }
            Self::Float(name, value) => {
                bytes(1, name.as_bytes(), &mut all);
                float(2, *value, &mut all);
                number(20, 1, &mut all);
            }
        }
        all
    }
}

/// A graph under construction.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<u8>,
    tensors: Vec<u8>,
    values: usize,
    constants: usize,
}

impl Graph {
    /// Adds a node; returns the name of its value.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        self.values += 1;
        let value = format!("value{}", self.values);
        self.node_to(operator, inputs, attributes, &value);
        value
    }

    /// Adds a node whose value has this name.
    pub(super) fn node_to(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
        value: &str,
    ) {
        let mut node = vec![];
        for input in inputs {
            bytes(1, input.as_bytes(), &mut node);
        }
        bytes(2, value.as_bytes(), &mut node);
        bytes(3, format!("{operator}:{value}").as_bytes(), &mut node);
        bytes(4, operator.as_bytes(), &mut node);
        for attribute in attributes {
            bytes(5, &attribute.message(), &mut node);
        }
        bytes(1, &node, &mut self.nodes);
    }

    fn tensor(&mut self, name: &str, kind: u64, dims: &[usize], raw: &[u8]) -> String {
        let mut tensor = vec![];
        for dim in dims {
            number(1, *dim as u64, &mut tensor);
        }
        number(2, kind, &mut tensor);
        bytes(8, name.as_bytes(), &mut tensor);
        bytes(9, raw, &mut tensor);
        bytes(5, &tensor, &mut self.tensors);
        name.into()
    }

    /// Adds a tensor of weights; returns its name.
    pub(super) fn floats(&mut self, name: &str, numbers: &[f32], dims: &[usize]) -> String {
        let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.tensor(name, FLOAT, dims, &raw)
    }

    fn constant(&mut self) -> String {
        self.constants += 1;
        format!("constant{}", self.constants)
    }

    /// Adds a constant, rounded to f32; returns its name.
    pub(super) fn numbers(&mut self, numbers: &[f64], dims: &[usize]) -> String {
        let (name, numbers) =
            (self.constant(), numbers.iter().map(|number| *number as f32).collect::<Vec<_>>());
        self.floats(&name, &numbers, dims)
    }

    /// Adds a constant of integers; returns its name.
    pub(super) fn integers(&mut self, numbers: &[i64], dims: &[usize]) -> String {
        let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let name = self.constant();
        self.tensor(&name, INT64, dims, &raw)
    }

    /// Returns the bytes of the file. `input` and `output` are each a name and the shape of one sample.
    pub(super) fn model(
        self,
        input: (&str, Vec<usize>),
        output: (&str, Vec<usize>),
        (format, opset): (u64, i64),
    ) -> Vec<u8> {
        let mut graph = self.nodes;
        bytes(2, b"temper", &mut graph);
        graph.extend(self.tensors);
        bytes(11, &value(input), &mut graph);
        bytes(12, &value(output), &mut graph);
        let mut set = vec![];
        number(2, opset.cast_unsigned(), &mut set);
        let mut model = vec![];
        number(1, format, &mut model);
        bytes(2, b"temper", &mut model);
        bytes(3, env!("CARGO_PKG_VERSION").as_bytes(), &mut model);
        bytes(7, &graph, &mut model);
        bytes(8, &set, &mut model);
        model
    }
}

/// The message of an f32 value with any number of samples.
fn value((name, sample): (&str, Vec<usize>)) -> Vec<u8> {
    let mut shape = vec![];
    let mut batch = vec![];
    bytes(2, b"n", &mut batch);
    bytes(1, &batch, &mut shape);
    for length in sample {
        let mut dim = vec![];
        number(1, length as u64, &mut dim);
        bytes(1, &dim, &mut shape);
    }
    let (mut tensor, mut kind, mut all) = (vec![], vec![], vec![]);
    number(1, FLOAT, &mut tensor);
    bytes(2, &shape, &mut tensor);
    bytes(1, &tensor, &mut kind);
    bytes(1, name.as_bytes(), &mut all);
    bytes(2, &kind, &mut all);
    all
}
