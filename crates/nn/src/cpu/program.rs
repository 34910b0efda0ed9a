//! A frozen network: batch norm folded, weights packed, and its schedule.
//!
//! For candle, it is a single operation from pixels to logits. Candle can therefore differentiate any score through
//! it, and only the kernels run in between.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor, Var};

use super::kernel::{self, Buffer, Conv, ConvBackward, ConvForward, Finish, Real, tasks};
use super::schedule::{Instructions, Wants};
use super::storage::{narrow, slice, with};
use super::training::slopes;
use crate::backend::Snapshot;
use crate::classifier::Classifier;
use crate::error::Result;
use crate::graph::plan::{BatchNormStep, Operation};
use crate::graph::{Numerics, Pool};
use crate::profile::{self, Work};

/// The computation of one step, with packed weights.
#[derive(Debug)]
enum Unit<T: Real> {
    Conv {
        passes: Box<ProgramPasses<T>>,
        pool: Option<Pool>,
    },
    /// Scale and shift of each channel, or of each number of a sample: constants, or a batch norm that does not
    /// follow a convolution.
    Affine {
        scale: Vec<T>,
        shift: Vec<T>,
    },
    /// Slopes for inputs below 0, one per stored channel.
    Slopes(Vec<T>),
    Weightless,
}

/// Both passes of a convolution. Backward weights are packed lazily, on the first backward pass: many networks only
/// compute logits.
#[derive(Debug)]
struct ProgramPasses<T: Real> {
    forward: ConvForward<T>,
    backward: OnceLock<ConvBackward<T>>,
    /// The source of the backward weights, until they are packed.
    source: Mutex<Option<Arc<Source<T>>>>,
}

/// A convolution's weight as torch stores it, and a scale for each output channel.
#[derive(Debug)]
struct Source<T: Real> {
    shape: Conv,
    numerics: Numerics,
    weight: Vec<T>,
    scale: Option<Vec<T>>,
}

impl<T: Real> ProgramPasses<T> {
    /// The backward weights, packed by the first caller. Two simultaneous callers both pack: no lock is held during
    /// work that is shared with other threads, because they would wait for the lock.
    fn backward(&self) -> candle_core::Result<&ConvBackward<T>> {
        if let Some(backward) = self.backward.get() {
            return Ok(backward);
        }
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Source { shape, numerics, weight, scale }) = source.as_deref() {
            let packed = profile::outside(Work::Packing, || {
                ConvBackward::pack(shape, *numerics, weight, scale.as_deref())
            });
            let backward = self.backward.get_or_init(|| packed);
            self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Ok(backward);
        }
        // Another thread has just packed them.
        match self.backward.get() {
            Some(backward) => Ok(backward),
            None => candle_core::bail!("a convolution without backward weights"),
        }
    }
}

/// A compiled frozen network. Its backward pass needs the tape of the forward pass, and the forward values only if
/// the schedule keeps some.
#[derive(Debug)]
struct Program<T: Real> {
    schedule: Instructions,
    units: Vec<Unit<T>>,
}

impl<T: Real> Program<T> {
    fn new(classifier: &Classifier) -> Result<Self> {
        let network = classifier.network();
        let wants = Wants { weights: false, pixels: true };
        let schedule = Instructions::new(network, true, wants, |_| false);
        let weights =
            network.parameters().iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum();
        let units = tasks::map(weights, 0..schedule.steps().len(), |i| unit(classifier, &schedule, i));
        Ok(Self { units: units.into_iter().collect::<Result<_>>()?, schedule })
    }

