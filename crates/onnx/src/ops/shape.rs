//! Operators that change only the order and the shape of numbers, and operators on shapes.

use std::collections::HashSet;

use crate::build::Linear;
use crate::call::{self, Call, Item};
use crate::constant::{Constant, Data, count};
use crate::decode;
use crate::error::{Found, Problem};
use crate::importer::Importer;
use crate::moves::{self, HOLE};
use crate::value::Value;

/// Maximum number of axes of a value.
const MOST_AXES: usize = 16;
/// Maximum number of places of an axis that are listed.
pub(crate) const MOST_PLACES: usize = moves::MOST;

pub(crate) fn constant<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    if let Some(tensor) = call.tensor("value") {
        let name = call.node.outputs.first().copied().filter(|name| !name.is_empty());
        let constant = Constant::of_file(tensor, importer.beside());
        return Ok(vec![Item::Constant(Constant { origin: name, ..constant })]);
    }
    let constant = if call.has("value_float") {
        Constant::floats(vec![], vec![call.float("value_float", 0.0)?])
    } else if let Some(floats) = call.floats("value_floats") {
        Constant::floats(vec![floats.len()], floats)
    } else if call.has("value_int") {
        Constant { dims: vec![], ..Constant::ints(vec![call.int("value_int", 0)?]) }
    } else if let Some(ints) = call.ints("value_ints") {
        Constant::ints(ints.to_vec())
    } else {
        return Err(Problem::of("a constant that is no tensor of numbers"));
    };
    Ok(vec![Item::Constant(constant)])
}

/// Converts the numbers of a constant to lengths of axes.
fn lengths(numbers: &[i64]) -> Found<Vec<usize>> {
    let lengths: Option<Vec<usize>> = numbers.iter().map(|number| usize::try_from(*number).ok()).collect();
    let lengths = lengths.filter(|lengths| lengths.len() <= 16);
    lengths
        .ok_or_else(|| Problem::of(format!("{:?} are no lengths of axes", &numbers[..numbers.len().min(20)])))
}

pub(crate) fn constant_of_shape<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let dims = lengths(&call.constant(0)?.as_ints()?)?;
    count(&dims)?;
    let data = match call.tensor("value") {
        None => Data::AllFloats(0.0),
        Some(tensor) => {
            let value = Constant::of_file(tensor, importer.beside());
            let number =
                value.scalar()?.ok_or_else(|| Problem::Damaged("its value is no single number".into()))?;
            if value.is_int() { Data::AllInts(number as i64) } else { Data::AllFloats(number) }
        }
    };
    let origin = call.node.outputs.first().copied().filter(|name| !name.is_empty());
    Ok(vec![Item::Constant(Constant { dims, data, origin })])
}

pub(crate) fn range<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let number = |input: usize| -> Found<(f64, bool)> {
        let constant = call.constant(input)?;
        Ok((constant.scalar()?.unwrap_or(0.0), constant.is_int()))
    };
    let ((start, whole), (end, _), (step, _)) = (number(0)?, number(1)?, number(2)?);
    let length = ((end - start) / step).ceil().max(0.0);
    if length.is_nan() || length > f64::from(1 << 22) {
        return Err(Problem::of("a range that has no end, or more than 2^22 numbers"));
    }
    importer.fold(length as usize)?;
    let numbers = (0..length as usize).map(|i| start + i as f64 * step);
    let constant = match whole {
        true => Constant::ints(numbers.map(|number| number as i64).collect()),
        false => Constant::floats(vec![length as usize], numbers.collect()),
    };
    Ok(vec![Item::Constant(constant)])
}

pub(crate) fn shape<'a>(_: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let whole = call.item(0)?.whole();
    if call.node.operator == "Size" {
        let numbers = count(&whole)? as i64;
        return Ok(vec![Item::Constant(Constant { dims: vec![], ..Constant::ints(vec![numbers]) })]);
    }
    let rank = whole.len() as i64;
    let place = |at: i64| if at < 0 { at.saturating_add(rank) } else { at }.clamp(0, rank) as usize;
    let (start, end) = (place(call.int("start", 0)?), place(call.int("end", rank)?));
    let dims = whole.get(start..end).unwrap_or_default().iter().map(|dim| *dim as i64).collect();
    Ok(vec![Item::Constant(Constant::ints(dims))])
}

