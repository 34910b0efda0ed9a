//! A network with weights, and the candle graph that training differentiates.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use rand::Rng;

use crate::error::{Error, Result};
use crate::network::{Network, Role};
use crate::ops;
use crate::plan::{Kind, Step, steps};

/// Share of the newest batch in batch norm's running statistics, as in torch.
const MOMENTUM: f64 = 0.1;

/// What a training-mode pass does to batch norm's running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningStatistics {
    /// Moves them towards the batch.
    Update,
    /// Leaves them.
    Keep,
}

/// A network with weights.
#[derive(Debug)]
pub struct Classifier {
    network: Network,
    weights: BTreeMap<String, Var>,
    roles: BTreeMap<String, Role>,
    steps: Vec<Step>,
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
        let steps = steps(&network, false);
        Ok(Self { network, weights: vars, roles, steps })
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

    /// Logits `[n, classes]` of pixels `[n, c, h, w]` in training mode: batch norm uses the batch's own statistics.
    /// Gradients reach the weights if `trains`, and the pixels if they are tracked.
    pub fn train(&self, pixels: &Tensor, trains: bool, statistics: RunningStatistics) -> Result<Tensor> {
        Self::check(&self.network, pixels)?;
        let weight = |layer: &str, part: &str| {
            let var = self.weight(layer, part);
            if trains { var.as_tensor().clone() } else { var.as_detached_tensor() }
        };
        let mut values: Vec<Option<Tensor>> = vec![None; self.network.nodes().len()];
        let pixels = pixels.contiguous()?;
        for step in &self.steps {
            let x = match step.kind {
                Kind::Normalize { .. } => &pixels,
                _ => input(&values, step, 0)?,
            };
            let y = match &step.kind {
                Kind::Conv { name, shape, bias, tail, .. } => {
                    let bias = bias.then(|| weight(name, "bias"));
                    ops::conv(x, &weight(name, "weight"), bias.as_ref(), *shape, *tail)?
                }
                Kind::BatchNorm { name, relu } => {
                    let rows = x.elem_count() / x.dim(3)?;
                    let (y, moments) =
                        ops::batch_norm(x, &weight(name, "weight"), &weight(name, "bias"), *relu)?;
                    if statistics == RunningStatistics::Update {
                        // torch keeps the unbiased variance.
                        let unbias = rows as f64 / (rows as f64 - 1.0).max(1.0);
                        self.move_statistic(name, "running_mean", &moments.mean, 1.0)?;
                        self.move_statistic(name, "running_var", &moments.variance, unbias)?;
                    }
                    y
                }
                kind => plain(kind, x, step, &values)?,
            };
            values[step.output] = Some(y);
        }
        logits(&self.network, values)
    }

    fn move_statistic(&self, layer: &str, part: &str, batch: &[f64], factor: f64) -> Result<()> {
        let var = self.weight(layer, part);
        let old = var.as_detached_tensor().to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let new: Vec<f64> =
            old.iter().zip(batch).map(|(o, b)| (1.0 - MOMENTUM) * o + MOMENTUM * factor * b).collect();
        var.set(&Tensor::from_vec(new, old.len(), &Device::Cpu)?.to_dtype(var.dtype())?)?;
        Ok(())
    }
}

/// An input of a step.
pub(crate) fn input<'a>(values: &'a [Option<Tensor>], step: &Step, i: usize) -> Result<&'a Tensor> {
    let value = step.inputs.get(i).and_then(|id| values[*id].as_ref());
    value.ok_or_else(|| {
        Error::Tensor(candle_core::Error::Msg("a layer reads a value that was fused away".into()))
    })
}

/// The steps that are the same in training and frozen: they have no weights.
pub(crate) fn plain(kind: &Kind, x: &Tensor, step: &Step, values: &[Option<Tensor>]) -> Result<Tensor> {
    Ok(match kind {
        Kind::Normalize { mean, std } => {
            x.apply_op1(ops::Normalize { mean: mean.clone(), std: std.clone() })?
        }
        Kind::Relu => x.apply_op1(ops::Relu)?,
        Kind::MaxPool(pool) => ops::max_pool(x, *pool)?,
        Kind::GlobalAveragePool => {
            let (n, h, w, c) = x.dims4()?;
            x.reshape((n, h * w, c))?.mean(1)?.reshape((n, 1, 1, c))?
        }
        Kind::Add => (x + input(values, step, 1)?)?,
        Kind::Conv { .. } | Kind::BatchNorm { .. } => {
            unreachable!("layers with weights are handled by the caller")
        }
    })
}

/// The last value as `[n, classes]`.
pub(crate) fn logits(network: &Network, values: Vec<Option<Tensor>>) -> Result<Tensor> {
    match values.into_iter().next_back().flatten() {
        Some(last) => Ok(last.reshape((last.dim(0)?, network.classes()))?),
        None => Err(Error::Weights("the network has no output".into())),
    }
}
