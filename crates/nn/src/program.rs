//! A frozen network as two straight-line programs, of logits and of their gradient, over memory that is planned once.
//!
//! The forward program leaves a tape of one sign bit for each `ReLU` and one byte for each pooled output; the backward program
//! needs nothing else. Every instruction writes a gradient that is already zero where the `ReLU` below is shut.

use rayon::prelude::*;

use crate::classifier::Classifier;
use crate::error::{Error, Result};
use crate::kernel::{self, Buffer, Conv, ConvBackward, ConvForward, Finish, Numerics, Pool, Real};
use crate::memory::Layout;
use crate::ops::{narrow, with};
use crate::plan::{Kind, Plan, Step, plan};

use candle_core::DType;

/// What one step computes, with its weights packed.
#[derive(Debug)]
enum Unit<T: Real> {
    Normalize {
        mean: Vec<T>,
        std: Vec<T>,
    },
    Conv {
        passes: Box<(ConvForward<T>, ConvBackward<T>)>,
        pool: Option<Pool>,
    },
    /// Scale and shift of each channel: a batch norm that no convolution precedes.
    Affine {
        scale: Vec<T>,
        shift: Vec<T>,
    },
    MaxPool(Pool),
    AveragePool(Pool),
    GlobalAverage,
    /// So many channels, from this one of the result on.
    Place(usize, usize),
    /// What it reads, as it is.
    Pass,
}

/// What an instruction reads, adds and writes: values of the forward program, gradients of the backward one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    /// `None`: the pixels.
    pub(crate) src: Option<usize>,
    pub(crate) add: Option<usize>,
    /// `None`: the gradient of the pixels.
    pub(crate) dst: Option<usize>,
}

/// What a step reads, adds and writes.
fn access(step: &Step) -> Access {
    let src = (!matches!(step.kind, Kind::Normalize { .. })).then_some(step.input);
    Access { src, add: step.addend, dst: Some(step.output) }
}

/// One instruction of the backward program.
#[derive(Debug)]
struct Back {
    /// Whose input gradient this is; `None`: the gradient goes on as it is.
    step: Option<usize>,
    access: Access,
    /// Value whose `ReLU` shuts the result.
    open: Option<usize>,
}

/// A frozen network, compiled.
#[derive(Debug)]
pub(crate) struct Program<T: Real> {
    plan: Plan,
    units: Vec<Unit<T>>,
    forward: Layout,
    back: Vec<Back>,
    backward: Layout,
    /// First byte on the tape, per sample, of each value's signs.
    signs: Vec<Option<usize>>,
    /// First byte on the tape, per sample, of each step's winning taps.
    winners: Vec<Option<usize>>,
    tape: usize,
    pixels: [usize; 3],
    classes: usize,
}

fn len([c, h, w]: [usize; 3]) -> usize {
    c * h * w
}

impl<T: Real> Program<T> {
    pub(crate) fn new(classifier: &Classifier) -> Result<Self> {
        let network = classifier.network();
        let plan = plan(network, true);
        let units = plan.steps.par_iter().map(|step| unit(classifier, step)).collect::<Result<Vec<_>>>()?;
        let (mut signs, mut winners, mut tape) = (vec![None; plan.shapes.len()], vec![], 0);
        for step in &plan.steps {
            let size = len(plan.shapes[step.output]);
            let pools = matches!(step.kind, Kind::MaxPool(_) | Kind::Conv { pool: Some(_), .. });
            winners.push(pools.then_some(tape));
            if pools {
                tape += size;
            } else if step.relu {
                signs[step.output] = Some(tape);
                tape += size / 8;
            }
        }
        let accesses: Vec<Access> = plan.steps.iter().map(access).collect();
        let sizes: Vec<usize> = plan.shapes.iter().map(|shape| len(*shape)).collect();
        let forward = Layout::of(&accesses, &sizes, plan.steps.last().map(|step| step.output));
        let (back, gradients) = backward(&plan, &signs, &winners);
        let accesses: Vec<Access> = back.iter().map(|back| back.access).collect();
        let backward = Layout::of(&accesses, &gradients, None);
        let (pixels, classes) = (network.input_shape(), network.classes());
        Ok(Self { plan, units, forward, back, backward, signs, winners, tape, pixels, classes })
    }

