//! Products with constant matrices: linear layers, and 1 x 1 convolutions for values with more axes.

use candle_core::Tensor;
use temper_nn::ConvAxes;
use temper_nn::{Axis, NodeId};

use super::conv::added_bias;
use crate::call::{Call, Item};
use crate::constant::{Constant, count};
use crate::error::{Found, Problem};
use crate::importer::Importer;
use crate::moves;
use crate::value::Value;

/// The weight `[out, in]` of a layer, from a matrix that is stored transposed if `turned`.
fn matrix(weight: &Constant<'_>, [rows, columns]: [usize; 2], turned: bool, factor: f64) -> Found<Tensor> {
    let tensor = weight.tensor(&[rows, columns], factor)?;
    match turned {
        false => Ok(tensor),
        true if weight.is_uniform() => Ok(tensor.t()?),
        true => Ok(tensor.t()?.contiguous()?),
    }
}

/// A bias `[out]` from a constant with one number for each output, or one for all.
fn bias(constant: &Constant<'_>, out: usize, factor: f64) -> Found<Tensor> {
    match constant.dims.last() {
        Some(last) if *last == out && constant.len()? == out => constant.tensor(&[out], factor),
        _ if constant.len()? == 1 && !constant.is_int() => {
            let number = constant.scalar()?.unwrap_or(0.0) * factor;
            Ok(Tensor::from_vec(vec![number as f32; out], out, &candle_core::Device::Cpu)?)
        }
        _ => Err(Problem::of(format!(
            "its summand is {:?}; expected one number for each of {out} outputs",
            constant.dims
        ))),
    }
}

pub(crate) fn gemm<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let (value, weight) = (call.value(0)?, call.constant(1)?);
    if call.flag("transA")? || value.batch != 0 {
        return Err(Problem::Batch("it transposes its first input; expected [n, in]".into()));
    }
    let [fan] = *value.dims else {
        return Err(Problem::of(format!("its input is {:?}; expected [n, in]", value.whole())));
    };
    let turned = !call.flag("transB")?;
    let [rows, columns] = *weight.dims else {
        return Err(Problem::of(format!("its weight is {:?}; expected a matrix", weight.dims)));
    };
    let (out, takes) = if turned { (columns, rows) } else { (rows, columns) };
    if takes != fan {
        return Err(Problem::of(format!("its weight takes {takes} numbers, its input has {fan}")));
    }
    let x = if value.map.is_none() { value.node } else { importer.laid(value, [fan, 1, 1])? };
    let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
    let given = call.optional(2)?.map(|constant| bias(constant, out, beta)).transpose()?;
    let weight_tensor = matrix(weight, [rows, columns], turned, alpha)?;
    dense(importer, call, value, Dense { x, weight, tensor: weight_tensor, bias: given, out })
}

/// A linear layer before it is added.
struct Dense<'b, 'a> {
    x: NodeId,
    weight: &'b Constant<'a>,
    tensor: Tensor,
    bias: Option<Tensor>,
    out: usize,
}

fn dense<'a>(
    importer: &mut Importer<'a>,
    call: &Call<'a>,
    value: &Value,
    layer: Dense<'_, 'a>,
) -> Found<Vec<Item<'a>>> {
    let Dense { x, weight, tensor, bias: given, out } = layer;
    let follower = if given.is_none() { added_bias(importer, call, out, 2, true) } else { None };
    let added = follower.as_ref().map(|(_, constant)| bias(constant, out, 1.0)).transpose()?;
    let bias = given.or(added);
    let name = importer.layer(weight, call.node);
    let made = match bias.is_some() {
        true => importer.network.linear(x, &name, out),
        false => importer.network.linear_without_bias(x, &name, out),
    };
    let node = importer.put(made)?;
    importer.weight(&name, "weight", tensor)?;
    if let Some(bias) = bias {
        importer.weight(&name, "bias", bias)?;
    }
    let result = Item::Value(Value::of(node, &[out], value));
    if let Some((index, _)) = follower {
        importer.absorb(index, result.clone())?;
    }
    Ok(vec![result])
}

pub(crate) fn matmul<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    match (call.item(0)?, call.item(1)?) {
        (Item::Value(value), Item::Constant(weight)) => right(importer, call, value, weight),
        (Item::Constant(weight), Item::Value(value)) => left(importer, call, weight, value),
        (Item::Value(_), Item::Value(_)) => Err(Problem::of(
            "a product of two values that depend on the pixels, as in attention, is not supported; expected a constant \
             matrix",
        )),
        (Item::Constant(_), Item::Constant(_)) => {
            Err(Problem::of("a product of two constants is not supported; export with constants folded"))
        }
    }
}

