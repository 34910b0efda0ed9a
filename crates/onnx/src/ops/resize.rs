//! Resizing: nearest neighbours by rearranging, linear interpolation by weighted sums.

use crate::call::{self, Call, Item};
use crate::constant::{Constant, count};
use crate::error::{Found, Problem};
use crate::importer::Importer;
use crate::value::Value;

/// Maximum length of an axis of a result.
const LONGEST: usize = 1 << 14;

/// How an axis is resized.
#[derive(Debug, Clone, Copy)]
struct Scaling<'a> {
    input: usize,
    output: usize,
    scale: f64,
    coordinates: &'a str,
}

impl Scaling<'_> {
    /// The coordinate of an output in the input.
    fn place(&self, output: usize) -> Found<f64> {
        let (x, input, length) = (output as f64, self.input as f64, self.output as f64);
        Ok(match self.coordinates {
            "half_pixel" => (x + 0.5) / self.scale - 0.5,
            "pytorch_half_pixel" if self.output > 1 => (x + 0.5) / self.scale - 0.5,
            "align_corners" if self.output > 1 => x * (input - 1.0) / (length - 1.0),
            "pytorch_half_pixel" | "align_corners" => 0.0,
            "asymmetric" => x / self.scale,
            "tf_half_pixel_for_nn" => (x + 0.5) / self.scale,
            "half_pixel_symmetric" => {
                let offset = input / 2.0 * (1.0 - length / (self.scale * input));
                offset + (x + 0.5) / self.scale - 0.5
            }
            other => {
                return Err(Problem::of(format!(
                    "`coordinate_transformation_mode` {other} is not supported"
                )));
            }
        })
    }
}

/// How each axis of the whole value is resized.
fn scalings<'a>(call: &Call<'a>, whole: &[usize]) -> Found<Vec<Scaling<'a>>> {
    let old = call.node.operator == "Upsample" || call.opset < 11;
    let coordinates =
        if old { "asymmetric" } else { call.text("coordinate_transformation_mode", "half_pixel")? };
    let given = call.floats("scales");
    let (scales, sizes): (Option<&Constant<'_>>, _) =
        if old { (call.optional(1)?, None) } else { (call.optional(2)?, call.optional(3)?) };
    let scales = match (given, scales) {
        (Some(given), _) => Some(given),
        (None, Some(scales)) if scales.len()? > 0 => Some(scales.as_floats()?.into_owned()),
        _ => None,
    };
    let sizes = sizes.map(Constant::as_ints).transpose()?;
    let axes: Vec<usize> = match call.ints("axes") {
        Some(axes) => axes.iter().map(|axis| call::axis(*axis, whole.len())).collect::<Found<_>>()?,
        None => (0..whole.len()).collect(),
    };
    let none = |length: &usize| Scaling { input: *length, output: *length, scale: 1.0, coordinates };
    let mut all: Vec<Scaling<'a>> = whole.iter().map(none).collect();
    let numbers = scales.as_ref().map(Vec::len).or(sizes.as_ref().map(Vec::len));
    if numbers != Some(axes.len()) {
        return Err(Problem::of(format!("it has no scales or sizes for {} axes", axes.len())));
    }
    for (i, axis) in axes.into_iter().enumerate() {
        let input = whole[axis];
        let (output, scale) = match (&scales, &sizes) {
            (Some(scales), _) => ((input as f64 * scales[i]).floor(), scales[i]),
            (None, Some(sizes)) => (sizes[i] as f64, sizes[i] as f64 / input as f64),
            (None, None) => (0.0, 0.0),
        };
        if !(output >= 1.0 && output <= LONGEST as f64 && scale > 0.0) {
            return Err(Problem::of(format!("axis {axis} of {input} would become {output} long")));
        }
        all[axis] = Scaling { input, output: output as usize, scale, coordinates };
    }
    Ok(all)
}

pub(crate) fn resize<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    if call.text("keep_aspect_ratio_policy", "stretch")? != "stretch" || call.flag("antialias")? {
        return Err(Problem::of("`keep_aspect_ratio_policy` and `antialias` are not supported"));
    }
    let scalings = scalings(call, &value.whole())?;
    if scalings[value.batch].output != value.samples {
        return Err(Problem::Batch("it resizes the batch".into()));
    }
    let result = match call.text("mode", "nearest")? {
        "nearest" => nearest(call, value, &scalings)?,
        "linear" | "bilinear" => linear(importer, value, &scalings)?,
        mode => {
            return Err(Problem::of(format!("mode `{mode}` is not supported; expected nearest or linear")));
        }
    };
    Ok(vec![Item::Value(result)])
}

