//! Convolution in candle's operations, of any shape.

use candle_core::{Result, Tensor};

use super::windows::windows;
use crate::graph::{Axis, ConvShape};

/// The convolution of `[n, c, h, w]` with torch's weight, `[out, c / groups, kh, kw]`.
pub(crate) fn conv(x: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let [c, h, w] = shape.input;
    let [tall, wide] = shape.axes;
    if !shape.pads() && shape.groups == 1 && shape.kernel() == [h, w] {
        let y = x.reshape((x.dim(0)?, c * h * w))?.matmul(&weight.flatten_from(1)?.t()?)?;
        return y.reshape((x.dim(0)?, shape.channels, 1, 1));
    }
    if tall.stride != wide.stride || tall.dilation != wide.dilation {
        return gathered(x, weight, shape);
    }
    let (stride, dilation) = (tall.stride, tall.dilation);
    // Numbers of rows and columns at the far end, padding included, that no kernel position reaches. Candle's
    // gradient assumes that both numbers are equal, and that padding is the same on all sides. Otherwise, the input
    // is padded here, without these rows and columns.
    let [_, rows, columns] = shape.output();
    let unread = |axis: &Axis, length: usize, outputs: usize| {
        axis.padded(length) - ((outputs - 1) * axis.stride + axis.extent())
    };
    let unread = [unread(&tall, h, rows), unread(&wide, w, columns)];
    let padding = tall.before;
    if unread[0] == unread[1] && [tall.after, wide.before, wide.after] == [padding; 3] {
        return x.conv2d(weight, padding, stride, dilation, shape.groups);
    }
    let mut x = x.clone();
    for ((dim, unread), axis) in [2, 3].into_iter().zip(unread).zip(&shape.axes) {
        x = x.pad_with_zeros(dim, axis.before, axis.after)?;
        x = x.narrow(dim, 0, x.dim(dim)? - unread)?;
    }
    x.contiguous()?.conv2d(weight, 0, stride, dilation, shape.groups)
}

/// The same convolution as a product of gathered patches, for strides or dilations that candle's convolution does
/// not support.
fn gathered(x: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let (n, [channels, rows, columns]) = (x.dim(0)?, shape.output());
    let (inputs, outputs) = (shape.input[0] / shape.groups, channels / shape.groups);
    // [n, c, positions, taps] as [n, positions, c, taps].
    let patches = windows(x, shape.axes, 0.0)?.transpose(1, 2)?;
    let group = |group: usize| {
        let patches = patches.narrow(2, group * inputs, inputs)?;
        let patches = patches.contiguous()?.reshape((n * rows * columns, shape.fan_in()))?;
        let weight = weight.narrow(0, group * outputs, outputs)?.flatten_from(1)?;
        let y = patches.matmul(&weight.t()?)?.reshape((n, rows * columns, outputs))?;
        y.transpose(1, 2)?.contiguous()?.reshape((n, outputs, rows, columns))
    };
    let groups = (0..shape.groups).map(group).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&groups, 1)
}
