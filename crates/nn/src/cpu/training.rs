//! A network in training mode on a CPU: for candle a single operation, over memory that is planned once.
//!
//! Candle's graph contains the network's output and, if requested, its pixels. It does not contain the weights: a
//! backward pass adds their gradients to a collector. Between the forward and the backward pass, memory holds the
//! inputs of convolutions and batch norms, the moments, and the tape.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Shape, Tensor, bail};

use super::kernel::{self, Buffer, Conv, ConvBackward, ConvForward, Finish, Moments, Real, stored, tasks};
use super::schedule::{Backward, Forward, Instructions, Wants};
use super::storage::{slice, with, with_mut};
use crate::classifier::{BatchNorm, Classifier, MOMENTUM, unbiased};
use crate::error::Result;
use crate::gradients::Collector;
use crate::graph::plan::{BatchNormStep, Operation};
use crate::graph::{ConvShape, Numerics, Pool};
use crate::profile::{self, Pass as PassKind};

/// Logits `[n, classes]` of contiguous pixels. Gradients reach the pixels if they are tracked, and the weights if
/// `trains`.
pub(super) fn logits<T: Real>(
    classifier: &Classifier,
    pixels: &Tensor,
    trains: bool,
    norm: BatchNorm,
) -> Result<Tensor> {
    let network = classifier.network();
    let wants = Wants { weights: trains, pixels: pixels.track_op() };
    let schedule = Instructions::new(network, false, wants, |step| match step.kind {
        Operation::Conv { .. } => trains,
        Operation::BatchNorm(_) => true,
        _ => false,
    });
    let weights = schedule.steps().iter().map(|step| TrainingWeights::of(classifier, &step.kind));
    let given = match norm {
        BatchNorm::Frozen => {
            schedule.steps().iter().map(|step| running::<T>(classifier, &step.kind)).collect()
        }
        BatchNorm::Update | BatchNorm::Keep => Ok(vec![None; schedule.steps().len()]),
    };
    let (numerics, collector) = (network.numerics(), trains.then(|| classifier.collector().clone()));
    let weights = weights.collect::<Result<_>>()?;
    let pass =
        Arc::new(Pass::<T> { schedule, numerics, weights, given: given?, collector, left: OnceLock::new() });
    // The variable that represents the weights in candle's graph.
    let anchor = classifier.anchor();
    let anchor = if trains { anchor.as_tensor().clone() } else { anchor.as_detached_tensor() };
    let logits = pixels.apply_op2(&anchor, Op(pass.clone()))?;
    if let (BatchNorm::Update, Some(left)) = (norm, pass.left.get()) {
        for (step, moments) in pass.schedule.steps().iter().zip(&left.moments) {
            if let (Operation::BatchNorm(norm), Some(moments)) = (&step.kind, moments) {
                let rows = pixels.dim(0)? * pass.schedule.positions(step);
                move_statistics::<T>(classifier, &norm.name, rows, moments)?;
            }
        }
    }
    Ok(logits)
}

