//! The network that attacks call: evaluation mode, batch norm folded, weights packed once.
//!
//! Seen from candle it is one operation from pixels to logits, so any score written in candle differentiates through
//! it, and nothing but the kernels runs in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Shape, Tensor};

use crate::classifier::Classifier;
use crate::error::{Error, Result};
use crate::kernel::{self, Conv, ConvWeights, Panels, Pool, Real, Tail};
use crate::network::Network;
use crate::ops::{narrow, slice, with};
use crate::plan::{Kind, Step, steps};
use crate::portable::{self, Weights};

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
            Engine::F32(program) => {
                pixels.apply_op1(Pass { program: program.clone(), run: OnceLock::new() })?
            }
            Engine::F64(program) => {
                pixels.apply_op1(Pass { program: program.clone(), run: OnceLock::new() })?
            }
            Engine::Candle(weights) => portable::logits(&self.network, &**weights, &pixels)?,
        })
    }
}

/// Straight-line program over numbered values; value 0 is the pixels.
#[derive(Debug)]
struct Program<T> {
    units: Vec<(Step, Unit<T>)>,
    /// Values of one sample, by number; 0 where a layer was fused away.
    sizes: Vec<usize>,
    classes: usize,
    spare: Spare<T>,
}

#[derive(Debug)]
enum Unit<T> {
    Normalize {
        shape: [usize; 3],
        mean: Vec<T>,
        std: Vec<T>,
    },
    Conv {
        shape: Conv,
        tail: Tail,
        forward: ConvWeights<T>,
        backward: Panels<T>,
    },
    /// Scale and shift of each channel: a batch norm that no convolution precedes.
    Affine {
        scale: Vec<T>,
        shift: Vec<T>,
        relu: bool,
    },
    Relu,
    MaxPool {
        pool: Pool,
        shape: [usize; 3],
    },
    GlobalAverage {
        shape: [usize; 3],
    },
    Add,
}

/// Buffers of finished passes, to be used again: fresh ones would cost a page fault every 4 KiB.
#[derive(Debug)]
struct Spare<T>(Mutex<Vec<Vec<T>>>);

impl<T: Real> Spare<T> {
    fn take(&self, len: usize) -> Vec<T> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough.
        let fits = spare.iter().enumerate().filter(|(_, b)| b.capacity() >= len);
        let mut buffer = match fits.min_by_key(|(_, b)| b.capacity()).map(|(i, _)| i) {
            Some(i) => spare.swap_remove(i),
            None => Vec::with_capacity(len),
        };
        drop(spare);
        buffer.resize(len, T::ZERO);
        buffer
    }

    fn give(&self, buffers: impl IntoIterator<Item = Vec<T>>) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.extend(buffers.into_iter().filter(|b| b.capacity() > 0));
    }
}

/// What one forward pass leaves for its backward pass.
struct Run<T> {
    values: Vec<Vec<T>>,
    /// Winning taps of pooled units, by unit.
    tapes: Vec<Vec<u8>>,
}

/// One forward pass with its own record, so that any number may be alive at once.
struct Pass<T: Real> {
    program: Arc<Program<T>>,
    run: OnceLock<Run<T>>,
}

impl<T: Real> Drop for Pass<T> {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            self.program.spare.give(run.values);
        }
    }
}

impl<T: Real> CustomOp1 for Pass<T> {
    fn name(&self) -> &'static str {
        "frozen-network"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice::<T>(x, layout)?;
        let n = layout.dims()[0];
        let run = self.program.forward(x, n);
        let logits =
            run.values.last().map(|last| last[..n * self.program.classes].to_vec()).unwrap_or_default();
        if self.run.set(run).is_err() {
            candle_core::bail!("a frozen network's record serves one forward pass");
        }
        Ok((T::to_cpu_storage_owned(logits), (n, self.program.classes).into()))
    }

    fn bwd(&self, x: &Tensor, _logits: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some(run) = self.run.get() else { candle_core::bail!("backward of a network that never ran") };
        let n = x.dim(0)?;
        let dx = with::<T, _>(gradient, |gradient| Ok(self.program.backward(run, gradient, n)))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?))
    }
}

impl<T: Real> Program<T> {
    fn new(classifier: &Classifier) -> Result<Self> {
        let network = classifier.network();
        let shapes: Vec<[usize; 3]> = network.nodes().iter().map(|node| node.shape).collect();
        let mut sizes = vec![0; shapes.len()];
        let mut units = vec![];
        for step in steps(network, true) {
            sizes[step.output] = shapes[step.output].iter().product();
            let shape = shapes[step.inputs[0]];
            let unit = match &step.kind {
                Kind::Normalize { mean, std } => {
                    Unit::Normalize { shape, mean: narrow(mean), std: narrow(std) }
                }
                Kind::Conv { .. } => pack(classifier, &step.kind)?,
                Kind::BatchNorm { name, relu } => {
                    let (scale, shift) = affine(classifier, name)?;
                    Unit::Affine { scale: narrow(&scale), shift: narrow(&shift), relu: *relu }
                }
                Kind::Relu => Unit::Relu,
                Kind::MaxPool(pool) => Unit::MaxPool { pool: *pool, shape },
                Kind::GlobalAveragePool => Unit::GlobalAverage { shape },
                Kind::Add => Unit::Add,
            };
            units.push((step, unit));
        }
        Ok(Self { units, sizes, classes: network.classes(), spare: Spare(Mutex::default()) })
    }

