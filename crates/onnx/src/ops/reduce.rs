//! Means, sums and maxima over axes.

use temper_nn::Function;

use super::arithmetic::multiply;
use super::pool::largest;
use crate::build::Linear;
use crate::call::{self, Call, Item};
use crate::error::{Found, Problem};
use crate::importer::{COST, Importer};
use crate::moves::{self, HOLE};
use crate::value::Value;

/// Maximum number of positions along one axis over which the engine takes a maximum at once.
const LONGEST: usize = 225;

pub(crate) fn reduce<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?.clone();
    let rank = value.dims.len() + 1;
    let given = call.ints_of("axes", 1)?.unwrap_or_default();
    if given.is_empty() && call.flag("noop_with_empty_axes")? {
        return Ok(vec![Item::Value(value)]);
    }
    let axes: Vec<usize> = match given.is_empty() {
        true => (0..rank).collect(),
        false => given.iter().map(|axis| call::axis(*axis, rank)).collect::<Found<_>>()?,
    };
    let operator = call.node.operator;
    let reduced = match operator {
        "ReduceMean" => mean(importer, &value, &axes)?,
        "ReduceSum" => sum(importer, &value, &axes)?,
        "ReduceMax" => maximum(importer, &value, &axes)?,
        "ReduceMin" => {
            let minus = importer.linear_map(&value, &Linear::new(-1.0, 0.0))?;
            let result = maximum(importer, &minus, &axes)?;
            importer.linear_map(&result, &Linear::new(-1.0, 0.0))?
        }
        _ => {
            let square = multiply(importer, &value, &value)?;
            let total = sum(importer, &square, &axes)?;
            if operator == "ReduceL2" { importer.function(&total, Function::Sqrt)? } else { total }
        }
    };
    if call.int("keepdims", 1)? != 0 {
        return Ok(vec![Item::Value(reduced)]);
    }
    let whole = reduced.whole();
    let kept: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| whole[axis]).collect();
    Ok(vec![Item::Value(reduced.reshaped(&kept)?)])
}

/// The shape with 1 in place of the reduced axes, and for each number the index of the result that it contributes to.
fn owners(value: &Value, axes: &[usize]) -> Found<(Vec<usize>, Vec<u32>)> {
    let mut dims = value.dims.clone();
    for axis in axes {
        dims[value.axis(*axis)?] = 1;
    }
    let owners = moves::broadcast(&dims, &value.dims)?.index;
    Ok((dims, owners))
}

/// The channel of the node that each number of the result reduces, if each reduces one whole channel.
fn channels(importer: &Importer<'_>, value: &Value, owners: &[u32], outputs: usize) -> Option<Vec<u32>> {
    let [c, h, w] = importer.network.shape(value.node);
    if outputs != c || value.len() != c * h * w || h * w == 1 {
        return None;
    }
    let mut of = vec![HOLE; c];
    let mut seen = vec![false; value.len()];
    for (i, owner) in owners.iter().enumerate() {
        let place = value.map.as_ref().map_or(i as u32, |map| map[i]);
        if place == HOLE || std::mem::replace(&mut seen[place as usize], true) {
            return None;
        }
        let channel = (place as usize / (h * w)) as u32;
        let known = &mut of[*owner as usize];
        if *known != HOLE && *known != channel {
            return None;
        }
        *known = channel;
    }
    Some(of)
}

/// The mean over axes of the whole value, which are kept with length 1.
pub(crate) fn mean(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Found<Value> {
    importer.work(value.len())?;
    let (dims, owners) = owners(value, axes)?;
    let outputs: usize = dims.iter().product();
    if let Some(of) = channels(importer, value, &owners, outputs) {
        let node = importer.network.global_average_pool(value.node);
        let node = importer.put(Ok(node))?;
        return Ok(Value { node, ..value.placed(dims, of) }.simplified(outputs));
    }
    weighted(importer, value, &dims, &owners, (outputs as f64) / (value.len() as f64))
}

/// The sum over axes of the whole value, which are kept with length 1.
fn sum(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Found<Value> {
    let (dims, owners) = owners(value, axes)?;
    weighted(importer, value, &dims, &owners, 1.0)
}

fn weighted(
    importer: &mut Importer<'_>,
    value: &Value,
    dims: &[usize],
    owners: &[u32],
    weight: f64,
) -> Found<Value> {
    if dims == value.dims {
        return Ok(value.clone());
    }
    let outputs = dims.iter().product();
    importer.summed(outputs, owners.len())?;
    let mut sums = vec![vec![]; outputs];
    for (i, owner) in owners.iter().enumerate() {
        sums[*owner as usize].push((i, weight));
    }
    importer.sums(value, dims, sums)
}

fn maximum(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Found<Value> {
    let (dims, owners) = owners(value, axes)?;
    let outputs: usize = dims.iter().product();
    if let Some(of) = channels(importer, value, &owners, outputs) {
        let node = largest(importer, value.node)?;
        return Ok(Value { node, ..value.placed(dims, of) }.simplified(outputs));
    }
    let each = value.len() / outputs;
    // The numbers are sorted.
    importer.work(value.len().saturating_mul(4 * COST))?;
    let rows = (1..=each.min(LONGEST)).rev().find(|rows| each.is_multiple_of(*rows)).unwrap_or(1);
    if each / rows > LONGEST {
        return Err(Problem::of(format!("a maximum of {each} numbers is not supported here")));
    }
    let mut order: Vec<u32> = (0..owners.len() as u32).collect();
    order.sort_by_key(|i| owners[*i as usize]);
    let sorted = value.moved(moves::Move { dims: vec![outputs, rows, each / rows], index: order });
    let x = importer.laid(&sorted, [outputs, rows, each / rows])?;
    let node = largest(importer, x)?;
    Ok(Value { node, map: None, dims, ..value.clone() })
}