/// Moves batch norm's running statistics, in place, towards the moments of a batch with `rows` values per channel.
fn move_statistics<T: Real>(
    classifier: &Classifier,
    layer: &str,
    rows: usize,
    moments: &Moments,
) -> candle_core::Result<()> {
    let parts = [("running_mean", &moments.mean, 1.0), ("running_var", &moments.variance, unbiased(rows))];
    for (part, batch, factor) in parts {
        with_mut::<T>(classifier.weight(layer, part), |running| {
            for (running, batch) in running.iter_mut().zip(batch) {
                let moved = running.to_f64() * (1.0 - MOMENTUM) + batch * (MOMENTUM * factor);
                *running = T::from_f64(moved);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The weight and the bias of a step that has any.
struct TrainingWeights {
    layer: String,
    weight: Tensor,
    bias: Option<Tensor>,
    /// Whether they belong to the network. If not, they are the 1 and 0 of a batch norm without weight and bias.
    own: bool,
}

impl TrainingWeights {
    fn of(classifier: &Classifier, kind: &Operation) -> Result<Option<Self>> {
        let (layer, bias) = match kind {
            Operation::Conv { name, bias, .. } => (name, *bias),
            Operation::BatchNorm(BatchNormStep { name, .. }) => (name, true),
            Operation::PRelu { name, .. } => (name, false),
            _ => return Ok(None),
        };
        let read = |part| classifier.weight(layer, part).as_detached_tensor();
        let own = !matches!(kind, Operation::BatchNorm(_)) || classifier.affine(layer).is_some();
        let (weight, bias) = match own {
            true => (read("weight"), bias.then(|| read("bias"))),
            false => (read("running_mean").ones_like()?, Some(read("running_mean").zeros_like()?)),
        };
        Ok(Some(Self { layer: layer.clone(), weight, bias, own }))
    }

    /// Calls `f` with the numbers of the weight and the bias.
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
fn running<T: Real>(classifier: &Classifier, kind: &Operation) -> candle_core::Result<Option<Moments>> {
    let Operation::BatchNorm(BatchNormStep { name, .. }) = kind else { return Ok(None) };
    let read = |part| {
        with::<T, _>(classifier.weight(name, part), |values| {
            let mut all: Vec<f64> = values.iter().map(|x| x.to_f64()).collect();
            all.resize(stored(all.len()), 0.0);
            Ok(all)
        })
    };
    Ok(Some(Moments { mean: read("running_mean")?, variance: read("running_var")? }))
}

/// One number per stored channel; 0 beyond the true channels.
fn filled<T: Real>(values: &[T]) -> Vec<T> {
    let mut all = values.to_vec();
    all.resize(stored(values.len()), T::ZERO);
    all
}

/// One slope per stored channel, from one slope per channel or a single shared slope.
pub(super) fn slopes<T: Real>(slopes: &[T], channels: usize) -> Vec<T> {
    let mut all: Vec<T> = slopes.iter().copied().cycle().take(channels).collect();
    all.resize(stored(channels), T::ZERO);
    all
}

/// One pass through the network.
struct Pass<T: Real> {
    schedule: Instructions,
    numerics: Numerics,
    /// The weights of each step.
    weights: Vec<Option<TrainingWeights>>,
    /// Moments for normalisation, by step; `None` means the batch's own moments.
    given: Vec<Option<Moments>>,
    collector: Option<Collector>,
    left: OnceLock<Left<T>>,
}

/// Data that the forward pass keeps for the backward pass.
struct Left<T: Real> {
    values: Buffer<T>,
    tape: Buffer<u8>,
    /// Moments of the batch norms, by step.
    moments: Vec<Option<Moments>>,
}

impl<T: Real> Pass<T> {
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
        let step = &self.schedule.steps()[i];
        match &step.kind {
            Operation::Conv { shape, pool, .. } => {
                let shape = self.schedule.conv(step, shape);
                let packed = profile::packing(&step.kind, PassKind::Forward, || {
                    ConvForward::pack(&shape, self.numerics, weight, bias, None)
                });
                match pool {
                    Some(pool) => packed.run_pooled(pool, finish.relu, src, finish.out, winners),
                    None => packed.run(src, finish),
                }
            }
            Operation::BatchNorm(norm) => {
                let (weight, bias) = (filled(weight), filled(bias.unwrap_or_default()));
                let moments = moments.get_or_insert_with(|| kernel::moments(src, weight.len()));
                kernel::batch_norm(src, (moments, norm.epsilon), &weight, &bias, finish);
            }
            Operation::PRelu { .. } => {
                kernel::prelu(&slopes(weight, self.schedule.channels(step)), src, src, finish);
            }
            _ => unreachable!("it has no weights"),
        }
    }

    /// Gradient of the pixels; zeros if it is not wanted. The weights' gradients go to the collector.
    fn backward(&self, gradient: &[T], n: usize) -> candle_core::Result<Vec<T>> {
        let Some(left) = self.left.get() else { bail!("backward of a pass that never ran") };
        let mut memory = Buffer::take(self.schedule.gradients_len(n));
        self.schedule.backward((gradient, n), &mut memory, (&left.tape, &left.values), |i, part| {
            let Some(weights) = &self.weights[i] else {
                self.schedule.weightless_gradient(i, part);
                return Ok(());
            };
            let gradients =
                weights.with(|w, _| Ok(self.step_gradients(i, part, w, (left.moments[i].as_ref(), n))))?;
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
                collector
                    .add(&name("bias"), bias.dims(), Box::new(of_bias))
                    .map_err(candle_core::Error::wrap)?;
            }
            let mut of_weight = of_weight;
            of_weight.truncate(weights.weight.elem_count());
            let shape = weights.weight.dims();
            collector.add(&name("weight"), shape, Box::new(of_weight)).map_err(candle_core::Error::wrap)
        })
    }

    /// Computes the input gradient of a step with weights. Returns the gradients of weight and bias if they are
    /// collected.
    fn step_gradients(
        &self,
        i: usize,
        part: Backward<'_, T>,
        weight: &[T],
        (moments, n): (Option<&Moments>, usize),
    ) -> Option<[Buffer<T>; 2]> {
        let Backward { src, finish, winners, wanted, operands: [x, _], .. } = part;
        let step = &self.schedule.steps()[i];
        let (shape, pool, bias) = match &step.kind {
            Operation::Conv { shape, pool, bias, .. } => (self.schedule.conv(step, shape), pool, *bias),
            Operation::BatchNorm(norm) => {
                let moments = (moments?, norm.epsilon, self.given[i].is_none());
                let finish = wanted.then_some(finish);
                return Some(kernel::batch_norm_gradients(x, moments, &filled(weight), src, finish));
            }
            Operation::PRelu { shared, .. } => {
                let channels = self.schedule.channels(step);
                if wanted {
                    kernel::prelu(&slopes(weight, channels), x, src, finish);
                }
                let mut gradients = kernel::slope_gradients(stored(channels), x, src);
                if *shared {
                    gradients[0] = gradients.iter().copied().sum();
                }
                return Some([gradients, Buffer::take(0)]);
            }
            _ => unreachable!("it has no weights"),
        };
        if wanted {
            let packed = profile::packing(&step.kind, PassKind::InputGradient, || {
                ConvBackward::pack(&shape, self.numerics, weight, None)
            });
            match pool {
                Some(pool) => packed.run_pooled(pool, winners, src, finish),
                None => packed.run(src, finish),
            }
        }
        self.collector.as_ref()?;
        Some(profile::step(&step.kind, PassKind::WeightGradient, || match pool {
            Some(pool) => {
                let unpooled = unpooled(&shape, pool, winners, src, n);
                self.conv_gradients(&shape, bias, x, &unpooled)
            }
            None => self.conv_gradients(&shape, bias, x, src),
        }))
    }

    /// Gradients of a convolution's weight and bias from its input and the gradient of its output.
    fn conv_gradients(&self, shape: &Conv, bias: bool, x: &[T], dy: &[T]) -> [Buffer<T>; 2] {
        let of_bias = if bias { kernel::column_sums(dy, stored(shape.channels)) } else { Buffer::take(0) };
        [kernel::conv_weight_gradient(shape, self.numerics, x, dy), of_bias]
    }
}

/// The gradient of a convolution's output from the gradient of the pooling after it.
fn unpooled<T: Real>(shape: &ConvShape, pool: &Pool, winners: &[u8], gradient: &[T], n: usize) -> Buffer<T> {
    let [c, h, w] = shape.output();
    let mut unpooled = Buffer::take(n * stored(c) * h * w);
    let finish = Finish::plain(&mut unpooled);
    kernel::max_pool_gradient(pool, [stored(c), h, w], winners, gradient, finish);
    unpooled
}

/// A pass as a candle operation: it computes logits from the pixels and the variable that represents the weights.
struct Op<T: Real>(Arc<Pass<T>>);

impl<T: Real> CustomOp2 for Op<T> {
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
        let logits = tasks::within(self.0.schedule.values_len(n), || self.0.forward(x, n))?;
        Ok((T::to_cpu_storage_owned(logits), (n, self.0.schedule.classes()).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _anchor: &Tensor,
        _logits: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let n = x.dim(0)?;
        let dx = with::<T, _>(gradient, |gradient| {
            tasks::within(self.0.schedule.gradients_len(n), || self.0.backward(gradient, n))
        })?;
        let dx = x.track_op().then(|| Tensor::from_vec(dx, x.shape(), &Device::Cpu)).transpose()?;
        Ok((dx, None))
    }
}
