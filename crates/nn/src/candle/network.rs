//! A network in candle's own operations. Where candle's operation or its gradient differs from torch's (`ReLU` at
//! 0, max pooling), other operations are used.

use candle_core::{D, Result, Tensor};

use super::conv::conv;
use super::function::function;
use super::windows::windows;
use crate::graph::{Gather, Layer, Network, Pool};

/// The value of pooling taps that fall outside the image: below every activation, and finite, so that its product
/// with a gradient of 0 is 0.
const NEVER: f64 = -1e30;

/// The weights and statistics that a network's layers read while the network runs.
pub(crate) trait WeightSource {
    /// A parameter by layer and part, in torch's shape.
    fn weight(&self, layer: &str, part: &str) -> Tensor;

    /// Mean and variance, `[c]`, by which the batch norm `layer` normalises `x`, `[n, c, h, w]`.
    fn moments(&self, layer: &str, x: &Tensor) -> Result<(Tensor, Tensor)>;
}

/// Logits `[n, classes]` of pixels `[n, c, h, w]`.
pub(crate) fn logits(network: &Network, weights: &dyn WeightSource, pixels: &Tensor) -> Result<Tensor> {
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
            Layer::BatchNorm { name, affine, epsilon } => {
                let x = value(0);
                let (mean, variance) = weights.moments(name, x)?;
                let deviation = channels(&(variance + *epsilon)?.sqrt()?)?;
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
                // Zeros outside the image count.
                windows(value(0), pool.axes, 0.0)?.mean(3)?.reshape((
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
            Layer::Function(kind) => function(*kind, value(0))?,
            Layer::PRelu { name, .. } => {
                let x = value(0);
                let below = x.broadcast_mul(&channels(&weights.weight(name, "weight"))?)?;
                x.gt(0.0)?.where_cond(x, &below)?
            }
            Layer::Affine { scale, shift } => {
                let row = |numbers: &[f64]| {
                    let shape = match numbers.len() == node.shape[0] {
                        true => [1, node.shape[0], 1, 1],
                        false => [1, node.shape[0], node.shape[1], node.shape[2]],
                    };
                    Tensor::new(numbers, pixels.device())?.to_dtype(pixels.dtype())?.reshape(&shape)
                };
                value(0).broadcast_mul(&row(scale)?)?.broadcast_add(&row(shift)?)?
            }
            Layer::Multiply => value(0).broadcast_mul(value(1))?,
            Layer::Gather(gather) => gathered(value(0), gather)?,
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

/// Max pooling whose gradient goes only to the first maximum of each window.
fn max_pool(x: &Tensor, pool: &Pool) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let windows = windows(x, pool.axes, NEVER)?;
    let winner = windows.detach().argmax_keepdim(3)?;
    let [rows, columns] = pool.output([h, w]).unwrap_or([0, 0]);
    windows.contiguous()?.gather(&winner.contiguous()?, 3)?.reshape((n, c, rows, columns))
}

/// The sums of a [`Gather`]. Sums with fewer summands than the longest one are filled up with summands of weight 0.
fn gathered(x: &Tensor, gather: &Gather) -> Result<Tensor> {
    let ([c, h, w], n) = (gather.shape(), x.dim(0)?);
    let outputs = c * h * w;
    let most = (0..outputs).map(|i| gather.summands(i).count()).max().unwrap_or(0).max(1);
    let (mut index, mut factors) = (vec![0; outputs * most], vec![0.0; outputs * most]);
    for output in 0..outputs {
        for (i, (input, weight)) in gather.summands(output).enumerate() {
            (index[output * most + i], factors[output * most + i]) = (input as u32, weight);
        }
    }
    let index = Tensor::from_vec(index, outputs * most, x.device())?;
    let factors = Tensor::from_vec(factors, (1, outputs, most), x.device())?.to_dtype(x.dtype())?;
    let read = x.flatten_from(1)?.contiguous()?.index_select(&index, 1)?.reshape((n, outputs, most))?;
    read.broadcast_mul(&factors)?.sum(2)?.reshape((n, c, h, w))
}
