//! Concatenation and splitting of values.

use temper_nn::NodeId;

use crate::call::{self, Call, Item};
use crate::constant::Constant;
use crate::error::{Found, Problem};
use crate::importer::Importer;
use crate::moves::{HOLE, MOST};
use crate::ops::shape::MOST_PLACES;
use crate::value::Value;

pub(crate) fn concat<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let first = call.item(0)?.clone();
    let axis = call::axis(call.int("axis", 1)?, first.whole().len())?;
    if let Some(constants) = call.constants() {
        return Ok(vec![Item::Constant(constants_joined(importer, &constants, axis)?)]);
    }
    let mut values = vec![];
    for item in call.inputs.iter().flatten() {
        match item {
            Item::Value(value) => values.push(value.clone()),
            Item::Constant(_) => {
                return Err(Problem::of(
                    "it joins constants with values that depend on the pixels (a class token?), which is not supported",
                ));
            }
        }
    }
    if let [one] = values.as_slice() {
        return Ok(vec![Item::Value(one.clone())]);
    }
    Ok(vec![Item::Value(joined(importer, &values, axis)?)])
}

fn constants_joined<'a>(
    importer: &mut Importer<'a>,
    parts: &[&Constant<'a>],
    axis: usize,
) -> Found<Constant<'a>> {
    let mut dims = parts[0].dims.clone();
    dims[axis] = 0;
    for part in parts {
        let same =
            part.dims.len() == dims.len() && (0..dims.len()).all(|i| i == axis || part.dims[i] == dims[i]);
        if !same {
            return Err(Problem::of(format!("{:?} and {:?} do not go together", parts[0].dims, part.dims)));
        }
        dims[axis] = dims[axis].saturating_add(part.dims[axis]);
    }
    importer.fold(crate::constant::count(&dims)?)?;
    let outer = crate::constant::count(&dims[..axis])?;
    if parts.iter().all(|part| part.is_int()) {
        let parts = parts.iter().map(|part| part.as_ints()).collect::<Found<Vec<_>>>()?;
        let numbers = interleaved(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>(), outer);
        return Ok(Constant { dims, ..Constant::ints(numbers) });
    }
    let parts = parts.iter().map(|part| part.as_floats()).collect::<Found<Vec<_>>>()?;
    Ok(Constant::floats(dims, interleaved(&parts.iter().map(|part| &**part).collect::<Vec<_>>(), outer)))
}

/// Interleaves the parts: one block of each part in turn, `outer` times.
fn interleaved<T: Copy>(parts: &[&[T]], outer: usize) -> Vec<T> {
    let blocks = |i: usize| {
        parts.iter().flat_map(move |part| {
            let block = part.len() / outer.max(1);
            part[i * block..(i + 1) * block].iter().copied()
        })
    };
    (0..outer).flat_map(blocks).collect()
}

/// Concatenates the values' nodes along the channels, and joins the values' rearrangements over the result.
fn joined(importer: &mut Importer<'_>, values: &[Value], axis: usize) -> Found<Value> {
    let first = &values[0];
    let along = first.axis(axis)?;
    let mut dims = first.dims.clone();
    dims[along] = 0;
    for value in values {
        let same = value.batch == first.batch
            && value.dims.len() == dims.len()
            && (0..dims.len()).all(|i| i == along || value.dims[i] == dims[i]);
        if !same {
            return Err(Problem::of(format!(
                "{:?} and {:?} do not go together",
                first.whole(),
                value.whole()
            )));
        }
        dims[along] = dims[along].saturating_add(value.dims[along]);
    }
    let numbers = crate::constant::count(&dims)?;
    if numbers > MOST {
        return Err(Problem::of(format!("it has {numbers} numbers; at most {MOST} are supported")));
    }
    let (nodes, values) = side_by_side(importer, values)?;
    let made = importer.network.concat(&nodes);
    let node = importer.put(made)?;
    let mut starts = vec![0usize];
    for node in &nodes {
        starts.push(starts[starts.len() - 1] + importer.numbers(*node));
    }
    let outer: usize = dims[..along].iter().product();
    let mut index = Vec::with_capacity(numbers);
    for block in 0..outer {
        for (value, start) in values.iter().zip(&starts) {
            let length = value.len() / outer;
            index.extend((block * length..(block + 1) * length).map(|i| match &value.map {
                None => (start + i) as u32,
                Some(map) if map[i] == HOLE => HOLE,
                Some(map) => map[i] + *start as u32,
            }));
        }
    }
    Ok(Value { node, map: Some(index.into()), dims, ..first.clone() })
}

/// Nodes of equal height and width: the values' own nodes, or else rearranged ones.
fn side_by_side(importer: &mut Importer<'_>, values: &[Value]) -> Found<(Vec<NodeId>, Vec<Value>)> {
    let [_, h, w] = importer.network.shape(values[0].node);
    if values.iter().all(|value| importer.network.shape(value.node)[1..] == [h, w]) {
        return Ok((values.iter().map(|value| value.node).collect(), values.to_vec()));
    }
    let mut nodes = vec![];
    for value in values {
        nodes.push(importer.laid(value, [value.len(), 1, 1])?);
    }
    let plain = |(value, node): (&Value, &NodeId)| Value { node: *node, map: None, ..value.clone() };
    let values = values.iter().zip(&nodes).map(plain).collect();
    Ok((nodes, values))
}

pub(crate) fn split<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?;
    let whole = item.whole();
    let axis = call::axis(call.int("axis", 0)?, whole.len())?;
    let outputs = call.node.outputs.len().max(1);
    if whole[axis] > MOST_PLACES {
        return Err(Problem::of(format!(
            "it splits {} places; at most {MOST_PLACES} are supported",
            whole[axis]
        )));
    }
    let lengths = if let Some(lengths) = call.ints_of("split", 1)? {
        lengths
    } else {
        let each = whole[axis].div_ceil(outputs);
        let mut left = whole[axis];
        let lengths = (0..outputs).map(|_| {
            let length = each.min(left);
            left -= length;
            length as i64
        });
        lengths.collect()
    };
    let mut start = 0usize;
    let mut parts = vec![];
    for length in lengths {
        let length =
            usize::try_from(length).ok().filter(|length| *length > 0 && start + length <= whole[axis]);
        let length =
            length.ok_or_else(|| Problem::of(format!("its parts do not divide {} places", whole[axis])))?;
        let places: Vec<u32> = (start..start + length).map(|place| place as u32).collect();
        importer.fold(places.len())?;
        parts.push(item.along(axis, &places)?);
        start += length;
    }
    if start != whole[axis] {
        return Err(Problem::of(format!("its parts are {start} places of {}", whole[axis])));
    }
    Ok(parts)
}