/// Rows and columns of a constant matrix, which may have leading axes of length 1.
fn sides(weight: &Constant<'_>) -> Found<[usize; 2]> {
    match *weight.dims {
        [ref ones @ .., rows, columns] if ones.iter().all(|dim| *dim == 1) => Ok([rows, columns]),
        _ => Err(Problem::of(format!("its constant is {:?}; expected a matrix", weight.dims))),
    }
}

/// A value times a matrix `[in, out]`, along the value's last axis.
fn right<'a>(
    importer: &mut Importer<'a>,
    call: &Call<'a>,
    value: &Value,
    weight: &Constant<'a>,
) -> Found<Vec<Item<'a>>> {
    let [fan, out] = sides(weight)?;
    if weight.dims.len() > value.whole().len().max(2) {
        let why = format!("its constant {:?} has more axes than its input {:?}", weight.dims, value.whole());
        return Err(Problem::of(why));
    }
    if value.batch == value.dims.len() {
        return Err(Problem::Batch("it sums over the batch".into()));
    }
    if value.dims.last() != Some(&fan) {
        return Err(Problem::of(format!(
            "its constant takes {fan} numbers, its input is {:?}",
            value.whole()
        )));
    }
    let tensor = matrix(weight, [fan, out], true, 1.0)?;
    if value.dims.len() == 1 && value.batch == 0 {
        let x = if value.map.is_none() { value.node } else { importer.laid(value, [fan, 1, 1])? };
        return dense(importer, call, value, Dense { x, weight, tensor, bias: None, out });
    }
    let follower = added_bias(importer, call, out, value.dims.len() + 1, true);
    let name = importer.layer(weight, call.node);
    let result = positions(importer, value, &name, out, follower.is_some())?;
    importer.weight(&name, "weight", tensor.unsqueeze(2)?.unsqueeze(3)?)?;
    if let Some((index, constant)) = follower {
        importer.weight(&name, "bias", bias(&constant, out, 1.0)?)?;
        importer.absorb(index, Item::Value(result.clone()))?;
    }
    Ok(vec![Item::Value(result)])
}

/// A 1 x 1 convolution over a value: the last axis becomes the channels, the others become the positions.
fn positions(importer: &mut Importer<'_>, value: &Value, name: &str, out: usize, bias: bool) -> Found<Value> {
    let (outer, fan) = (&value.dims[..value.dims.len() - 1], value.dims[value.dims.len() - 1]);
    let places = count(outer)?;
    let turned = moves::transposed(&[places, fan], &[1, 0])?;
    let shape = importer.network.shape(value.node);
    let channels_first = value.moved(turned).simplified(importer.numbers(value.node));
    // Values whose node is already channels-first keep the node's shape.
    let wanted = if channels_first.map.is_none() && shape[0] == fan { shape } else { [fan, places, 1] };
    let x = importer.laid(&channels_first, wanted)?;
    let axes = [Axis::even(1, 1, 0); 2];
    let made = importer.network.conv(x, name, ConvAxes { channels: out, axes, bias });
    let node = importer.put(made)?;
    let mut dims = outer.to_vec();
    dims.push(out);
    let back = moves::transposed(&[out, places], &[1, 0])?;
    let result = Value { batch: value.batch, ..Value::of(node, &dims, value) };
    Ok(result.placed(dims, back.index))
}

/// A matrix `[out, in]` times a value, along the value's second-to-last axis.
fn left<'a>(
    importer: &mut Importer<'a>,
    call: &Call<'a>,
    weight: &Constant<'a>,
    value: &Value,
) -> Found<Vec<Item<'a>>> {
    let rank = value.dims.len() + 1;
    let [out, fan] = sides(weight)?;
    if rank < 3 || value.batch >= rank - 2 {
        return Err(Problem::Batch("it sums over the batch, or its input has fewer than three axes".into()));
    }
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(rank - 2, rank - 1);
    let turned = value.transposed(&order)?;
    if turned.dims.last() != Some(&fan) {
        return Err(Problem::of(format!(
            "its constant takes {fan} numbers, its input is {:?}",
            value.whole()
        )));
    }
    let tensor = matrix(weight, [out, fan], false, 1.0)?;
    let name = importer.layer(weight, call.node);
    let result = positions(importer, &turned, &name, out, false)?;
    importer.weight(&name, "weight", tensor.unsqueeze(2)?.unsqueeze(3)?)?;
    Ok(vec![Item::Value(result.transposed(&order)?)])
}