    fn classes(&self) -> usize {
        self.schedule.classes()
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]`, and the data that the backward pass needs.
    fn forward(&self, x: &[T], n: usize) -> candle_core::Result<(Vec<T>, Left<T>)> {
        let mut values = Buffer::take(self.schedule.values_len(n));
        let mut tape = Buffer::take(self.schedule.tape_len(n));
        let logits = self.schedule.forward((x, n), &mut values, &mut tape, |i, part| {
            match &self.units[i] {
                Unit::Conv { passes, pool: Some(pool) } => {
                    passes.forward.run_pooled(
                        pool,
                        part.finish.relu,
                        part.src,
                        part.finish.out,
                        part.winners,
                    );
                }
                Unit::Conv { passes, pool: None } => passes.forward.run(part.src, part.finish),
                Unit::Affine { scale, shift } => {
                    kernel::affine(scale, part.src, Finish { bias: Some(shift), ..part.finish });
                }
                Unit::Slopes(slopes) => kernel::prelu(slopes, part.src, part.src, part.finish),
                Unit::Weightless => self.schedule.weightless(i, part),
            }
            Ok(())
        })?;
        let values = if self.schedule.keeps_values() { values } else { Buffer::take(0) };
        Ok((logits, Left { tape, values }))
    }

    /// Gradient of the pixels from the gradient of the logits, `[n, classes]`, and the data that the forward pass
    /// kept.
    fn backward(&self, gradient: &[T], n: usize, left: &Left<T>) -> candle_core::Result<Vec<T>> {
        let mut memory = Buffer::take(self.schedule.gradients_len(n));
        self.schedule.backward((gradient, n), &mut memory, (&left.tape, &left.values), |i, part| {
            match &self.units[i] {
                Unit::Conv { passes, pool: Some(pool) } => {
                    passes.backward()?.run_pooled(pool, part.winners, part.src, part.finish);
                }
                Unit::Conv { passes, pool: None } => passes.backward()?.run(part.src, part.finish),
                Unit::Affine { scale, .. } => kernel::affine(scale, part.src, part.finish),
                Unit::Slopes(slopes) => kernel::prelu(slopes, part.operands[0], part.src, part.finish),
                Unit::Weightless => self.schedule.weightless_gradient(i, part),
            }
            Ok(())
        })
    }
}

/// Data that a forward pass keeps for the backward pass.
struct Left<T: Real> {
    tape: Buffer<u8>,
    /// Empty if the backward pass does not read them.
    values: Buffer<T>,
}

/// A program, shared by any number of passes.
#[derive(Debug)]
pub(super) struct Compiled<T: Real>(Arc<Program<T>>);

impl<T: Real> Compiled<T> {
    /// Packs the current weights of `classifier`.
    pub(super) fn new(classifier: &Classifier) -> Result<Self> {
        profile::outside(Work::Packing, || Ok(Self(Arc::new(Program::new(classifier)?))))
    }
}

impl<T: Real> Snapshot for Compiled<T> {
    fn logits(&self, pixels: &Tensor) -> Result<Tensor> {
        Ok(pixels.apply_op1(Pass { program: self.0.clone(), left: OnceLock::new() })?)
    }
}

/// One forward pass and the data that it keeps, so that any number of passes can exist at once.
struct Pass<T: Real> {
    program: Arc<Program<T>>,
    left: OnceLock<Left<T>>,
}

impl<T: Real> CustomOp1 for Pass<T> {
    fn name(&self) -> &'static str {
        "frozen-network"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice::<T>(x, layout)?;
        let n = layout.dims()[0];
        let cost = self.program.schedule.values_len(n);
        let (logits, left) = tasks::within(cost, || self.program.forward(x, n))?;
        if self.left.set(left).is_err() {
            candle_core::bail!("what a pass leaves serves one pass");
        }
        Ok((T::to_cpu_storage_owned(logits), (n, self.program.classes()).into()))
    }

    fn bwd(&self, x: &Tensor, _logits: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some(left) = self.left.get() else { candle_core::bail!("backward of a network that never ran") };
        let n = x.dim(0)?;
        let cost = self.program.schedule.gradients_len(n);
        let dx = with::<T, _>(gradient, |gradient| {
            tasks::within(cost, || self.program.backward(gradient, n, left))
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?))
    }
}

/// The numbers of a weight in double precision.
fn wide<T: Real>(weight: &Var) -> candle_core::Result<Vec<f64>> {
    with::<T, _>(weight, |numbers| Ok(numbers.iter().map(|x| x.to_f64()).collect()))
}

/// Scale and shift that are equivalent to batch norm in evaluation mode, one per channel.
fn affine<T: Real>(
    classifier: &Classifier,
    norm: &BatchNormStep,
) -> candle_core::Result<(Vec<f64>, Vec<f64>)> {
    let moment = |part| wide::<T>(classifier.weight(&norm.name, part));
    let (mean, variance) = (moment("running_mean")?, moment("running_var")?);
    let (weight, bias) = match classifier.affine(&norm.name) {
        Some([weight, bias]) => (wide::<T>(weight)?, wide::<T>(bias)?),
        None => (vec![1.0; mean.len()], vec![0.0; mean.len()]),
    };
    let root = |v: &f64| (v + norm.epsilon).sqrt();
    let scale: Vec<f64> = weight.iter().zip(&variance).map(|(w, v)| w / root(v)).collect();
    let shift = bias.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
    Ok((scale, shift))
}

fn unit<T: Real>(classifier: &Classifier, schedule: &Instructions, i: usize) -> Result<Unit<T>> {
    if let Some([scale, shift]) = schedule.affine(i) {
        return Ok(Unit::Affine { scale: narrow(scale), shift: narrow(shift) });
    }
    let step = &schedule.steps()[i];
    Ok(match &step.kind {
        Operation::Conv { name, shape, bias, norm, pool } => {
            let shape = schedule.conv(step, shape);
            let passes = Box::new(conv(classifier, name, (shape, *bias), norm.as_ref())?);
            Unit::Conv { passes, pool: *pool }
        }
        Operation::BatchNorm(norm) => {
            let (mut scale, mut shift) = affine::<T>(classifier, norm)?;
            for values in [&mut scale, &mut shift] {
                values.resize(kernel::stored(values.len()), 0.0);
            }
            Unit::Affine { scale: narrow(&scale), shift: narrow(&shift) }
        }
        Operation::PRelu { name, .. } => {
            let channels = schedule.channels(step);
            let read = |weight: &[T]| Ok(slopes(weight, channels));
            Unit::Slopes(with::<T, _>(classifier.weight(name, "weight"), read)?)
        }
        _ => Unit::Weightless,
    })
}

fn conv<T: Real>(
    classifier: &Classifier,
    name: &str,
    (shape, bias): (Conv, bool),
    norm: Option<&BatchNormStep>,
) -> candle_core::Result<ProgramPasses<T>> {
    let numerics = classifier.network().numerics();
    let mut shift = bias.then(|| wide::<T>(classifier.weight(name, "bias"))).transpose()?;
    let mut scale = None;
    if let Some(norm) = norm {
        let (by, add) = affine::<T>(classifier, norm)?;
        let old = shift.unwrap_or_else(|| vec![0.0; add.len()]);
        shift = Some(old.iter().zip(by.iter().zip(&add)).map(|(o, (s, a))| o * s + a).collect());
        scale = Some(narrow::<T>(&by));
    }
    let shift: Option<Vec<T>> = shift.map(|s| narrow(&s));
    with::<T, _>(classifier.weight(name, "weight"), |weight| {
        let forward = ConvForward::pack(&shape, numerics, weight, shift.as_deref(), scale.as_deref());
        let source = Source { shape, numerics, weight: weight.to_vec(), scale };
        Ok(ProgramPasses { forward, backward: OnceLock::new(), source: Mutex::new(Some(Arc::new(source))) })
    })
}
