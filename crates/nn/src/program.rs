//! A frozen network: batch norm folded, weights packed, and its schedule.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{DType, Var};
use rayon::prelude::*;

use crate::classifier::Classifier;
use crate::error::{Error, Result};
use crate::kernel::{self, Buffer, Conv, ConvBackward, ConvForward, Finish, Numerics, Pool, Real};
use crate::plan::{Kind, Step, plan};
use crate::schedule::{Schedule, Wants};
use crate::storage::{narrow, with};

/// What one step computes, with its weights packed.
#[derive(Debug)]
enum Unit<T: Real> {
    Conv {
        passes: Box<Passes<T>>,
        pool: Option<Pool>,
    },
    /// Scale and shift of each channel: a batch norm that no convolution precedes.
    Affine {
        scale: Vec<T>,
        shift: Vec<T>,
    },
    Weightless,
}

/// Both passes of a convolution. Many a network is only asked for logits, so that the way back is packed when it is first gone.
#[derive(Debug)]
struct Passes<T: Real> {
    forward: ConvForward<T>,
    backward: OnceLock<ConvBackward<T>>,
    /// What the way back is made of, until it is.
    source: Mutex<Option<Arc<Source<T>>>>,
}

/// A convolution's weight as torch stores it, each output channel times its scale.
#[derive(Debug)]
struct Source<T: Real> {
    shape: Conv,
    numerics: Numerics,
    weight: Vec<T>,
    scale: Option<Vec<T>>,
}

impl<T: Real> Passes<T> {
    /// The way back, packed by whoever comes first. Two that come at once both pack: no lock is held over work that is shared with
    /// other threads.
    fn backward(&self) -> candle_core::Result<&ConvBackward<T>> {
        if let Some(backward) = self.backward.get() {
            return Ok(backward);
        }
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Source { shape, numerics, weight, scale }) = source.as_deref() {
            let packed = ConvBackward::pack(shape, *numerics, weight, scale.as_deref());
            let backward = self.backward.get_or_init(|| packed);
            self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Ok(backward);
        }
        // Somebody else has just packed it.
        match self.backward.get() {
            Some(backward) => Ok(backward),
            None => candle_core::bail!("a convolution without a way back"),
        }
    }
}

/// A frozen network, compiled. Its backward pass needs the tape, and nothing else of the forward pass.
#[derive(Debug)]
pub(crate) struct Program<T: Real> {
    schedule: Schedule,
    units: Vec<Unit<T>>,
}

impl<T: Real> Program<T> {
    pub(crate) fn new(classifier: &Classifier) -> Result<Self> {
        let network = classifier.network();
        let wants = Wants { weights: false, pixels: true };
        let schedule = Schedule::new(network, plan(network, true), wants, |_| false);
        let units = schedule.plan.steps.par_iter().map(|step| unit(classifier, step));
        Ok(Self { units: units.collect::<Result<_>>()?, schedule })
    }

    /// Bytes of the tape of `n` samples.
    pub(crate) fn tape_len(&self, n: usize) -> usize {
        self.schedule.tape_len(n)
    }

    pub(crate) fn classes(&self) -> usize {
        self.schedule.classes()
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]`.
    pub(crate) fn forward(&self, x: &[T], n: usize, tape: &mut [u8]) -> candle_core::Result<Vec<T>> {
        let mut values = Buffer::take(self.schedule.values_len(n));
        self.schedule.forward((x, n), &mut values, tape, |i, part| {
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
                Unit::Weightless => self.schedule.weightless(i, part),
            }
            Ok(())
        })
    }

    /// Gradient of the pixels from that of the logits, `[n, classes]`, and the tape of the forward pass.
    pub(crate) fn backward(&self, gradient: &[T], n: usize, tape: &[u8]) -> candle_core::Result<Vec<T>> {
        let mut memory = Buffer::take(self.schedule.gradients_len(n));
        self.schedule.backward((gradient, n), &mut memory, tape, |i, part| {
            match &self.units[i] {
                Unit::Conv { passes, pool: Some(pool) } => {
                    passes.backward()?.run_pooled(pool, part.winners, part.src, part.finish);
                }
                Unit::Conv { passes, pool: None } => passes.backward()?.run(part.src, part.finish),
                Unit::Affine { scale, .. } => kernel::affine(scale, part.src, part.finish),
                Unit::Weightless => self.schedule.weightless_gradient(i, part),
            }
            Ok(())
        })
    }
}

/// Scale and shift that batch norm in evaluation mode amounts to, one a channel.
fn affine(classifier: &Classifier, name: &str) -> Result<(Vec<f64>, Vec<f64>)> {
    let numbers = |var: &Var| Ok::<_, Error>(var.to_dtype(DType::F64)?.to_vec1::<f64>()?);
    let moment = |part| numbers(classifier.weight(name, part));
    let (mean, variance) = (moment("running_mean")?, moment("running_var")?);
    let (weight, bias) = match classifier.affine(name) {
        Some([weight, bias]) => (numbers(weight)?, numbers(bias)?),
        None => (vec![1.0; mean.len()], vec![0.0; mean.len()]),
    };
    let root = |v: &f64| (v + kernel::EPSILON).sqrt();
    let scale: Vec<f64> = weight.iter().zip(&variance).map(|(w, v)| w / root(v)).collect();
    let shift = bias.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
    Ok((scale, shift))
}

fn unit<T: Real>(classifier: &Classifier, step: &Step) -> Result<Unit<T>> {
    Ok(match &step.kind {
        Kind::Conv { name, shape, bias, norm, pool } => {
            let numerics = classifier.network().numerics();
            let passes = Box::new(conv(classifier, name, (shape, *bias), norm.as_deref(), numerics)?);
            Unit::Conv { passes, pool: *pool }
        }
        Kind::BatchNorm { name } => {
            let (mut scale, mut shift) = affine(classifier, name)?;
            for values in [&mut scale, &mut shift] {
                values.resize(kernel::stored(values.len()), 0.0);
            }
            Unit::Affine { scale: narrow(&scale), shift: narrow(&shift) }
        }
        _ => Unit::Weightless,
    })
}

fn conv<T: Real>(
    classifier: &Classifier,
    name: &str,
    (shape, bias): (&Conv, bool),
    norm: Option<&str>,
    numerics: Numerics,
) -> Result<Passes<T>> {
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
    Ok(with::<T, _>(classifier.weight(name, "weight"), |weight| {
        let forward = ConvForward::pack(shape, numerics, weight, shift.as_deref(), scale.as_deref());
        let source = Source { shape: *shape, numerics, weight: weight.to_vec(), scale };
        Ok(Passes { forward, backward: OnceLock::new(), source: Mutex::new(Some(Arc::new(source))) })
    })?)
}