    fn forward(&self, x: &[T], n: usize) -> Run<T> {
        let mut values: Vec<Vec<T>> = self.sizes.iter().map(|_| vec![]).collect();
        let mut tapes = vec![];
        for (step, unit) in &self.units {
            let mut out = self.spare.take(n * self.sizes[step.output]);
            let mut tape = vec![];
            // `Normalize` alone reads the pixels themselves; value 0 may be their NHWC copy.
            let input = match unit {
                Unit::Normalize { .. } => x,
                _ => &values[step.inputs[0]],
            };
            match unit {
                Unit::Normalize { shape, mean, std } => kernel::normalize(*shape, mean, std, input, &mut out),
                Unit::Conv { shape, tail, forward, .. } => {
                    tape.resize(if tail.pool.is_some() { out.len() } else { 0 }, 0);
                    kernel::conv(shape, forward, tail, input, &mut out, &mut tape);
                }
                Unit::Affine { scale, shift, relu } => kernel::affine(scale, shift, *relu, input, &mut out),
                Unit::Relu => kernel::relu(input, &mut out),
                Unit::MaxPool { pool, shape } => {
                    tape.resize(out.len(), 0);
                    kernel::max_pool(pool, *shape, input, &mut out, &mut tape);
                }
                Unit::GlobalAverage { shape } => kernel::global_average(*shape, input, &mut out),
                Unit::Add => kernel::sum(input, &values[step.inputs[1]], &mut out),
            }
            tapes.push(tape);
            values[step.output] = out;
        }
        Run { values, tapes }
    }

    fn backward(&self, run: &Run<T>, gradient: &[T], n: usize) -> Vec<T> {
        let mut gradients: Vec<Option<Vec<T>>> = self.sizes.iter().map(|_| None).collect();
        let mut pixels = vec![];
        if let Some(last) = gradients.last_mut() {
            *last = Some(self.copy(gradient));
        }
        for ((step, unit), tape) in self.units.iter().zip(&run.tapes).rev() {
            // A value that nothing downstream reads has no gradient.
            let Some(g) = gradients[step.output].take() else { continue };
            let result = &run.values[step.output];
            let first = matches!(unit, Unit::Normalize { .. });
            let mut dx = match first {
                true => vec![T::ZERO; g.len()],
                false => self.spare.take(n * self.sizes[step.inputs[0]]),
            };
            match unit {
                Unit::Normalize { shape, std, .. } => kernel::normalize_gradient(*shape, std, &g, &mut dx),
                Unit::Conv { shape, tail, backward, .. } => {
                    kernel::conv_input_gradient(shape, backward, tail, (result, tape), &g, &mut dx);
                }
                Unit::Affine { scale, relu, .. } => {
                    kernel::affine_gradient(scale, *relu, result, &g, &mut dx);
                }
                Unit::Relu => kernel::relu_gradient(result, &g, &mut dx),
                Unit::MaxPool { pool, shape } => kernel::max_pool_gradient(pool, *shape, tape, &g, &mut dx),
                Unit::GlobalAverage { shape } => kernel::global_average_gradient(*shape, &g, &mut dx),
                Unit::Add => {
                    dx.copy_from_slice(&g);
                    let other = self.copy(&g);
                    self.collect(&mut gradients[step.inputs[1]], other);
                }
            }
            self.spare.give([g]);
            match first {
                true if pixels.is_empty() => pixels = dx,
                true => kernel::add(&mut pixels, &dx),
                false => self.collect(&mut gradients[step.inputs[0]], dx),
            }
        }
        pixels
    }

    /// A copy in a spare buffer: every buffer that is given back was taken, so the spares do not grow.
    fn copy(&self, values: &[T]) -> Vec<T> {
        let mut copy = self.spare.take(values.len());
        copy.copy_from_slice(values);
        copy
    }

    /// Adds a gradient to what other readers of the value have left.
    fn collect(&self, sum: &mut Option<Vec<T>>, gradient: Vec<T>) {
        match sum {
            None => *sum = Some(gradient),
            Some(sum) => {
                kernel::add(sum, &gradient);
                self.spare.give([gradient]);
            }
        }
    }
}

/// Scale and shift that batch norm in evaluation mode amounts to, one a channel.
fn affine(classifier: &Classifier, name: &str) -> Result<(Vec<f64>, Vec<f64>)> {
    let read = |part| Ok::<_, Error>(classifier.weight(name, part).to_dtype(DType::F64)?.to_vec1::<f64>()?);
    let (mean, variance) = (read("running_mean")?, read("running_var")?);
    let root = |v: &f64| (v + kernel::EPSILON).sqrt();
    let scale: Vec<f64> = read("weight")?.iter().zip(&variance).map(|(w, v)| w / root(v)).collect();
    let shift = read("bias")?.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
    Ok((scale, shift))
}

fn pack<T: Real>(classifier: &Classifier, kind: &Kind) -> Result<Unit<T>> {
    let Kind::Conv { name, shape, bias, norm, tail } = kind else {
        unreachable!("only convolutions are packed")
    };
    let mut shift = match bias {
        true => Some(classifier.weight(name, "bias").to_dtype(DType::F64)?.to_vec1::<f64>()?),
        false => None,
    };
    let mut scale = None;
    if let Some(norm) = norm {
        let (by, add) = affine(classifier, norm)?;
        let old = shift.unwrap_or_else(|| vec![0.0; add.len()]);
        shift = Some(old.iter().zip(by.iter().zip(&add)).map(|(o, (s, a))| o * s + a).collect());
        scale = Some(narrow::<T>(&by));
    }
    let shift: Option<Vec<T>> = shift.map(|s| narrow(&s));
    let (forward, backward) = with::<T, _>(classifier.weight(name, "weight"), |weight| {
        Ok((
            ConvWeights::pack(shape, weight, shift.as_deref(), scale.as_deref()),
            ConvWeights::pack_backward(shape, weight, scale.as_deref()),
        ))
    })?;
    Ok(Unit::Conv { shape: *shape, tail: *tail, forward, backward })
}
