//! A network in training mode on a CPU: seen from candle one operation, over memory that is planned once.
//!
//! Candle's graph reaches the network's end and, if asked, its pixels. The weights are not in it: a backward pass leaves their
//! gradients with a collector. Between forward and backward pass stand the inputs of convolutions and batch norms, the moments,
//! and the tape.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Shape, Tensor, bail};

use crate::classifier::{BatchNorm, Classifier};
use crate::error::Result;
use crate::gradients::{Collector, Numbers};
use crate::kernel::{self, Buffer, ConvBackward, ConvForward, Finish, Moments, Numerics, Real, stored};
use crate::plan::{Kind, plan};
use crate::schedule::{Backward, Forward, Schedule, Wants};
use crate::storage::{slice, with};

/// Logits `[n, classes]` of contiguous pixels on a CPU, tracked back to pixels that are variables, and to the weights if it `trains`.
pub(crate) fn logits(
    classifier: &Classifier,
    pixels: &Tensor,
    trains: bool,
    norm: BatchNorm,
) -> Result<Tensor> {
    match classifier.dtype() {
        DType::F64 => run::<f64>(classifier, pixels, trains, norm),
        _ => run::<f32>(classifier, pixels, trains, norm),
    }
}

fn run<T: Real>(classifier: &Classifier, pixels: &Tensor, trains: bool, norm: BatchNorm) -> Result<Tensor>
where
    Numbers: From<Buffer<T>>,
{
    let network = classifier.network();
    let wants = Wants { weights: trains, pixels: pixels.track_op() };
    let schedule = Schedule::new(network, plan(network, false), wants, |step| match step.kind {
        Kind::Conv { .. } => trains,
        Kind::BatchNorm { .. } => true,
        _ => false,
    });
    let weights = schedule.plan.steps.iter().map(|step| Weights::of(classifier, &step.kind));
    let given = match norm {
        BatchNorm::Frozen => schedule.plan.steps.iter().map(|step| running(classifier, &step.kind)).collect(),
        BatchNorm::Update | BatchNorm::Keep => Ok(vec![None; schedule.plan.steps.len()]),
    };
    let (numerics, collector) = (network.numerics(), trains.then(|| classifier.collector().clone()));
    let weights = weights.collect::<Result<_>>()?;
    let pass =
        Arc::new(Pass::<T> { schedule, numerics, weights, given: given?, collector, left: OnceLock::new() });
    // Where the weights stand in candle's graph.
    let anchor = classifier.anchor();
    let anchor = if trains { anchor.as_tensor().clone() } else { anchor.as_detached_tensor() };
    let logits = pixels.apply_op2(&anchor, Op(pass.clone()))?;
    if let (BatchNorm::Update, Some(left)) = (norm, pass.left.get()) {
        for (step, moments) in pass.schedule.plan.steps.iter().zip(&left.moments) {
            if let (Kind::BatchNorm { name }, Some(moments)) = (&step.kind, moments) {
                let [_, h, w] = pass.schedule.plan.shapes[step.input];
                classifier.move_statistics(name, pixels.dim(0)? * h * w, moments)?;
            }
        }
    }
    Ok(logits)
}

/// The weight and the bias of a step that has any.
struct Weights {
    layer: String,
    weight: Tensor,
    bias: Option<Tensor>,
    /// Whether they are the network's, not the 1 and 0 of a batch norm without any.
    own: bool,
}

impl Weights {
    fn of(classifier: &Classifier, kind: &Kind) -> Result<Option<Self>> {
        let (layer, bias) = match kind {
            Kind::Conv { name, bias, .. } => (name, *bias),
            Kind::BatchNorm { name } => (name, true),
            _ => return Ok(None),
        };
        let read = |part| classifier.weight(layer, part).as_detached_tensor();
        let own = matches!(kind, Kind::Conv { .. }) || classifier.affine(layer).is_some();
        let (weight, bias) = match own {
            true => (read("weight"), bias.then(|| read("bias"))),
            false => (read("running_mean").ones_like()?, Some(read("running_mean").zeros_like()?)),
        };
        Ok(Some(Self { layer: layer.clone(), weight, bias, own }))
    }

    /// Calls `f` with the numbers of both.
    fn with<T: Real, R>(
        &self,
        f: impl FnOnce(&[T], Option<&[T]>) -> candle_core::Result<R>,
    ) -> candle_core::Result<R> {
        with(&self.weight, |weight| match &self.bias {
            Some(bias) => with(bias, |bias| f(weight, Some(bias))),
            None => f(weight, None),
        })
    }
}

/// The running statistics of a batch norm.
fn running(classifier: &Classifier, kind: &Kind) -> Result<Option<Moments>> {
    let Kind::BatchNorm { name } = kind else { return Ok(None) };
    let read = |part| {
        let values = classifier.weight(name, part).to_dtype(DType::F64)?.to_vec1::<f64>()?;
        Ok::<_, candle_core::Error>(filled(&values))
    };
    Ok(Some(Moments { mean: read("running_mean")?, variance: read("running_var")? }))
}

/// One number a stored channel: 0 beyond the true ones.
fn filled<T: Real>(values: &[T]) -> Vec<T> {
    let mut all = values.to_vec();
    all.resize(stored(values.len()), T::ZERO);
    all
}

/// One pass through the network.
struct Pass<T: Real> {
    schedule: Schedule,
    numerics: Numerics,
    /// Of each step.
    weights: Vec<Option<Weights>>,
    /// Moments to normalise by; left out, the batch's own.
    given: Vec<Option<Moments>>,
    collector: Option<Collector>,
    left: OnceLock<Left<T>>,
}

/// What the forward pass leaves for the backward pass.
struct Left<T: Real> {
    values: Buffer<T>,
    tape: Buffer<u8>,
    /// Of the batch norms, by step.
    moments: Vec<Option<Moments>>,
}

