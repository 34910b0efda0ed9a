//! Convolutions.

use temper_nn::{Axis, ConvAxes};

use super::window;
use crate::call::{Call, Item};
use crate::constant::Constant;
use crate::error::{Found, Problem};
use crate::importer::Importer;
use crate::moves::HOLE;
use crate::value::Value;

/// The number of zeros around rows and columns (top, bottom, left, right), if the value's rearrangement only adds
/// such zeros to a node `[c, h, w]`.
fn padding(value: &Value, [c, h, w]: [usize; 3]) -> Option<[usize; 4]> {
    let [channels, rows, columns] = *value.dims else { return None };
    let map = value.map.as_ref()?;
    if channels != c || rows < h || columns < w || (rows, columns) == (h, w) {
        return None;
    }
    let first = map.iter().position(|place| *place == 0)?;
    let (top, left) = (first / columns, first % columns);
    if top + h > rows || left + w > columns {
        return None;
    }
    let fits = map.iter().enumerate().all(|(i, place)| {
        let (channel, y, x) = (i / (rows * columns), i / columns % rows, i % columns);
        let inside = (top..top + h).contains(&y) && (left..left + w).contains(&x);
        let want = if inside { (channel * h * w + (y - top) * w + x - left) as u32 } else { HOLE };
        *place == want
    });
    fits.then(|| [top, rows - h - top, left, columns - w - left])
}

/// A bias that the only reader of a node adds: the reader's index, and its constant of one number for each of
/// `channels`. The channels are the last of `rank` axes if `last`, and otherwise the second.
pub(crate) fn added_bias<'a>(
    importer: &Importer<'a>,
    call: &Call<'a>,
    channels: usize,
    rank: usize,
    last: bool,
) -> Option<(usize, Constant<'a>)> {
    let (index, node) = importer.follower(call.index)?;
    if node.operator != "Add" {
        return None;
    }
    let (constant, _) = importer.other_constant(node, call.node.outputs.first()?)?;
    let after = if last { 1 } else { rank - 1 };
    let at = constant.dims.len().checked_sub(after)?;
    let others = constant.dims.iter().enumerate().all(|(axis, dim)| axis == at || *dim == 1);
    (others && constant.dims[at] == channels && constant.dims.len() <= rank && !constant.is_int())
        .then_some((index, constant))
}

pub(crate) fn conv<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    let weight = call.constant(1)?;
    let [out, fan, kh, kw] = *weight.dims else {
        window::planar(weight.dims.len().saturating_sub(2), "convolution")?;
        return Err(Problem::Damaged("its weight has no shape".into()));
    };
    if let Some(shape) = call.ints("kernel_shape").filter(|shape| **shape != [kh as i64, kw as i64]) {
        return Err(Problem::Damaged(format!(
            "its kernel is {kh} x {kw}, and `kernel_shape` says {shape:?}"
        )));
    }
    let groups = usize::try_from(call.int("group", 1)?).ok().filter(|groups| *groups > 0);
    let groups = groups.ok_or_else(|| Problem::of("`group` must be at least 1"))?;
    let [channels, h, w] = *value.dims else { return importer.planes(value).map(|_| vec![]) };
    if fan.checked_mul(groups) != Some(channels) {
        let want = fan.saturating_mul(groups);
        return Err(Problem::of(format!(
            "its weight takes {want} channels in {groups} groups, its input has {channels}"
        )));
    }
    let mut axes = window::axes(call, [h, w], [kh, kw])?;
    let own = importer.network.shape(value.node);
    let x = match padding(value, own).filter(|_| value.batch == 0) {
        Some([top, bottom, left, right]) => {
            let more = |axis: Axis, before, after| Axis {
                before: axis.before + before,
                after: axis.after + after,
                ..axis
            };
            axes = [more(axes[0], top, bottom), more(axes[1], left, right)];
            value.node
        }
        None => importer.planes(value)?,
    };
    let follower = match call.optional(2)? {
        Some(_) => None,
        None => added_bias(importer, call, out, 4, false),
    };
    let bias = call.optional(2)?.cloned().or_else(|| follower.as_ref().map(|(_, constant)| constant.clone()));
    let name = importer.layer(weight, call.node);
    let options = ConvAxes { channels: out, axes, bias: bias.is_some() };
    let made = importer.network.grouped_conv(x, &name, options, groups);
    let node = importer.put(made)?;
    importer.weight(&name, "weight", weight.tensor(&weight.dims, 1.0)?)?;
    if let Some(bias) = bias {
        importer.weight(&name, "bias", bias.tensor(&[out], 1.0)?)?;
    }
    let result = Item::Value(Value::of(node, &importer.network.shape(node), value));
    if let Some((index, _)) = follower {
        importer.absorb(index, result.clone())?;
    }
    Ok(vec![result])
}
