//! Poolings. Windows that are too large for the engine are pooled along one axis after the other.

use temper_nn::{Axis, NodeId, Pool};

use super::window;
use crate::build::Linear;
use crate::call::{Call, Item};
use crate::error::{Found, Problem};
use crate::importer::Importer;
use crate::value::Value;

/// Maximum number of positions in a window of the engine.
const TAPS: usize = 225;
/// A kernel that changes nothing.
const ONE: Axis = Axis::even(1, 1, 0);

fn size(value: &Value) -> Found<[usize; 2]> {
    if let [_, h, w] = *value.dims {
        Ok([h, w])
    } else {
        window::planar(value.dims.len().saturating_sub(1), "pooling")?;
        Err(Problem::of("its input has no rows and columns"))
    }
}

fn kernel(call: &Call<'_>) -> Found<[usize; 2]> {
    let shape =
        call.ints("kernel_shape").ok_or_else(|| Problem::Damaged("it has no `kernel_shape`".into()))?;
    window::planar(shape.len(), "pooling")?;
    call.sizes::<2>("kernel_shape", 1)
}

/// Pools along both axes at once if the engine can, and otherwise along one after the other.
fn pooled(
    importer: &mut Importer<'_>,
    x: NodeId,
    axes: [Axis; 2],
    layer: fn(&mut temper_nn::Network, NodeId, Pool) -> temper_nn::Result<NodeId>,
) -> Found<NodeId> {
    let pool = Pool { axes };
    let parts = if axes[0].kernel.saturating_mul(axes[1].kernel) <= TAPS {
        vec![pool]
    } else {
        vec![Pool { axes: [axes[0], ONE] }, Pool { axes: [ONE, axes[1]] }]
    };
    parts.into_iter().try_fold(x, |x, pool| {
        let made = layer(&mut importer.network, x, pool);
        importer.put(made)
    })
}

fn result(importer: &Importer<'_>, node: NodeId, value: &Value) -> Value {
    Value::of(node, &importer.network.shape(node), value)
}

pub(crate) fn max<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    let size = size(value)?;
    let mut axes = window::axes(call, size, kernel(call)?)?;
    if call.flag("ceil_mode")? {
        axes = [0, 1].map(|i| window::rounded_up(axes[i], size[i]));
    }
    let x = importer.planes(value)?;
    let node = pooled(importer, x, axes, temper_nn::Network::max_pool)?;
    Ok(vec![Item::Value(result(importer, node, value))])
}

/// For each window along one axis, the number of its positions within the input and, if `padding` is
/// given, within the padding.
fn counted(axis: &Axis, size: usize, padding: Option<[usize; 2]>) -> Vec<usize> {
    let outputs = axis.output(size).unwrap_or(0);
    let (first, end) = match padding {
        // Padding that rounding up adds never counts.
        Some([before, after]) => (axis.before - before, axis.before + size + after),
        None => (axis.before, axis.before + size),
    };
    // The index in the window of the first position at or after a place.
    let from =
        |start: usize, place: usize| place.saturating_sub(start).div_ceil(axis.dilation).min(axis.kernel);
    (0..outputs)
        .map(|output| output * axis.stride)
        .map(|start| from(start, end) - from(start, first))
        .collect()
}

pub(crate) fn average<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    let size = size(value)?;
    let plain = window::axes(call, size, kernel(call)?)?;
    let axes = match call.flag("ceil_mode")? {
        true => [0, 1].map(|i| window::rounded_up(plain[i], size[i])),
        false => plain,
    };
    let x = importer.planes(value)?;
    if [0, 1].iter().all(|i| axes[*i] == Axis::even(size[*i], axes[*i].stride, 0)) {
        let node = importer.network.global_average_pool(x);
        let node = importer.put(Ok(node))?;
        return Ok(vec![Item::Value(result(importer, node, value))]);
    }
    let node = pooled(importer, x, axes, temper_nn::Network::average_pool)?;
    let value = result(importer, node, value);
    let padding = call.flag("count_include_pad")?;
    let counts =
        [0, 1].map(|i| counted(&axes[i], size[i], padding.then_some([plain[i].before, plain[i].after])));
    let [channels, ..] = importer.network.shape(node);
    let taps = (axes[0].kernel * axes[1].kernel) as f64;
    if counts.iter().enumerate().all(|(i, counts)| counts.iter().all(|count| *count == axes[i].kernel)) {
        return Ok(vec![Item::Value(value)]);
    }
    // The engine's mean counts all padding; the mean over the counted positions is larger by a constant factor.
    let columns = &counts[1];
    let plane = counts[0]
        .iter()
        .flat_map(|rows| columns.iter().map(move |columns| taps / (rows * columns).max(1) as f64));
    let plane: Vec<f64> = plane.collect();
    let scale = (0..channels).flat_map(|_| plane.iter().copied()).collect();
    let value = importer.linear_map(&value, &Linear { scale, shift: vec![0.0] })?;
    Ok(vec![Item::Value(value)])
}

pub(crate) fn global_average<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    size(value)?;
    let x = importer.planes(value)?;
    let node = importer.network.global_average_pool(x);
    let node = importer.put(Ok(node))?;
    Ok(vec![Item::Value(result(importer, node, value))])
}

pub(crate) fn global_max<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    size(value)?;
    let x = importer.planes(value)?;
    let node = largest(importer, x)?;
    Ok(vec![Item::Value(result(importer, node, value))])
}

/// The maximum over rows and columns.
pub(crate) fn largest(importer: &mut Importer<'_>, x: NodeId) -> Found<NodeId> {
    let [_, h, w] = importer.network.shape(x);
    pooled(importer, x, [Axis::even(h, h, 0), Axis::even(w, w, 0)], |network, x, pool| {
        network.max_pool(x, pool)
    })
}
