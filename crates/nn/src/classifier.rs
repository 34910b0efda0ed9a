//! A network with weights, and its training passes.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use rand::Rng;

use crate::backend::{self, Backend};
use crate::candle::Candle;
use crate::error::{Error, Result, dims};
use crate::gradients::{Collector, Gradients};
use crate::graph::{Network, Role, misfit};

/// Fraction of the newest batch in batch norm's running statistics, as in torch.
pub(crate) const MOMENTUM: f64 = 0.1;

/// The factor from a batch's biased variance over `rows` rows to the unbiased variance, which torch stores.
pub(crate) fn unbiased(rows: usize) -> f64 {
    rows as f64 / (rows as f64 - 1.0).max(1.0)
}

/// The statistics by which batch norm normalises in [`Classifier::train`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchNorm {
    /// The statistics of the batch; the running statistics move towards them. This is torch's training mode.
    Update,
    /// The statistics of the batch; the running statistics do not change.
    Keep,
    /// The running statistics, which do not change. Batch norm's weight and bias are still trained.
    Frozen,
}

/// A network with weights.
#[derive(Debug)]
pub struct Classifier {
    network: Network,
    weights: BTreeMap<String, Var>,
    roles: BTreeMap<String, Role>,
    anchor: Var,
    collector: Collector,
    /// A requested backend, which replaces the device's own.
    asked: Option<&'static dyn Backend>,
}

impl Classifier {
    /// A network with random weights, drawn from each parameter's [`Init`](crate::Init); batch norm starts as the
    /// identity. The same `rng` yields the same weights.
    pub fn random(network: Network, dtype: DType, rng: &mut impl Rng) -> Result<Self> {
        let mut weights = BTreeMap::new();
        for parameter in network.parameters() {
            let values = parameter.draw(rng);
            let tensor = Tensor::from_vec(values, parameter.shape, &Device::Cpu)?.to_dtype(dtype)?;
            weights.insert(parameter.name, tensor);
        }
        Self::new(network, &weights)
    }

    /// A network with the given weights: exactly its parameters, by their torch names and in torch's shapes. The
    /// error lists missing weights, unknown weights and weights of another shape.
    pub fn new(network: Network, weights: &BTreeMap<String, Tensor>) -> Result<Self> {
        let output = network.nodes().last().map_or(network.input_shape(), |node| node.shape);
        if output[1..] != [1, 1] {
            let why = format!("the last layer gives {}, expected one number for each class", dims(output));
            return Err(Error::Fit { layer: "output".into(), input: dims(network.input_shape()), why });
        }
        let parameters = network.parameters();
        if let Some(misfit) = misfit(&parameters, weights) {
            return Err(Error::Weights(misfit));
        }
        let mut vars = BTreeMap::new();
        let mut roles = BTreeMap::new();
        for parameter in parameters {
            let tensor = &weights[&parameter.name];
            vars.insert(parameter.name.clone(), Var::from_tensor(&tensor.contiguous()?)?);
            if roles.insert(parameter.name.clone(), parameter.role).is_some() {
                return Err(Error::Weights(format!(" two layers share the name of `{}`", parameter.name)));
            }
        }
        let first = vars.values().next();
        let (dtype, device) = first.map_or((DType::F32, &Device::Cpu), |v| (v.dtype(), v.device()));
        let (anchor, collector) = (Var::zeros((), dtype, device)?, Collector::default());
        Ok(Self { network, weights: vars, roles, anchor, collector, asked: None })
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

    /// Weight and bias of a batch norm, if it has them.
    pub(crate) fn affine(&self, norm: &str) -> Option<[&Var; 2]> {
        let find = |part| self.weights.get(&format!("{norm}.{part}"));
        Some([find("weight")?, find("bias")?])
    }

    /// Returns an error if the pixels do not have the network's input shape, or if the batch is empty.
    pub(crate) fn check(network: &Network, pixels: &Tensor) -> Result<()> {
        match pixels.dims() {
            [n, c, h, w] if *n > 0 && [*c, *h, *w] == network.input_shape() => Ok(()),
            got => Err(Error::Pixels { expected: network.input_shape(), got: got.to_vec() }),
        }
    }

    /// The same network on a device, with its own copy of the weights.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let moved = |v: &Var| v.as_detached_tensor().to_device(device)?.copy();
        let weights: BTreeMap<String, Tensor> =
            self.weights.iter().map(|(name, v)| Ok((name.clone(), moved(v)?))).collect::<Result<_>>()?;
        let same = Self::new(self.network.clone(), &weights)?;
        Ok(Self { asked: self.asked, ..same })
    }

    /// Uses candle's own operations on every device, to compare the backends.
    #[must_use]
    pub fn portable(self) -> Self {
        Self { asked: Some(&Candle), ..self }
    }

    pub(crate) fn backend(&self) -> &'static dyn Backend {
        self.asked.unwrap_or_else(|| backend::of(self.anchor.device()))
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]` in training. `norm` selects the statistics of batch norm.
    /// Gradients reach the weights if `trains`, and the pixels if they are tracked.
    pub fn train(&self, pixels: &Tensor, trains: bool, norm: BatchNorm) -> Result<Tensor> {
        Self::check(&self.network, pixels)?;
        self.backend().train(self, &pixels.contiguous()?, trains, norm)
    }

    /// Gradients of a scalar loss of logits from [`Self::train`], which may come from several of its calls.
    ///
    /// Only this method gives the gradients of the weights: candle's own backward pass reaches the pixels alone.
    pub fn backward(&self, loss: &Tensor) -> Result<Gradients> {
        // Removes gradients that an abandoned backward pass may have left.
        self.collector.take();
        let others = loss.backward()?;
        Gradients::new(self.collector.take(), others, self.trained())
    }

    pub(crate) fn collector(&self) -> &Collector {
        &self.collector
    }

    /// The variable that represents all weights in candle's graph.
    pub(crate) fn anchor(&self) -> &Var {
        &self.anchor
    }
}
