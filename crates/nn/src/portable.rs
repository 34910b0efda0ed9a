//! A network in candle's own operations: how it runs on devices that our kernels do not know.
//!
//! Everything is NCHW here, and a value per node. Where candle's operation or its gradient differs from torch's (`ReLU`
//! at 0, max pooling) the same is said in other operations.

use candle_core::{D, Result, Tensor};

use crate::kernel::{Conv, EPSILON, Pool};
use crate::network::{Layer, Network};

/// Taps of a pooling window that fall beside the image read this: below every activation, and finite, so that a
/// gradient of 0 times it stays 0.
const NEVER: f64 = -1e30;

/// What a network's layers ask for while it runs.
pub(crate) trait Weights {
    /// A parameter by layer and part, in torch's shape.
    fn weight(&self, layer: &str, part: &str) -> Tensor;

    /// Mean and variance, `[c]`, by which the batch norm `layer` normalises `x`, `[n, c, h, w]`.
    fn moments(&self, layer: &str, x: &Tensor) -> Result<(Tensor, Tensor)>;
}

/// Logits `[n, classes]` of pixels `[n, c, h, w]`.
pub(crate) fn logits(network: &Network, weights: &dyn Weights, pixels: &Tensor) -> Result<Tensor> {
    let mut values: Vec<Tensor> = vec![];
    for node in network.nodes() {
        let value = |i: usize| &values[node.inputs[i].0];
        let y = match &node.layer {
            Layer::Input => pixels.clone(),
            Layer::Normalize { mean, std } => {
                let row = |v: &[f64]| {
                    Tensor::new(v, pixels.device())?.to_dtype(pixels.dtype())?.reshape((1, v.len(), 1, 1))
                };
                value(0).broadcast_sub(&row(mean)?)?.broadcast_div(&row(std)?)?
            }
            Layer::Conv { name, shape, bias, .. } => {
                let y = conv(value(0), &weights.weight(name, "weight"), shape)?;
                match bias {
                    true => y.broadcast_add(&channels(&weights.weight(name, "bias"))?)?,
                    false => y,
                }
            }
            Layer::BatchNorm { name, affine } => {
                let x = value(0);
                let (mean, variance) = weights.moments(name, x)?;
                let deviation = channels(&(variance + EPSILON)?.sqrt()?)?;
                let normal = x.broadcast_sub(&channels(&mean)?)?.broadcast_div(&deviation)?;
                match affine {
                    true => {
                        let scaled = normal.broadcast_mul(&channels(&weights.weight(name, "weight"))?)?;
                        scaled.broadcast_add(&channels(&weights.weight(name, "bias"))?)?
                    }
                    false => normal,
                }
            }
            // A NaN is not below 0, so it stays.
            Layer::Relu => value(0).le(0.0)?.where_cond(&value(0).zeros_like()?, value(0))?,
            Layer::MaxPool(pool) => max_pool(value(0), pool)?,
            Layer::AveragePool(pool) => {
                // Zeros beside the image count.
                windows(value(0), pool, 0.0)?.mean(3)?.reshape((
                    pixels.dim(0)?,
                    node.shape[0],
                    node.shape[1],
                    node.shape[2],
                ))?
            }
            Layer::Concat => {
                Tensor::cat(&node.inputs.iter().map(|input| &values[input.0]).collect::<Vec<_>>(), 1)?
            }
            Layer::PadChannels { before, after } => value(0).pad_with_zeros(1, *before, *after)?,
            Layer::GlobalAveragePool => value(0).mean_keepdim(D::Minus1)?.mean_keepdim(D::Minus2)?,
            Layer::Add => (value(0) + value(1))?,
        };
        values.push(y);
    }
    match values.pop() {
        Some(last) => last.reshape((last.dim(0)?, network.classes())),
        None => candle_core::bail!("the network has no output"),
    }
}

/// `[c]` as `[1, c, 1, 1]`.
fn channels(values: &Tensor) -> Result<Tensor> {
    values.reshape((1, values.elem_count(), 1, 1))
}

/// Mean and biased variance of each channel over a batch, `[c]`.
pub(crate) fn moments(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let mean = |x: &Tensor| x.transpose(0, 1)?.flatten_from(1)?.mean(1);
    let center = mean(x)?;
    let variance = mean(&x.broadcast_sub(&channels(&center)?)?.sqr()?)?;
    Ok((center, variance))
}

fn conv(x: &Tensor, weight: &Tensor, shape: &Conv) -> Result<Tensor> {
    let [c, h, w] = shape.input;
    if shape.padding == 0 && shape.kernel == [h, w] {
        let y = x.reshape((x.dim(0)?, c * h * w))?.matmul(&weight.flatten_from(1)?.t()?)?;
        return y.reshape((x.dim(0)?, shape.channels, 1, 1));
    }
    // Rows and columns at the far end, padding included, that no kernel position reaches. candle's gradient takes it that
    // they are as many of the one as of the other; where they are not, padding is done here, without them.
    let [_, rows, columns] = shape.output();
    let Conv { stride, padding, kernel, .. } = *shape;
    let unread = [(h, rows, kernel[0]), (w, columns, kernel[1])]
        .map(|(length, outputs, kernel)| length + 2 * padding - ((outputs - 1) * stride + kernel));
    if unread[0] == unread[1] {
        return x.conv2d(weight, padding, stride, 1, shape.groups);
    }
    let mut x = x.clone();
    for (dim, unread) in [2, 3].into_iter().zip(unread) {
        x = x.pad_with_zeros(dim, padding, padding)?;
        x = x.narrow(dim, 0, x.dim(dim)? - unread)?;
    }
    x.contiguous()?.conv2d(weight, 0, stride, 1, shape.groups)
}

/// Max pooling whose gradient goes to the first winner of each window alone.
fn max_pool(x: &Tensor, pool: &Pool) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let windows = windows(x, pool, NEVER)?;
    let winner = windows.detach().argmax_keepdim(3)?;
    let (rows, columns) = (pool.output(h).unwrap_or(0), pool.output(w).unwrap_or(0));
    windows.contiguous()?.gather(&winner.contiguous()?, 3)?.reshape((n, c, rows, columns))
}

/// The taps of every pooling window, `[n, c, windows, taps]`; those beside the image are `beside`.
fn windows(x: &Tensor, pool: &Pool, beside: f64) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (Some(rows), Some(columns)) = (pool.output(h), pool.output(w)) else {
        candle_core::bail!("the pooling window is larger than its input");
    };
    let taps = pool.size * pool.size;
    // Every window's taps by their position in the image; `h * w` stands for those beside it.
    let position = |at: usize| {
        let (window, tap) = (at / taps, at % taps);
        let y = window / columns * pool.stride + tap / pool.size;
        let x = window % columns * pool.stride + tap % pool.size;
        match (y.checked_sub(pool.padding), x.checked_sub(pool.padding)) {
            (Some(y), Some(x)) if y < h && x < w => (y * w + x) as u32,
            _ => (h * w) as u32,
        }
    };
    let index: Vec<u32> = (0..rows * columns * taps).map(position).collect();
    let index = Tensor::from_vec(index, rows * columns * taps, x.device())?;
    let beside = Tensor::full(beside as f32, (n, c, 1), x.device())?.to_dtype(x.dtype())?;
    let flat = Tensor::cat(&[&x.flatten_from(2)?, &beside], 2)?;
    flat.contiguous()?.index_select(&index, 2)?.reshape((n, c, rows * columns, taps))
}