/// `Identity`, `Dropout` in evaluation mode, and casts among floats.
pub(crate) fn identity<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?.clone();
    match call.node.operator {
        "Dropout" => {
            let trains = call.optional(2)?.map(Constant::scalar).transpose()?.flatten();
            if trains.is_some_and(|trains| trains != 0.0) {
                return Err(Problem::of("it drops at random: export in evaluation mode"));
            }
            let told = "dropout was left out: it does nothing in evaluation mode, and is missing in training";
            if !importer.told.iter().any(|sentence| sentence == told) {
                importer.told.push(told.into());
            }
        }
        "Cast" => return Ok(vec![cast(importer, item, decode::is_float(call.int("to", 1)? as u64))?]),
        "CastLike" => {
            let float = match call.item(1)? {
                Item::Value(_) => true,
                Item::Constant(constant) => !constant.is_int(),
            };
            return Ok(vec![cast(importer, item, float)?]);
        }
        _ => {}
    }
    Ok(vec![item])
}

fn cast<'a>(importer: &mut Importer<'a>, item: Item<'a>, float: bool) -> Found<Item<'a>> {
    let Item::Constant(constant) = &item else {
        return match float {
            true => Ok(item),
            false => Err(Problem::Integers("it makes integers of values that depend on the pixels".into())),
        };
    };
    if constant.is_int() != float {
        return Ok(item);
    }
    importer.fold(if constant.is_uniform() { 1 } else { constant.len()? })?;
    let data = match (&constant.data, float) {
        (Data::AllInts(number), true) => Data::AllFloats(*number as f64),
        (Data::AllFloats(number), false) => Data::AllInts(*number as i64),
        (_, true) => Data::Floats(constant.as_floats()?.into()),
        (_, false) => Data::Ints(constant.as_floats()?.iter().map(|number| *number as i64).collect()),
    };
    Ok(Item::Constant(Constant { data, ..constant.clone() }))
}

pub(crate) fn reshape<'a>(_: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?;
    let whole = item.whole();
    let wanted = call.constant(1)?.as_ints()?;
    if wanted.len() > MOST_AXES {
        return Err(Problem::of(format!("{} axes; at most {MOST_AXES} are supported", wanted.len())));
    }
    let copies = !call.flag("allowzero")?;
    let mut dims = vec![];
    for (axis, length) in wanted.iter().enumerate() {
        dims.push(match *length {
            0 if copies => {
                *whole.get(axis).ok_or_else(|| Problem::of(format!("{wanted:?} copies a missing axis")))?
            }
            -1 => 1,
            length => lengths(&[length])?[0],
        });
    }
    if let [free, more @ ..] =
        &*wanted.iter().enumerate().filter(|(_, length)| **length == -1).collect::<Vec<_>>()
    {
        let (all, others) = (count(&whole)?, count(&dims)?);
        if !more.is_empty() || others == 0 || !all.is_multiple_of(others) {
            return Err(Problem::of(format!("{whole:?} cannot become {wanted:?}")));
        }
        dims[free.0] = all / others;
    }
    Ok(vec![item.reshaped(&lengths(&dims.iter().map(|dim| *dim as i64).collect::<Vec<_>>())?)?])
}

pub(crate) fn flatten<'a>(_: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?;
    let whole = item.whole();
    let given = call.int("axis", 1)?;
    let axis = if given == whole.len() as i64 { whole.len() } else { call::axis(given, whole.len())? };
    Ok(vec![item.reshaped(&[count(&whole[..axis])?, count(&whole[axis..])?])?])
}

pub(crate) fn squeeze<'a>(_: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?;
    let whole = item.whole();
    let axes: HashSet<usize> = if let Some(axes) = call.ints_of("axes", 1)? {
        axes.iter().map(|axis| call::axis(*axis, whole.len())).collect::<Found<_>>()?
    } else {
        // The batch axis stays, whatever its length is.
        let batch = if let Item::Value(value) = item { Some(value.batch) } else { None };
        (0..whole.len()).filter(|axis| whole[*axis] == 1 && Some(*axis) != batch).collect()
    };
    if let Some(axis) = axes.iter().find(|axis| whole[**axis] != 1) {
        return Err(Problem::of(format!("axis {axis} of {whole:?} has another length than 1")));
    }
    if let Item::Value(value) = item {
        // Among several axes of length 1, the batch is identified by its place.
        if axes.contains(&value.batch) {
            return Err(Problem::Batch(format!("it takes axis {} away, which is the batch", value.batch)));
        }
        let before = axes.iter().filter(|axis| **axis < value.batch).count();
        let kept = (0..whole.len()).filter(|axis| !axes.contains(axis) && *axis != value.batch);
        let dims = kept.map(|axis| whole[axis]).collect();
        return Ok(vec![Item::Value(Value { dims, batch: value.batch - before, ..value.clone() })]);
    }
    let kept: Vec<usize> =
        (0..whole.len()).filter(|axis| !axes.contains(axis)).map(|axis| whole[axis]).collect();
    Ok(vec![item.reshaped(&kept)?])
}

