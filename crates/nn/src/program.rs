//! A frozen network: batch norm folded, weights packed, and its schedule.

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
        passes: Box<(ConvForward<T>, ConvBackward<T>)>,
        pool: Option<Pool>,
    },
    /// Scale and shift of each channel: a batch norm that no convolution precedes.
    Affine {
        scale: Vec<T>,
        shift: Vec<T>,
    },
    Weightless,
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
                    passes.0.run_pooled(pool, part.finish.relu, part.src, part.finish.out, part.winners);
                }
                Unit::Conv { passes, pool: None } => passes.0.run(part.src, part.finish),
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
                    passes.1.run_pooled(pool, part.winners, part.src, part.finish);
                }
                Unit::Conv { passes, pool: None } => passes.1.run(part.src, part.finish),
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
) -> Result<(ConvForward<T>, ConvBackward<T>)> {
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
        let scale = scale.as_deref();
        Ok((
            ConvForward::pack(shape, numerics, weight, shift.as_deref(), scale),
            ConvBackward::pack(shape, numerics, weight, scale),
        ))
    })?)
}