    /// Bytes of the tape of `n` samples.
    pub(crate) fn tape_len(&self, n: usize) -> usize {
        self.tape * n
    }

    pub(crate) fn classes(&self) -> usize {
        self.classes
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]`.
    pub(crate) fn forward(&self, x: &[T], n: usize, tape: &mut [u8]) -> Vec<T> {
        let mut memory = Buffer::take(self.forward.len() * n);
        for (i, (step, unit)) in self.plan.steps.iter().zip(&self.units).enumerate() {
            let (src, addend, out) = self.forward.slices(&mut memory, access(step), n);
            let (input, output) = (self.plan.shapes[step.input], self.plan.shapes[step.output]);
            let size = len(output) * n;
            let winners = self.winners[i].map(|at| at * n..at * n + size);
            let signs = self.signs[step.output].map(|at| at * n..at * n + size / 8);
            let finish = Finish { addend, relu: step.relu, ..Finish::plain(out) };
            match unit {
                Unit::Normalize { mean, std } => {
                    kernel::normalize(self.pixels, output[0], mean, std, x, finish.out);
                }
                Unit::Conv { passes, pool: Some(pool) } => {
                    let winners = &mut tape[winners.unwrap_or_default()];
                    passes.0.run_pooled(pool, step.relu, src, finish.out, winners);
                }
                Unit::MaxPool(pool) => {
                    let winners = &mut tape[winners.unwrap_or_default()];
                    kernel::max_pool(pool, input, src, finish.out, winners);
                }
                Unit::AveragePool(pool) => kernel::average_pool(pool, input, src, finish.out),
                Unit::GlobalAverage => kernel::global_average(input, src, finish.out),
                Unit::Place(channels, first) => {
                    kernel::place(src, (input[0], 0), *channels, (output[0], *first), finish);
                }
                Unit::Conv { passes, pool: None } => {
                    passes.0.run(src, Finish { signs: signs.map(|range| &mut tape[range]), ..finish });
                }
                Unit::Affine { scale, shift } => {
                    let signs = signs.map(|range| &mut tape[range]);
                    kernel::affine(scale, src, Finish { bias: Some(shift), signs, ..finish });
                }
                Unit::Pass => {
                    kernel::pass(src, Finish { signs: signs.map(|range| &mut tape[range]), ..finish });
                }
            }
        }
        let Some(last) = self.plan.steps.last() else { return vec![] };
        let logits = &memory[self.forward.range(last.output, n)];
        let stored = logits.len() / n.max(1);
        logits.chunks_exact(stored.max(1)).flat_map(|row| row[..self.classes].iter().copied()).collect()
    }

    /// Gradient of the pixels from that of the logits, `[n, classes]`, and the tape of the forward pass.
    pub(crate) fn backward(&self, gradient: &[T], n: usize, tape: &[u8]) -> Vec<T> {
        let mut pixels = vec![T::ZERO; len(self.pixels) * n];
        let Some(first) = self.back.first() else { return pixels };
        let mut memory = Buffer::take(self.backward.len() * n);
        let seed = &mut memory[first.access.src.map_or(0..0, |seed| self.backward.range(seed, n))];
        let stored = seed.len() / n.max(1);
        for (row, gradient) in seed.chunks_exact_mut(stored).zip(gradient.chunks_exact(self.classes)) {
            row[..self.classes].copy_from_slice(gradient);
            row[self.classes..].fill(T::ZERO);
        }
        let mut reached = false;
        for back in &self.back {
            let (src, addend, out) = self.backward.slices(&mut memory, back.access, n);
            let open = back.open.and_then(|value| {
                let at = self.signs[value]?;
                Some(&tape[at * n..at * n + len(self.plan.shapes[value]) * n / 8])
            });
            let Some(i) = back.step else {
                kernel::pass(src, Finish { addend, open, ..Finish::plain(out) });
                continue;
            };
            let step = &self.plan.steps[i];
            let (input, output) = (self.plan.shapes[step.input], self.plan.shapes[step.output]);
            let winners = self.winners[i].map(|at| &tape[at * n..at * n + len(output) * n]);
            let winners = winners.unwrap_or_default();
            let finish = Finish { addend, open, ..Finish::plain(out) };
            match &self.units[i] {
                Unit::Normalize { std, .. } => {
                    kernel::normalize_gradient(self.pixels, output[0], std, src, reached, &mut pixels);
                    reached = true;
                }
                Unit::Conv { passes, pool: Some(pool) } => {
                    passes.1.run_pooled(pool, winners, src, finish);
                }
                Unit::Conv { passes, pool: None } => passes.1.run(src, finish),
                Unit::Affine { scale, .. } => kernel::affine(scale, src, finish),
                Unit::MaxPool(pool) => kernel::max_pool_gradient(pool, input, winners, src, finish),
                Unit::AveragePool(pool) => kernel::average_pool_gradient(pool, input, src, finish),
                Unit::GlobalAverage => kernel::global_average_gradient(input, src, finish),
                Unit::Place(channels, first) => {
                    kernel::place(src, (output[0], *first), *channels, (input[0], 0), finish);
                }
                Unit::Pass => kernel::pass(src, finish),
            }
        }
        pixels
    }
}

/// The backward program, and the numbers of one sample of each of its gradients.
fn backward(plan: &Plan, signs: &[Option<usize>], winners: &[Option<usize>]) -> (Vec<Back>, Vec<usize>) {
    let (mut code, mut sizes) = (vec![], vec![]);
    let mut fresh = |value: usize| {
        sizes.push(len(plan.shapes[value]));
        sizes.len() - 1
    };
    // The gradient of each value so far: where it is, and whether it is 0 where the value's `ReLU` is shut.
    let mut gradients: Vec<Option<(usize, bool)>> = vec![None; plan.shapes.len()];
    if let Some(last) = plan.steps.last() {
        gradients[last.output] = Some((fresh(last.output), false));
    }
    for (i, step) in plan.steps.iter().enumerate().rev() {
        let Some((mut g, shut)) = gradients[step.output].take() else { continue };
        if !shut && signs[step.output].is_some() {
            let dst = fresh(step.output);
            let access = Access { src: Some(g), add: None, dst: Some(dst) };
            code.push(Back { step: None, access, open: Some(step.output) });
            g = dst;
        }
        if let Kind::Normalize { .. } = step.kind {
            code.push(Back {
                step: Some(i),
                access: Access { src: Some(g), add: None, dst: None },
                open: None,
            });
            continue;
        }
        // A step without work of its own hands its gradient on.
        let passes = matches!(step.kind, Kind::Add) && winners[i].is_none();
        let mut give = |value: usize, work: Option<usize>| {
            let open = signs[value].map(|_| value);
            gradients[value] = Some(match (gradients[value], work) {
                (None, None) => (g, open.is_none()),
                (old, work) => {
                    let dst = fresh(value);
                    let access = Access { src: Some(g), add: old.map(|(old, _)| old), dst: Some(dst) };
                    code.push(Back { step: work, access, open });
                    (dst, true)
                }
            });
        };
        give(step.input, if passes { None } else { Some(i) });
        if let Some(addend) = step.addend {
            give(addend, None);
        }
    }
    (code, sizes)
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

fn unit<T: Real>(classifier: &Classifier, step: &Step) -> Result<Unit<T>> {
    Ok(match &step.kind {
        Kind::Normalize { mean, std } => Unit::Normalize { mean: narrow(mean), std: narrow(std) },
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
        Kind::MaxPool(pool) => Unit::MaxPool(*pool),
        Kind::AveragePool(pool) => Unit::AveragePool(*pool),
        Kind::GlobalAveragePool => Unit::GlobalAverage,
        Kind::Place { channels, first } => Unit::Place(*channels, *first),
        Kind::Add => Unit::Pass,
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
