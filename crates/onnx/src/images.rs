//! The graph's input of images, and its output of logits.

use std::sync::Arc;

use temper_nn::{Gather, Network};

use crate::call::Item;
use crate::constant::count;
use crate::decode;
use crate::error::{Error, Found, Problem, Result};
use crate::importer::{Importer, Normalisation};
use crate::moves;
use crate::proto::Info;
use crate::value::Value;

/// Numbers of channels that images may have.
const CHANNELS: [usize; 3] = [1, 3, 4];
/// Maximum number of classes of a classifier.
const MOST_CLASSES: usize = 1 << 20;
/// Maximum count of numbers in an image: 3 x 2048 x 2048 are 12.6 million.
const MOST: usize = 1 << 24;

/// The image shape of a row of numbers: a square in grey or in colour if one fits, else `[numbers, 1, 1]`.
fn square(numbers: usize) -> [usize; 3] {
    for channels in [1, 3] {
        let side = (numbers / channels).isqrt();
        if channels * side * side == numbers {
            return [channels, side, side];
        }
    }
    [numbers, 1, 1]
}

fn said(dims: &[Option<usize>]) -> String {
    let each = dims.iter().map(|dim| dim.map_or_else(|| "?".into(), |dim| dim.to_string()));
    format!("[{}]", each.collect::<Vec<_>>().join(", "))
}

impl<'a> Importer<'a> {
    /// Finds the input of images and begins the network with it.
    pub(crate) fn images(&mut self) -> Result<()> {
        let graph = self.graph;
        let given = |info: &&Info<'_>| {
            self.order.readers.contains_key(info.name) && !self.items.contains_key(info.name)
        };
        let inputs: Vec<&'a Info<'a>> = graph.inputs.iter().filter(given).collect();
        let [input] = inputs.as_slice() else {
            let names: Vec<&str> = inputs.iter().take(6).map(|info| info.name).collect();
            return Err(Error::Inputs(match names.is_empty() {
                true => "none is read on the way to the first output".into(),
                false => format!("{} are read, {names:?}", inputs.len()),
            }));
        };
        let name = input.name;
        if !decode::is_float(input.kind) {
            let what = format!("`{name}` has numbers of ONNX's type {}, expected floats", input.kind);
            return Err(Error::Inputs(what));
        }
        let dims = input.dims.as_deref().unwrap_or_default();
        let [samples, sample @ ..] = dims else {
            return Err(Error::Inputs(format!("`{name}` has no shape")));
        };
        let fixed: Option<Vec<usize>> = sample.iter().copied().collect();
        let Some(fixed) = fixed.filter(|fixed| (1..=3).contains(&fixed.len()) && count(fixed).is_ok()) else {
            return Err(Error::Inputs(format!(
                "`{name}` is {}; beside the batch there are one to three axes, whose \
                 lengths must be fixed when the network is exported",
                said(dims)
            )));
        };
        if count(&fixed).is_ok_and(|numbers| numbers > MOST) {
            return Err(Error::Inputs(format!("`{name}` is {}, more than {MOST} numbers", said(dims))));
        }
        let value = self.begin(name, &fixed, samples.unwrap_or(1)).map_err(Problem::whole)?;
        if samples.is_some_and(|samples| samples > 1) {
            self.told.push(format!("the graph's fixed batch of {} became any batch", value.samples));
        }
        self.give(name, Item::Value(value)).map_err(Problem::whole)
    }

    /// Begins the network; returns its pixels as the value of the file's input.
    fn begin(&mut self, name: &str, dims: &[usize], samples: usize) -> Found<Value> {
        let (shape, map) = match *dims {
            [h, w, c] if CHANNELS.contains(&c) && h.min(w) > 4 => {
                self.told.push(format!(
                    "input `{name}` is [n, h, w, c] in the file; the network takes pixels [n, c, h, w]"
                ));
                ([c, h, w], Some(moves::transposed(&[c, h, w], &[1, 2, 0])?.index))
            }
            [c, h, w] => ([c, h, w], None),
            [h, w] => ([1, h, w], None),
            [numbers] => {
                let [c, h, w] = square(numbers);
                self.told.push(format!(
                    "input `{name}` of {numbers} numbers is taken as images of {c} x {h} x {w}"
                ));
                ([c, h, w], None)
            }
            _ => return Err(Problem::of("an input of another rank")),
        };
        self.network = Network::new(shape);
        self.last = self.network.input();
        if let Some(Normalisation { mean, std }) = self.before {
            let made = self.network.normalize(self.last, mean, std);
            self.last = made.map_err(|error| Problem::of(error.to_string()))?;
        }
        let map = map.map(Arc::from);
        let value = Value { node: self.last, dims: dims.to_vec(), batch: 0, samples, map, softmax: None };
        let numbers = value.len();
        Ok(value.simplified(numbers))
    }

    /// Ends the network with the logits.
    pub(crate) fn logits(&mut self) -> Result<()> {
        let output = self.order.output;
        for other in self.graph.outputs.iter().skip(1).take(20) {
            self.told.push(format!("output `{other}` is left out; `{output}` is the first"));
        }
        let Some(Item::Value(value)) = self.items.get(output).cloned() else {
            return Err(Error::Output(format!("`{output}` does not depend on the pixels")));
        };
        let classes = value.len();
        let long = value.dims.iter().filter(|dim| **dim > 1).count();
        if value.batch != 0 || long > 1 || classes > MOST_CLASSES {
            return Err(Error::Output(format!(
                "`{output}` is {:?}, batch at axis {}",
                value.whole(),
                value.batch
            )));
        }
        if let Some(softmax) = value.softmax {
            let node = &self.graph.nodes[softmax];
            self.told.push(format!(
                "the {} `{}` at the end was taken off: the network gives logits",
                node.operator,
                node.label()
            ));
        }
        if self.constants > 0 {
            self.told.push(format!(
                "{} sums or products with constants of the graph stay as they are in training",
                self.constants
            ));
        }
        let end = |error: Problem| error.whole();
        let node = self.laid(&value, [classes, 1, 1]).map_err(end)?;
        if node != self.last || node == self.network.input() {
            let index: Vec<Option<usize>> = (0..classes).map(Some).collect();
            let made = self.network.gather(node, Gather::of([classes, 1, 1], &index));
            self.put(made).map_err(end)?;
        }
        Ok(())
    }
}
