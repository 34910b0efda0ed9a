//! Choices by a comparison of values that depend on the pixels: softplus as `PyTorch`'s newer exporter writes it.

use std::collections::{HashMap, HashSet};

use super::arithmetic;
use crate::call::{Call, Item};
use crate::error::Found;
use crate::importer::Importer;
use crate::proto::Node;

/// From this input on, softplus equals its input in single precision: the difference is below half
/// a unit of the last place.
const IDENTITY: f64 = 17.0;

/// Comparisons, which are supported between constants and as the choice between softplus and its input.
pub(crate) fn greater<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let chooses = importer.follower(call.index).is_some_and(|(next, _)| importer.softplus.contains(&next));
    match chooses && call.constants().is_none() {
        // The only node that reads the result ignores it.
        true => Ok(vec![Item::Value(call.value(0)?.clone())]),
        false => arithmetic::constants_only(importer, call),
    }
}

/// `Where`, which is supported between constants and as part of softplus.
pub(crate) fn choose<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    match importer.softplus.contains(&call.index) && call.constants().is_none() {
        true => Ok(vec![call.item(2)?.clone()]),
        false => arithmetic::constants_only(importer, call),
    }
}

/// The nodes that are softplus: `y > threshold ? x : softplus(y) / beta`, where `y` is `beta x`. Above the threshold
/// both branches are the same number.
pub(crate) fn softplus(importer: &Importer<'_>) -> Found<HashSet<usize>> {
    let live = || importer.order.nodes.iter().copied();
    let wheres: Vec<usize> =
        live().filter(|index| importer.graph.nodes[*index].operator == "Where").collect();
    let mut found = HashSet::new();
    if wheres.is_empty() {
        return Ok(found);
    }
    let nodes = live().map(|index| &importer.graph.nodes[index]);
    let makers = nodes.filter_map(|node| Some((*node.outputs.first()?, node))).collect();
    let search = Search { importer, makers };
    for index in wheres {
        if search.is_softplus(&importer.graph.nodes[index])? {
            found.insert(index);
        }
    }
    Ok(found)
}

struct Search<'a, 'b> {
    importer: &'b Importer<'a>,
    /// The node that computes each tensor.
    makers: HashMap<&'a str, &'a Node<'a>>,
}

impl Search<'_, '_> {
    fn is_softplus(&self, choice: &Node<'_>) -> Found<bool> {
        let [condition, x, result] = choice.inputs.as_slice() else { return Ok(false) };
        let Some(["Greater", y, threshold]) = self.binary(condition) else { return Ok(false) };
        let read_once = self.importer.order.readers.get(condition).is_some_and(|all| all.len() == 1);
        let far = self.number(threshold)?.is_some_and(|threshold| threshold >= IDENTITY);
        if !read_once || !far {
            return Ok(false);
        }
        if self.softplus_of(result, y) {
            return Ok(*x == y);
        }
        let (Some(["Mul", a, b]), Some(["Div", softplus, beta])) = (self.binary(y), self.binary(result))
        else {
            return Ok(false);
        };
        let (factor, beta) = (if a == *x { self.number(b)? } else { self.number(a)? }, self.number(beta)?);
        let scales = (a == *x || b == *x) && factor == beta && factor.is_some_and(|factor| factor > 0.0);
        Ok(scales && self.softplus_of(softplus, y))
    }

    /// The operator and the two inputs of the node that computes a tensor.
    fn binary(&self, name: &str) -> Option<[&str; 3]> {
        let node = self.makers.get(name)?;
        let [a, b] = node.inputs.as_slice() else { return None };
        Some([node.operator, a, b])
    }

    fn softplus_of(&self, name: &str, y: &str) -> bool {
        self.makers.get(name).is_some_and(|node| node.operator == "Softplus" && node.inputs == [y])
    }

    /// The number of a constant that contains a single number; `None` for any other tensor.
    fn number(&self, name: &str) -> Found<Option<f64>> {
        match self.importer.items.get(name) {
            // A constant with more axes would add axes to the result.
            Some(Item::Constant(constant)) if constant.dims.len() <= 1 && constant.len()? == 1 => {
                constant.scalar()
            }
            _ => Ok(None),
        }
    }
}
