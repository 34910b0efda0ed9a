//! The network that attacks call: evaluation mode, batch norm folded, weights packed once.
//!
//! Seen from candle it is one operation from pixels to logits, so any score written in candle differentiates through
//! it, and nothing but the kernels runs in between.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Shape, Tensor};

use crate::classifier::Classifier;
use crate::error::Result;
use crate::kernel::{Buffer, Real};
use crate::network::Network;
use crate::portable::{self, Weights};
use crate::program::Program;
use crate::storage::{slice, with};

/// A snapshot of a classifier in evaluation mode, differentiable with respect to the pixels alone. Clones share it.
#[derive(Debug, Clone)]
pub struct Frozen {
    network: Network,
    engine: Engine,
}

#[derive(Debug, Clone)]
enum Engine {
    F32(Arc<Program<f32>>),
    F64(Arc<Program<f64>>),
    /// On devices that our kernels do not know.
    Candle(Arc<Copied>),
}

/// A copy of a classifier's weights, by name, that no training changes.
#[derive(Debug)]
struct Copied(BTreeMap<String, Tensor>);

impl Weights for Copied {
    fn weight(&self, layer: &str, part: &str) -> Tensor {
        self.0[&format!("{layer}.{part}")].clone()
    }

    fn moments(&self, layer: &str, _x: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        Ok((self.weight(layer, "running_mean"), self.weight(layer, "running_var")))
    }
}

impl Frozen {
    /// Packs the weights that `classifier` has now; later changes of it do not reach the snapshot.
    pub fn new(classifier: &Classifier) -> Result<Self> {
        let engine = match classifier.dtype() {
            _ if classifier.is_portable() => {
                let copy = |(name, weight): (String, Tensor)| Ok((name, weight.copy()?));
                Engine::Candle(Arc::new(Copied(
                    classifier.weights().into_iter().map(copy).collect::<Result<_>>()?,
                )))
            }
            DType::F64 => Engine::F64(Arc::new(Program::new(classifier)?)),
            _ => Engine::F32(Arc::new(Program::new(classifier)?)),
        };
        Ok(Self { network: classifier.network().clone(), engine })
    }

    /// The graph.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]`.
    pub fn logits(&self, pixels: &Tensor) -> Result<Tensor> {
        Classifier::check(&self.network, pixels)?;
        let pixels = pixels.contiguous()?;
        Ok(match &self.engine {
            Engine::F32(program) => pixels.apply_op1(Pass::of(program))?,
            Engine::F64(program) => pixels.apply_op1(Pass::of(program))?,
            Engine::Candle(weights) => portable::logits(&self.network, &**weights, &pixels)?,
        })
    }
}

/// One forward pass with its own tape, so that any number may be alive at once.
struct Pass<T: Real> {
    program: Arc<Program<T>>,
    tape: OnceLock<Buffer<u8>>,
}

impl<T: Real> Pass<T> {
    fn of(program: &Arc<Program<T>>) -> Self {
        Self { program: program.clone(), tape: OnceLock::new() }
    }
}

impl<T: Real> CustomOp1 for Pass<T> {
    fn name(&self) -> &'static str {
        "frozen-network"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice::<T>(x, layout)?;
        let n = layout.dims()[0];
        let mut tape = Buffer::take(self.program.tape_len(n));
        let logits = self.program.forward(x, n, &mut tape)?;
        if self.tape.set(tape).is_err() {
            candle_core::bail!("a frozen network's tape serves one forward pass");
        }
        Ok((T::to_cpu_storage_owned(logits), (n, self.program.classes()).into()))
    }

    fn bwd(&self, x: &Tensor, _logits: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some(tape) = self.tape.get() else { candle_core::bail!("backward of a network that never ran") };
        let n = x.dim(0)?;
        let dx = with::<T, _>(gradient, |gradient| self.program.backward(gradient, n, tape))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?))
    }
}