impl<T: Real> Pass<T>
where
    Numbers: From<Buffer<T>>,
{
    fn forward(&self, x: &[T], n: usize) -> candle_core::Result<Vec<T>> {
        let mut values = Buffer::take(self.schedule.values_len(n));
        let mut tape = Buffer::take(self.schedule.tape_len(n));
        let mut moments = self.given.clone();
        let logits = self.schedule.forward((x, n), &mut values, &mut tape, |i, part| {
            match &self.weights[i] {
                Some(weights) => weights.with(|w, b| {
                    self.step(i, part, (w, b), &mut moments[i]);
                    Ok(())
                })?,
                None => self.schedule.weightless(i, part),
            }
            Ok(())
        })?;
        if self.left.set(Left { values, tape, moments }).is_err() {
            bail!("what a pass leaves serves one pass");
        }
        Ok(logits)
    }

    fn step(
        &self,
        i: usize,
        part: Forward<'_, T>,
        (weight, bias): (&[T], Option<&[T]>),
        moments: &mut Option<Moments>,
    ) {
        let Forward { src, finish, winners, .. } = part;
        let Kind::Conv { shape, pool, .. } = &self.schedule.plan.steps[i].kind else {
            let (weight, bias) = (filled(weight), filled(bias.unwrap_or_default()));
            let moments = moments.get_or_insert_with(|| kernel::moments(src, weight.len()));
            return kernel::batch_norm(src, moments, &weight, &bias, finish);
        };
        let packed = ConvForward::pack(shape, self.numerics, weight, bias, None);
        match pool {
            Some(pool) => packed.run_pooled(pool, finish.relu, src, finish.out, winners),
            None => packed.run(src, finish),
        }
    }

    /// Gradient of the pixels, zeros if it is not wanted. Those of the weights go to the collector.
    fn backward(&self, gradient: &[T], n: usize) -> candle_core::Result<Vec<T>> {
        let Some(left) = self.left.get() else { bail!("backward of a pass that never ran") };
        let mut memory = Buffer::take(self.schedule.gradients_len(n));
        self.schedule.backward((gradient, n), &mut memory, &left.tape, |i, part| {
            let Some(weights) = &self.weights[i] else {
                self.schedule.weightless_gradient(i, part);
                return Ok(());
            };
            let gradients = weights.with(|w, _| Ok(self.step_gradients(i, part, w, (left, n))))?;
            let (Some(collector), Some([of_weight, of_bias])) = (&self.collector, gradients) else {
                return Ok(());
            };
            if !weights.own {
                return Ok(());
            }
            let name = |part| format!("{}.{part}", weights.layer);
            if let Some(bias) = &weights.bias {
                let mut of_bias = of_bias;
                of_bias.truncate(bias.elem_count());
                collector.add(&name("bias"), bias.dims(), of_bias).map_err(candle_core::Error::wrap)?;
            }
            let mut of_weight = of_weight;
            of_weight.truncate(weights.weight.elem_count());
            let shape = weights.weight.dims();
            collector.add(&name("weight"), shape, of_weight).map_err(candle_core::Error::wrap)
        })
    }

    /// Gives the input gradient of a step with weights, and returns those of weight and bias if they are collected.
    fn step_gradients(
        &self,
        i: usize,
        part: Backward<'_, T>,
        weight: &[T],
        (left, n): (&Left<T>, usize),
    ) -> Option<[Buffer<T>; 2]> {
        let Backward { src, finish, winners, wanted, .. } = part;
        let Kind::Conv { shape, pool, bias, .. } = &self.schedule.plan.steps[i].kind else {
            let (x, moments) = (self.schedule.kept(i, n, &left.values), left.moments[i].as_ref()?);
            let own = self.given[i].is_none();
            let finish = wanted.then_some(finish);
            return Some(kernel::batch_norm_gradients(x, (moments, own), &filled(weight), src, finish));
        };
        if wanted {
            let packed = ConvBackward::pack(shape, self.numerics, weight, None);
            match pool {
                Some(pool) => packed.run_pooled(pool, winners, src, finish),
                None => packed.run(src, finish),
            }
        }
        self.collector.as_ref()?;
        let mut unpooled;
        let dy = match pool {
            Some(pool) => {
                let [c, h, w] = shape.output();
                unpooled = Buffer::take(n * stored(c) * h * w);
                let finish = Finish::plain(&mut unpooled);
                kernel::max_pool_gradient(pool, [stored(c), h, w], winners, src, finish);
                &unpooled[..]
            }
            None => src,
        };
        let x = self.schedule.kept(i, n, &left.values);
        let of_bias = if *bias { kernel::column_sums(dy, stored(shape.channels)) } else { Buffer::take(0) };
        Some([kernel::conv_weight_gradient(shape, self.numerics, x, dy), of_bias])
    }
}

/// A pass as candle sees it: logits of the pixels, and of what stands for the weights.
struct Op<T: Real>(Arc<Pass<T>>);

impl<T: Real> CustomOp2 for Op<T>
where
    Numbers: From<Buffer<T>>,
{
    fn name(&self) -> &'static str {
        "network"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _anchor: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, n) = (slice::<T>(x, layout)?, layout.dims()[0]);
        let logits = self.0.forward(x, n)?;
        Ok((T::to_cpu_storage_owned(logits), (n, self.0.schedule.classes()).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _anchor: &Tensor,
        _logits: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = with::<T, _>(gradient, |gradient| self.0.backward(gradient, x.dim(0)?))?;
        let dx = x.track_op().then(|| Tensor::from_vec(dx, x.shape(), &Device::Cpu)).transpose()?;
        Ok((dx, None))
    }
}
