//! Normalisations: batch norm as one layer, others as several layers.

use temper_nn::{Function, NodeId};

use super::arithmetic::{add, chain, multiply};
use super::reduce::mean;
use crate::build::{Linear, shape};
use crate::call::{self, Call, Item};
use crate::constant::Constant;
use crate::error::{Found, Problem};
use crate::importer::Importer;
use crate::value::Value;

pub(crate) fn batch_norm<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    if call.flag("training_mode")? {
        return Err(Problem::Batch(
            "it normalises by the batch's statistics: export in evaluation mode".into(),
        ));
    }
    if call.int("spatial", 1)? == 0 {
        return Err(Problem::of("`spatial` 0 is not supported; expected one mean and variance a channel"));
    }
    if value.batch != 0 {
        return Err(Problem::Batch(format!("the batch is axis {}, expected axis 0", value.batch)));
    }
    let channels = value.dims.first().copied().unwrap_or(1);
    let parts = [1, 2, 3, 4].map(|input| call.constant(input));
    for part in &parts {
        let dims = &part.as_ref().map_err(Clone::clone)?.dims;
        if *dims != [channels] {
            return Err(Problem::of(format!(
                "its parameters are {dims:?}; expected [{channels}], the input's channels"
            )));
        }
    }
    let epsilon = call.float("epsilon", 1e-5)?;
    let own = importer.network.shape(value.node);
    let x: NodeId = match value.map.is_none() && own[0] == channels {
        true => value.node,
        false => importer.laid(value, shape(&value.dims))?,
    };
    let value = Value { node: x, map: None, ..value.clone() };
    let name = importer.layer(call.constant(1)?, call.node);
    let made = importer.network.batch_norm_with(x, &name, true, epsilon);
    let mut value = Value { node: importer.put(made)?, ..value };
    let [mut weight, mut bias] = [1, 2].map(|input| call.constant(input).cloned());
    // Factors and summands in separate nodes, as in Caffe, are merged into the batch norm.
    let mut map = Linear::new(1.0, 0.0);
    let joined = chain(importer, call.index, &value, &mut map)?;
    match (per_channel(&map.scale, channels), per_channel(&map.shift, channels)) {
        (Some(scale), Some(shift)) if !joined.is_empty() => {
            let [own, summand] = [weight?, bias?];
            let (factors, summands) = (own.as_floats()?, summand.as_floats()?);
            let new =
                |f: &dyn Fn(usize) -> f64| Constant::floats(vec![channels], (0..channels).map(f).collect());
            weight = Ok(new(&|c| factors[c] * scale[c]));
            bias = Ok(new(&|c| summands[c] * scale[c] + shift[c]));
        }
        _ if joined.is_empty() => {}
        _ => value = importer.linear_map(&value, &map)?,
    }
    for index in joined {
        importer.absorb(index, Item::Value(value.clone()))?;
    }
    let parts = [weight, bias, call.constant(3).cloned(), call.constant(4).cloned()];
    for (part, constant) in ["weight", "bias", "running_mean", "running_var"].iter().zip(parts) {
        importer.weight(&name, part, constant?.tensor(&[channels], 1.0)?)?;
    }
    Ok(vec![Item::Value(value)])
}

/// One number for each channel, if all numbers of a channel are equal.
fn per_channel(list: &[f64], channels: usize) -> Option<Vec<f64>> {
    if let [one] = list {
        return Some(vec![*one; channels]);
    }
    let each = list.len().checked_div(channels).filter(|each| *each > 0)?;
    let even = list.chunks(each).all(|part| part.iter().all(|number| *number == part[0]));
    even.then(|| list.iter().step_by(each).copied().collect())
}

/// `(x - mean) / sqrt(variance + epsilon)` over axes of the whole value.
fn standardised(importer: &mut Importer<'_>, value: &Value, axes: &[usize], epsilon: f64) -> Found<Value> {
    let value = importer.ordered(value)?;
    let centre = mean(importer, &value, axes)?;
    let minus = importer.linear_map(&centre, &Linear::new(-1.0, 0.0))?;
    let centred = add(importer, &value, &minus)?;
    let square = multiply(importer, &centred, &centred)?;
    let variance = mean(importer, &square, axes)?;
    let variance = importer.linear_map(&variance, &Linear::new(1.0, epsilon))?;
    let factor = importer.function(&variance, Function::Power { exponent: -0.5 })?;
    multiply(importer, &centred, &factor)
}

fn scaled(
    importer: &mut Importer<'_>,
    value: &Value,
    scale: &Constant<'_>,
    shift: Option<&Constant<'_>>,
) -> Found<Value> {
    let scale = importer.spread(scale, value)?;
    let shift = shift.map_or(Ok(vec![0.0]), |shift| importer.spread(shift, value))?;
    importer.linear_map(value, &Linear { scale, shift })
}

pub(crate) fn instance_norm<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    let rank = value.dims.len() + 1;
    if value.batch != 0 || rank < 3 {
        return Err(Problem::of(format!("its input is {:?}; expected [n, c, h, w]", value.whole())));
    }
    let axes: Vec<usize> = (2..rank).collect();
    let result = standardised(importer, value, &axes, call.float("epsilon", 1e-5)?)?;
    let mut dims = vec![1; rank - 1];
    dims[0] = value.dims[0];
    let (scale, shift) = (call.constant(1)?.reshape(dims.clone())?, call.constant(2)?.reshape(dims)?);
    Ok(vec![Item::Value(scaled(importer, &result, &scale, Some(&shift))?)])
}

pub(crate) fn layer_norm<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    let rank = value.dims.len() + 1;
    let first = call::axis(call.int("axis", -1)?, rank)?;
    let axes: Vec<usize> = (first..rank).collect();
    let result = standardised(importer, value, &axes, call.float("epsilon", 1e-5)?)?;
    let result = scaled(importer, &result, call.constant(1)?, call.optional(2)?)?;
    Ok(vec![Item::Value(result)])
}

/// `x / (bias + alpha / size * sum of squares of neighbouring channels)^beta` (Krizhevsky, Sutskever & Hinton, 2012).
pub(crate) fn local_response<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    let x = importer.planes(value)?;
    let value = Value { node: x, map: None, ..value.clone() };
    let size = usize::try_from(call.int("size", 0)?).ok().filter(|size| (1..=1 << 12).contains(size));
    let size = size.ok_or_else(|| Problem::of("`size` must be from 1 to 4096"))?;
    let (alpha, beta) = (call.float("alpha", 1e-4)?, call.float("beta", 0.75)?);
    let square = multiply(importer, &value, &value)?;
    let [c, h, w] = importer.network.shape(x);
    let (before, after) = ((size - 1) / 2, size / 2);
    let summands = c.saturating_mul(h * w).saturating_mul(size.min(c));
    importer.summed(c * h * w, summands)?;
    let neighbours = |channel: usize| channel.saturating_sub(before)..(channel + after + 1).min(c);
    let sum = |i: usize| {
        let (channel, place) = (i / (h * w), i % (h * w));
        neighbours(channel).map(|other| (other * h * w + place, alpha / size as f64)).collect()
    };
    let sums: Vec<Vec<(usize, f64)>> = (0..c * h * w).map(sum).collect();
    let sums = importer.sums(&square, &value.dims, sums)?;
    let below = importer.linear_map(&sums, &Linear::new(1.0, call.float("bias", 1.0)?))?;
    let factor = importer.function(&below, Function::Power { exponent: -beta })?;
    Ok(vec![Item::Value(multiply(importer, &value, &factor)?)])
}