fn nearest(call: &Call<'_>, value: &Value, scalings: &[Scaling<'_>]) -> Found<Value> {
    let old = call.node.operator == "Upsample" || call.opset < 11;
    let rounding = if old { "floor" } else { call.text("nearest_mode", "round_prefer_floor")? };
    let mut value = value.clone();
    for (axis, scaling) in scalings.iter().enumerate() {
        if axis == value.batch || (scaling.output == scaling.input && scaling.scale == 1.0) {
            continue;
        }
        let mut places = vec![];
        for output in 0..scaling.output {
            let x = scaling.place(output)?;
            let place = match rounding {
                "round_prefer_floor" if x - x.floor() == 0.5 => x.floor(),
                "round_prefer_floor" | "round_prefer_ceil" => (x + 0.5).floor(),
                "floor" => x.floor(),
                "ceil" => x.ceil(),
                other => return Err(Problem::Damaged(format!("`nearest_mode` is `{other}`"))),
            };
            places.push(place.clamp(0.0, scaling.input as f64 - 1.0) as u32);
        }
        value = value.along(axis, &places)?;
    }
    Ok(value)
}

/// The two neighbours of each output along one axis, and their weights.
fn neighbours(scaling: &Scaling<'_>) -> Found<Vec<Vec<(usize, f64)>>> {
    let last = scaling.input as f64 - 1.0;
    let each = (0..scaling.output).map(|output| {
        let x = scaling.place(output)?.clamp(0.0, last);
        let (place, share) = (x.floor() as usize, x - x.floor());
        Ok(match share == 0.0 {
            true => vec![(place, 1.0)],
            false => vec![(place, 1.0 - share), (place + 1, share)],
        })
    });
    each.collect()
}

fn linear(importer: &mut Importer<'_>, value: &Value, scalings: &[Scaling<'_>]) -> Found<Value> {
    let mut value = value.clone();
    for (axis, scaling) in scalings.iter().enumerate() {
        if axis == value.batch || scaling.output == scaling.input && scaling.scale == 1.0 {
            continue;
        }
        let own = value.axis(axis)?;
        let neighbours = neighbours(scaling)?;
        let mut dims = value.dims.clone();
        dims[own] = scaling.output;
        let (outer, inner) = (count(&dims[..own])?, count(&dims[own + 1..])?);
        let numbers = count(&dims)?;
        importer.summed(numbers, numbers.saturating_mul(2))?;
        let mut sums = Vec::with_capacity(numbers);
        for block in 0..outer {
            for sum in &neighbours {
                for i in 0..inner {
                    let at = |place: usize| (block * scaling.input + place) * inner + i;
                    sums.push(sum.iter().map(|(place, weight)| (at(*place), *weight)).collect());
                }
            }
        }
        let batch = value.batch;
        value = Value { batch, ..importer.sums(&value, &dims, sums)? };
    }
    Ok(value)
}

/// `DepthToSpace` and `SpaceToDepth`.
pub(crate) fn depth<'a>(_: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let item = call.item(0)?;
    let [n, c, h, w] = *item.whole() else { return Err(Problem::of("expected an input [n, c, h, w]")) };
    let block = usize::try_from(call.int("blocksize", 0)?).ok().filter(|block| (1..=1 << 10).contains(block));
    let b = block.ok_or_else(|| Problem::of("`blocksize` must be from 1 to 1024"))?;
    let (parts, order, dims) = if call.node.operator == "SpaceToDepth" {
        (vec![n, c, h / b, b, w / b, b], [0, 3, 5, 1, 2, 4], [n, c * b * b, h / b, w / b])
    } else if call.text("mode", "DCR")? == "CRD" {
        (vec![n, c / (b * b), b, b, h, w], [0, 1, 4, 2, 5, 3], [n, c / (b * b), h * b, w * b])
    } else {
        (vec![n, b, b, c / (b * b), h, w], [0, 3, 4, 1, 5, 2], [n, c / (b * b), h * b, w * b])
    };
    Ok(vec![item.reshaped(&parts)?.transposed(&order)?.reshaped(&dims)?])
}
