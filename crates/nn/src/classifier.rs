//! A network with weights, and the candle graph that training differentiates.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use rand::Rng;

use crate::error::{Error, Result};
use crate::kernel::Conv;
use crate::network::{Network, Role};
use crate::ops;
use crate::plan::{Kind, Plan, plan};
use crate::portable::{self, Weights};

/// Share of the newest batch in batch norm's running statistics, as in torch.
const MOMENTUM: f64 = 0.1;

/// By which statistics batch norm normalises in [`Classifier::train`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchNorm {
    /// By the batch's; the running ones move towards them. Torch's training mode.
    Update,
    /// By the batch's; the running ones stay.
    Keep,
    /// By the running ones, which stay. Its weight and bias are trained all the same.
    Frozen,
}

/// A network with weights.
#[derive(Debug)]
pub struct Classifier {
    network: Network,
    weights: BTreeMap<String, Var>,
    roles: BTreeMap<String, Role>,
    plan: Plan,
    /// Run by candle's operations where our kernels could?
    portable: bool,
}

impl Classifier {
    /// Random weights as torch draws them: uniform within `1 / sqrt(fan in)` for weights and biases; batch norm starts
    /// as the identity. The same `rng` gives the same weights.
    pub fn random(network: Network, dtype: DType, rng: &mut impl Rng) -> Result<Self> {
        let mut weights = BTreeMap::new();
        for parameter in network.parameters() {
            let n: usize = parameter.shape.iter().product();
            let values: Vec<f64> = match parameter.role {
                Role::Weight { fan_in } | Role::Bias { fan_in } => {
                    let bound = 1.0 / (fan_in as f64).sqrt();
                    (0..n).map(|_| rng.random_range(-bound..bound)).collect()
                }
                Role::Scale | Role::RunningVariance => vec![1.0; n],
                Role::Shift | Role::RunningMean => vec![0.0; n],
            };
            let tensor = Tensor::from_vec(values, parameter.shape, &Device::Cpu)?.to_dtype(dtype)?;
            weights.insert(parameter.name, tensor);
        }
        Self::new(network, &weights)
    }

    /// A network with given weights: every parameter by its torch name, in its torch shape, and nothing else.
    pub fn new(network: Network, weights: &BTreeMap<String, Tensor>) -> Result<Self> {
        let mut vars = BTreeMap::new();
        let mut roles = BTreeMap::new();
        for parameter in network.parameters() {
            let Some(tensor) = weights.get(&parameter.name) else {
                return Err(Error::Weights(format!("`{}` is missing", parameter.name)));
            };
            if tensor.dims() != parameter.shape {
                let (name, want, got) = (&parameter.name, &parameter.shape, tensor.dims());
                return Err(Error::Weights(format!("`{name}` has shape {got:?}, expected {want:?}")));
            }
            vars.insert(parameter.name.clone(), Var::from_tensor(&tensor.contiguous()?)?);
            if roles.insert(parameter.name.clone(), parameter.role).is_some() {
                return Err(Error::Weights(format!("two layers share the name of `{}`", parameter.name)));
            }
        }
        if let Some(extra) = weights.keys().find(|name| !vars.contains_key(*name)) {
            return Err(Error::Weights(format!("the network has no `{extra}`")));
        }
        let plan = plan(&network, false);
        Ok(Self { network, weights: vars, roles, plan, portable: false })
    }

    /// The graph.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Type of the weights.
    pub fn dtype(&self) -> DType {
        self.weights.values().next().map_or(DType::F32, |v| v.dtype())
    }

    /// All weights by name, running statistics included.
    pub fn weights(&self) -> BTreeMap<String, Tensor> {
        self.weights.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect()
    }