pub(crate) fn unsqueeze<'a>(_: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?;
    let mut whole = item.whole();
    let axes = call.ints_of("axes", 1)?.ok_or_else(|| Problem::Damaged("it has no axes".into()))?;
    if axes.len() > MOST_AXES {
        return Err(Problem::of(format!("{} new axes; at most {MOST_AXES} are supported", axes.len())));
    }
    let rank = whole.len() + axes.len();
    let mut axes: Vec<usize> = axes.iter().map(|axis| call::axis(*axis, rank)).collect::<Found<_>>()?;
    axes.sort_unstable();
    if axes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Problem::Damaged(format!("its axes {axes:?} name one twice")));
    }
    let mut batch = if let Item::Value(value) = item { value.batch } else { 0 };
    for axis in axes {
        if axis > whole.len() {
            return Err(Problem::of(format!("a new axis {axis} of {rank}")));
        }
        whole.insert(axis, 1);
        batch += usize::from(axis <= batch);
    }
    if let Item::Value(value) = item {
        whole.remove(batch);
        return Ok(vec![Item::Value(Value { dims: whole, batch, ..value.clone() })]);
    }
    Ok(vec![item.reshaped(&whole)?])
}

pub(crate) fn transpose<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?;
    let rank = item.whole().len();
    let order: Vec<usize> = match call.ints("perm") {
        None => (0..rank).rev().collect(),
        Some(order) => order.iter().map(|axis| call::axis(*axis, rank)).collect::<Found<_>>()?,
    };
    if order.len() != rank || order.iter().collect::<HashSet<_>>().len() != rank {
        return Err(Problem::Damaged(format!("`perm` {order:?} is no order of {rank} axes")));
    }
    spent(importer, item)?;
    Ok(vec![item.transposed(&order)?])
}

/// Counts the rearrangement of a constant.
fn spent<'a>(importer: &mut Importer<'a>, item: &Item<'a>) -> Found<()> {
    match item {
        Item::Constant(constant) if !constant.is_uniform() => importer.fold(constant.len()?),
        _ => Ok(()),
    }
}

pub(crate) fn slice<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let mut item = call.item(0)?.clone();
    spent(importer, &item)?;
    let missing = || Problem::Damaged("it has no starts and ends".into());
    let starts = call.ints_of("starts", 1)?.ok_or_else(missing)?;
    let ends = call.ints_of("ends", 2)?.ok_or_else(missing)?;
    let axes = call.ints_of("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps =
        call.optional(4)?.map(Constant::as_ints).transpose()?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || starts.len() > 16 {
        return Err(Problem::Damaged("its starts, ends, axes and steps have different lengths".into()));
    }
    for i in 0..starts.len() {
        let whole = item.whole();
        let axis = call::axis(axes[i], whole.len())?;
        let length = whole[axis] as i64;
        let place = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
        let step = steps[i];
        let (first, end) = match step > 0 {
            true => (place(starts[i]).clamp(0, length), place(ends[i]).clamp(0, length)),
            false => (place(starts[i]).min(length - 1).max(0), place(ends[i]).min(length - 1).max(-1)),
        };
        if whole[axis] > MOST_PLACES {
            return Err(Problem::of(format!("it cuts {length} places; at most {MOST_PLACES} are supported")));
        }
        if step == 0 {
            return Err(Problem::Damaged("a step of 0".into()));
        }
        let mut places = vec![];
        let mut at = first;
        while if step > 0 { at < end } else { at > end } {
            places.push(at as u32);
            at = at.saturating_add(step);
        }
        importer.fold(places.len())?;
        item = item.along(axis, &places)?;
    }
    Ok(vec![item])
}

pub(crate) fn gather<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?;
    spent(importer, item)?;
    let whole = item.whole();
    let axis = call::axis(call.int("axis", 0)?, whole.len())?;
    let indices = call.constant(1)?;
    let numbers = indices.as_ints()?;
    importer.fold(numbers.len())?;
    let places: Vec<u32> =
        numbers.iter().map(|i| call::axis(*i, whole[axis]).map(|i| i as u32)).collect::<Found<_>>()?;
    let picked = item.along(axis, &places)?;
    let (before, after) = (&whole[..axis], &whole[axis + 1..]);
    if let (Item::Value(value), []) = (&picked, &*indices.dims) {
        let own = value.axis(axis)?;
        let mut dims = value.dims.clone();
        dims.remove(own);
        let batch = value.batch - usize::from(axis < value.batch);
        return Ok(vec![Item::Value(Value { dims, batch, ..value.clone() })]);
    }
    Ok(vec![picked.reshaped(&[before, &indices.dims, after].concat())?])
}