    /// The weights that an optimiser trains, by name.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.weights.iter().filter(|(name, _)| self.roles[*name].is_trained()).map(|(n, v)| (n.as_str(), v))
    }

    pub(crate) fn weight(&self, layer: &str, part: &str) -> &Var {
        &self.weights[&format!("{layer}.{part}")]
    }

    /// Refuses pixels of another shape than the network takes.
    pub(crate) fn check(network: &Network, pixels: &Tensor) -> Result<()> {
        match pixels.dims() {
            [_, c, h, w] if [*c, *h, *w] == network.input_shape() => Ok(()),
            got => Err(Error::Pixels { expected: network.input_shape(), got: got.to_vec() }),
        }
    }

    /// The same network on a device, with weights of its own.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let moved = |v: &Var| v.as_detached_tensor().to_device(device)?.copy();
        let weights: BTreeMap<String, Tensor> =
            self.weights.iter().map(|(name, v)| Ok((name.clone(), moved(v)?))).collect::<Result<_>>()?;
        let same = Self::new(self.network.clone(), &weights)?;
        Ok(Self { portable: self.portable, ..same })
    }

    /// Runs by candle's own operations on the CPU too, as on every other device: to compare the two ways.
    #[must_use]
    pub fn portable(self) -> Self {
        Self { portable: true, ..self }
    }

    /// Do candle's operations run it, not our kernels?
    pub(crate) fn is_portable(&self) -> bool {
        self.portable || self.weights.values().next().is_some_and(|w| !w.device().is_cpu())
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]` in training: what batch norm does, `norm` says. Gradients reach the
    /// weights if `trains`, and the pixels if they are tracked.
    pub fn train(&self, pixels: &Tensor, trains: bool, norm: BatchNorm) -> Result<Tensor> {
        Self::check(&self.network, pixels)?;
        let pixels = pixels.contiguous()?;
        let tracked = Tracked { classifier: self, trains, norm };
        if self.is_portable() {
            return Ok(portable::logits(&self.network, &tracked, &pixels)?);
        }
        let mut values: Vec<Option<Tensor>> = vec![None; self.plan.shapes.len()];
        for step in &self.plan.steps {
            let x = match step.kind {
                Kind::Normalize { .. } => &pixels,
                _ => value(&values, step.input)?,
            };
            let y = match &step.kind {
                Kind::Conv { name, shape, norm: Some(norm), .. } => {
                    tracked.conv_norm(x, name, norm, *shape, step.relu)?
                }
                Kind::Conv { name, shape, bias, pool, .. } => {
                    let bias = bias.then(|| tracked.weight(name, "bias"));
                    let how = (*shape, self.network.numerics());
                    ops::conv(x, &tracked.weight(name, "weight"), bias.as_ref(), how, (step.relu, *pool))?
                }
                Kind::BatchNorm { name } => tracked.batch_norm(x, name, step.relu)?,
                Kind::Normalize { mean, std } => {
                    let stored = self.plan.shapes[step.output][0];
                    x.apply_op1(ops::Normalize { mean: mean.clone(), std: std.clone(), stored })?
                }
                Kind::MaxPool(pool) => ops::max_pool(x, *pool)?,
                Kind::AveragePool(pool) => ops::average_pool(x, *pool)?,
                Kind::Place { channels, first } => {
                    let rest = self.plan.shapes[step.output][0] - first - channels;
                    let placed = x.narrow(3, 0, *channels)?.pad_with_zeros(3, *first, rest)?.contiguous()?;
                    match step.addend {
                        Some(addend) => ops::add(&placed, value(&values, addend)?, false)?,
                        None => placed,
                    }
                }
                Kind::GlobalAveragePool => {
                    let (n, h, w, c) = x.dims4()?;
                    x.reshape((n, h * w, c))?.mean(1)?.reshape((n, 1, 1, c))?
                }
                Kind::Add => match step.addend {
                    Some(addend) => ops::add(x, value(&values, addend)?, step.relu)?,
                    None => x.apply_op1(ops::Relu)?,
                },
            };
            values[step.output] = Some(y);
        }
        let last = self.plan.steps.last().and_then(|step| values[step.output].take());
        logits(&self.network, last)
    }

    /// Moves batch norm's running statistics towards those of a batch with `rows` values a channel, `[c]` each.
    fn move_statistics(&self, layer: &str, rows: usize, [mean, variance]: [&Tensor; 2]) -> Result<()> {
        // torch keeps the unbiased variance.
        let unbias = rows as f64 / (rows as f64 - 1.0).max(1.0);
        for (part, batch, factor) in [("running_mean", mean, 1.0), ("running_var", variance, unbias)] {
            let var = self.weight(layer, part);
            let old = (var.as_detached_tensor().to_dtype(DType::F64)? * (1.0 - MOMENTUM))?;
            let new = (old + (batch.to_dtype(DType::F64)? * (MOMENTUM * factor))?)?;
            var.set(&new.to_dtype(var.dtype())?)?;
        }
        Ok(())
    }
}

/// A classifier's weights during one training pass.
struct Tracked<'a> {
    classifier: &'a Classifier,
    trains: bool,
    norm: BatchNorm,
}

impl Tracked<'_> {
    fn running(&self, layer: &str) -> [Tensor; 2] {
        ["running_mean", "running_var"].map(|part| self.classifier.weight(layer, part).as_detached_tensor())
    }

    /// A convolution without bias and its batch norm by our kernels, NHWC.
    fn conv_norm(&self, x: &Tensor, layer: &str, norm: &str, shape: Conv, relu: bool) -> Result<Tensor> {
        let line = Tensor::cat(&[self.weight(norm, "weight"), self.weight(norm, "bias")], 0)?;
        let moments = (self.norm == BatchNorm::Frozen).then(|| self.running(norm));
        let how = (shape, self.classifier.network.numerics());
        let (y, [mean, variance]) =
            ops::conv_norm(x, &self.weight(layer, "weight"), &line, how, relu, moments.as_ref())?;
        if self.norm == BatchNorm::Update {
            let [_, h, w] = shape.output();
            self.classifier.move_statistics(norm, x.dim(0)? * h * w, [&mean, &variance])?;
        }
        Ok(y)
    }

    /// Batch norm by our kernels, NHWC.
    fn batch_norm(&self, x: &Tensor, layer: &str, relu: bool) -> Result<Tensor> {
        let (weight, bias) = (self.weight(layer, "weight"), self.weight(layer, "bias"));
        if self.norm == BatchNorm::Frozen {
            return Ok(ops::batch_norm(x, &weight, &bias, relu, Some(self.running(layer)))?.0);
        }
        let (y, [mean, variance]) = ops::batch_norm(x, &weight, &bias, relu, None)?;
        if self.norm == BatchNorm::Update {
            let rows = x.elem_count() / x.dim(3)?;
            self.classifier.move_statistics(layer, rows, [&mean, &variance])?;
        }
        Ok(y)
    }
}

impl Weights for Tracked<'_> {
    fn weight(&self, layer: &str, part: &str) -> Tensor {
        let var = self.classifier.weight(layer, part);
        if self.trains { var.as_tensor().clone() } else { var.as_detached_tensor() }
    }

    fn moments(&self, layer: &str, x: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        if self.norm == BatchNorm::Frozen {
            let [mean, variance] = self.running(layer);
            return Ok((mean, variance));
        }
        let (mean, variance) = portable::moments(x)?;
        if self.norm == BatchNorm::Update {
            let rows = x.elem_count() / x.dim(1)?;
            let moved = self.classifier.move_statistics(layer, rows, [&mean.detach(), &variance.detach()]);
            moved.map_err(candle_core::Error::wrap)?;
        }
        Ok((mean, variance))
    }
}
/// A value that a step reads.
fn value(values: &[Option<Tensor>], id: usize) -> Result<&Tensor> {
    values[id].as_ref().ok_or_else(|| {
        Error::Tensor(candle_core::Error::Msg("a layer reads a value that was fused away".into()))
    })
}

/// The last value as `[n, classes]`: of the stored channels, only the true ones.
fn logits(network: &Network, last: Option<Tensor>) -> Result<Tensor> {
    let Some(last) = last else {
        return Err(Error::Weights("the network has no output".into()));
    };
    let n = last.dim(0)?;
    Ok(last.reshape((n, last.elem_count() / n.max(1)))?.narrow(1, 0, network.classes())?.contiguous()?)
}