pub(crate) fn expand<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?;
    let wanted = lengths(&call.constant(1)?.as_ints()?)?;
    let whole = moves::together(&item.whole(), &wanted)?;
    if let Item::Constant(constant) = item {
        importer.fold(if constant.is_uniform() { 1 } else { count(&whole)? })?;
    }
    Ok(vec![item.broadcast(&whole)?])
}

pub(crate) fn tile<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let mut item = call.item(0)?.clone();
    let repeats = lengths(&call.constant(1)?.as_ints()?)?;
    for (axis, repeat) in repeats.into_iter().enumerate().filter(|(_, repeat)| *repeat != 1) {
        let whole = item.whole();
        let length = *whole.get(axis).ok_or_else(|| Problem::of("it repeats an axis that is not there"))?;
        let total = length.checked_mul(repeat).filter(|total| *total <= 1 << 22);
        let total = total.ok_or_else(|| Problem::of("it repeats an axis to more than 2^22 places"))?;
        if matches!(item, Item::Constant(_)) {
            importer.fold(count(&whole)?.saturating_mul(repeat))?;
        }
        let places: Vec<u32> = (0..total).map(|place| (place % length) as u32).collect();
        item = item.along(axis, &places)?;
    }
    Ok(vec![item])
}

/// For each place of a padded axis, its place in the axis of this length, or a hole; negative padding crops.
fn padded(length: usize, [before, after]: [i64; 2], mode: &str) -> Found<Vec<u32>> {
    let most = 1 << 22;
    if !(-most..=most).contains(&before) || !(-most..=most).contains(&after) {
        return Err(Problem::of(format!("padding of {before} and {after}")));
    }
    if length > MOST_PLACES {
        return Err(Problem::of(format!("it pads {length} places; at most {MOST_PLACES} are supported")));
    }
    if length == 0 && mode != "constant" {
        return Err(Problem::of(format!("it pads an axis of no places by mode `{mode}`")));
    }
    let length = length as i64;
    let place = |at: i64| match mode {
        _ if (0..length).contains(&at) => Ok(at as u32),
        "constant" => Ok(HOLE),
        "edge" => Ok(at.clamp(0, length - 1) as u32),
        "wrap" => Ok(at.rem_euclid(length) as u32),
        "reflect" => {
            let period = (2 * (length - 1)).max(1);
            let at = at.rem_euclid(period);
            Ok(at.min(period - at).min(length - 1) as u32)
        }
        other => Err(Problem::of(format!(
            "mode `{other}` is not supported; expected constant, edge, reflect or wrap"
        ))),
    };
    (-before..length + after).map(place).collect()
}

pub(crate) fn pad<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let mut item = call.item(0)?.clone();
    let rank = item.whole().len();
    let pads = call.ints_of("pads", 1)?.ok_or_else(|| Problem::Damaged("it has no pads".into()))?;
    let mode = call.text("mode", "constant")?;
    let number = call.number_of("value", 2)?.unwrap_or(0.0);
    let axes: Vec<usize> = match call.optional(3)? {
        Some(axes) => axes.as_ints()?.iter().map(|axis| call::axis(*axis, rank)).collect::<Found<_>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(Problem::Damaged(format!("{} numbers of padding for {} axes", pads.len(), axes.len())));
    }
    let fills = mode == "constant" && number != 0.0;
    if let (Item::Value(value), true) = (&item, fills) {
        item = Item::Value(importer.ordered(value)?);
    }
    for (i, axis) in axes.iter().enumerate() {
        let sides = [pads[i], pads[i + axes.len()]];
        if sides != [0, 0] {
            item = item.along(*axis, &padded(item.whole()[*axis], sides, mode)?)?;
        }
    }
    let Item::Value(value) = &item else {
        return match fills {
            true => Err(Problem::of("padding of constants with another number than 0 is not supported")),
            false => Ok(vec![item]),
        };
    };
    match (fills, &value.map) {
        (true, Some(map)) if map.contains(&HOLE) => {
            let shift = map.iter().map(|place| if *place == HOLE { number } else { 0.0 }).collect();
            let value = importer.linear_map(value, &Linear { scale: vec![1.0], shift })?;
            Ok(vec![Item::Value(value)])
        }
        _ => Ok(vec![item]),
    }
}
