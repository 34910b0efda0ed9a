//! A plan as two straight-line programs, forward and backward, over memory that is planned once.
//!
//! The forward program leaves a tape of one sign bit for each `ReLU` and one byte for each pooled output. Every
//! instruction of the backward program writes a gradient that is already zero where the `ReLU` below is shut, that
//! is, where its output is 0.

use super::arrangement::{Arrangement, spread};
use super::kernel::{self, Conv, Finish, Real, stored};
use super::memory::{Layout, Slices};
use super::storage::narrow;
use crate::graph::plan::{Fusion, GraphPlan, Operation, PlanStep, plan};
use crate::graph::{ConvShape, Network};
use crate::profile::{self, Pass};

/// The operands and the result of an instruction: values in the forward program, gradients in the backward program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    /// `None`: the pixels.
    pub(crate) src: Option<usize>,
    /// The second factor of a product.
    pub(crate) factor: Option<usize>,
    pub(crate) add: Option<usize>,
    /// `None`: the gradient of the pixels, or of weights alone.
    pub(crate) dst: Option<usize>,
}

impl Access {
    fn of(step: &PlanStep) -> Self {
        let src = (!matches!(step.kind, Operation::Normalize { .. })).then_some(step.input);
        Self { src, factor: step.factor, add: step.addend, dst: Some(step.output) }
    }

    /// All values that the instruction reads.
    pub(crate) fn read(&self) -> impl Iterator<Item = usize> {
        [self.src, self.factor, self.add].into_iter().flatten()
    }
}

/// One instruction of the backward program.
#[derive(Debug)]
struct Back {
    /// The step whose gradient this is; `None` if the gradient is passed on unchanged.
    step: Option<usize>,
    /// Whether it is the gradient of the step's factor, not of its input.
    of_factor: bool,
    access: Access,
    /// Value whose `ReLU` masks the result.
    open: Option<usize>,
}

/// The gradients that a backward program computes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wants {
    pub(crate) weights: bool,
    pub(crate) pixels: bool,
}

/// Both programs, forward and backward.
#[derive(Debug)]
pub(crate) struct Instructions {
    plan: GraphPlan,
    /// Constants of each step.
    constants: Vec<Constants>,
    /// Stored channels, height and width of each value.
    shapes: Vec<[usize; 3]>,
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

/// A step's constants, as the kernels read them.
#[derive(Debug)]
enum Constants {
    None,
    /// Factors and summands, for the numbers of a position or of a sample.
    Affine([Vec<f64>; 2]),
    Gather(Arrangement),
}

/// One step's part of a forward pass: its inputs, and the memory for its result.
pub(crate) struct Forward<'m, T> {
    pub(crate) src: &'m [T],
    /// The second factor of a product.
    pub(crate) factor: &'m [T],
    pub(crate) finish: Finish<'m, T>,
    /// Receives the winning taps of a pooling.
    pub(crate) winners: &'m mut [u8],
    shapes: [[usize; 3]; 2],
}

/// One step's part of a backward pass: the gradient of its result, and the memory for the gradient of its input.
pub(crate) struct Backward<'m, T> {
    pub(crate) src: &'m [T],
    pub(crate) finish: Finish<'m, T>,
    /// The winning taps of a pooling.
    pub(crate) winners: &'m [u8],
    /// Whether the gradient of the input is requested.
    pub(crate) wanted: bool,
    /// The input and the factor of the step, if the schedule keeps them.
    pub(crate) operands: [&'m [T]; 2],
    /// Whether the gradient of the factor is requested, not that of the input.
    of_factor: bool,
    shapes: [[usize; 3]; 2],
}

fn len([c, h, w]: [usize; 3]) -> usize {
    c * h * w
}

impl Instructions {
    /// Schedules a network; if `fold`, with batch norm folded into convolutions. `keeps` returns whether the
    /// backward pass reads a step's input.
    pub(crate) fn new(
        network: &Network,
        fold: bool,
        wants: Wants,
        keeps: impl Fn(&PlanStep) -> bool,
    ) -> Self {
        // Sign bits exist only for whole panels, but a group may end within a panel.
        let finishes = |shape: &ConvShape| shape.groups == 1 || shape.is_depthwise();
        let plan = plan(network, Fusion { fold, finishes, pools: kernel::pools_at_once });
        let all = plan.shapes.iter().zip(&plan.pixels);
        let shapes: Vec<[usize; 3]> =
            all.map(|([c, h, w], pixels)| [if *pixels { *c } else { stored(*c) }, *h, *w]).collect();
        let (mut signs, mut winners, mut tape) = (vec![None; shapes.len()], vec![], 0);
        for step in &plan.steps {
            let size = len(shapes[step.output]);
            let pools = matches!(step.kind, Operation::MaxPool(_) | Operation::Conv { pool: Some(_), .. });
            winners.push(pools.then_some(tape));
            if pools {
                tape += size;
            } else if step.relu {
                signs[step.output] = Some(tape);
                tape += size / 8;
            }
        }
        let accesses: Vec<Access> = plan.steps.iter().map(Access::of).collect();
        let sizes: Vec<usize> = shapes.iter().map(|shape| len(*shape)).collect();
        let kept = plan.steps.iter().filter(|step| step.kind.is_curved() || keeps(step));
        let kept = kept.flat_map(|step| [Some(step.input), step.factor]).flatten();
        let last = plan.steps.last().map(|step| step.output);
        let forward = Layout::of(&accesses, &sizes, kept.chain(last));
        let (back, gradients) = backward(&plan, &sizes, &signs, &winners, wants);
        let accesses: Vec<Access> = back.iter().map(|back| back.access).collect();
        let backward = Layout::of(&accesses, &gradients, None);
        let (pixels, classes) = (network.input_shape(), network.classes());
        let constants = plan.steps.iter().map(|step| constants(&plan, &shapes, step)).collect();
        Self { plan, constants, shapes, forward, back, backward, signs, winners, tape, pixels, classes }
    }

    /// Whether the backward pass reads values of the forward pass, besides the tape.
    pub(crate) fn keeps_values(&self) -> bool {
        self.plan.steps.iter().any(|step| step.kind.is_curved())
    }

    /// Constant factors and summands of a step, in the order of stored values; `None` for other steps.
    pub(crate) fn affine(&self, i: usize) -> Option<&[Vec<f64>; 2]> {
        match &self.constants[i] {
            Constants::Affine(constants) => Some(constants),
            Constants::None | Constants::Gather(_) => None,
        }
    }

    /// True channels of the value that a step computes.
    pub(crate) fn channels(&self, step: &PlanStep) -> usize {
        self.plan.shapes[step.output][0]
    }

    /// Bytes of the tape for `n` samples.
    pub(crate) fn tape_len(&self, n: usize) -> usize {
        self.tape * n
    }

    /// Count of numbers in the values of `n` samples.
    pub(crate) fn values_len(&self, n: usize) -> usize {
        self.forward.len() * n
    }

    /// Count of numbers in the gradients of `n` samples.
    pub(crate) fn gradients_len(&self, n: usize) -> usize {
        self.backward.len() * n
    }

    pub(crate) fn classes(&self) -> usize {
        self.classes
    }

    pub(crate) fn steps(&self) -> &[PlanStep] {
        &self.plan.steps
    }

    /// Number of positions of a sample in the value that a step reads.
    pub(crate) fn positions(&self, step: &PlanStep) -> usize {
        let [_, h, w] = self.shapes[step.input];
        h * w
    }

    /// The convolution of a step, in the form that the kernels use.
    pub(crate) fn conv(&self, step: &PlanStep, shape: &ConvShape) -> Conv {
        Conv { shape: *shape, pixels: self.plan.pixels[step.input] }
    }

    /// The memory of the values that step `i` read. Other values may have overwritten it since, unless the schedule
    /// keeps the values.
    fn operands<'m, T>(&self, i: usize, n: usize, values: &'m [T]) -> [&'m [T]; 2] {
        let step = &self.plan.steps[i];
        let read = |value: Option<usize>| value.and_then(|value| values.get(self.forward.range(value, n)));
        [Some(step.input), step.factor].map(|value| read(value).unwrap_or_default())
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]`; `run` computes a step, given by its index, or returns an
    /// error.
    pub(crate) fn forward<T: Real>(
        &self,
        (x, n): (&[T], usize),
        values: &mut [T],
        tape: &mut [u8],
        mut run: impl FnMut(usize, Forward<'_, T>) -> candle_core::Result<()>,
    ) -> candle_core::Result<Vec<T>> {
        for (i, step) in self.plan.steps.iter().enumerate() {
            let access = Access::of(step);
            let Slices { src, factor, addend, out } = self.forward.slices(values, access, n)?;
            let size = out.len();
            let bits = self.signs[step.output].map(|at| at * n..at * n + size / 8);
            let bytes = self.winners[i].map(|at| at * n..at * n + size);
            // A step has signs or winners, not both.
            let (signs, winners) = match (bits, bytes) {
                (Some(bits), _) => (Some(&mut tape[bits]), &mut [][..]),
                (None, bytes) => (None, &mut tape[bytes.unwrap_or_default()]),
            };
            let finish = Finish { addend, relu: step.relu, signs, ..Finish::plain(out) };
            let shapes = [self.shapes[step.input], self.shapes[step.output]];
            let src = if access.src.is_some() { src } else { x };
            let part = Forward { src, factor, finish, winners, shapes };
            profile::step(&step.kind, Pass::Forward, || run(i, part))?;
        }
        let Some(last) = self.plan.steps.last() else { return Ok(vec![]) };
        let logits = &values[self.forward.range(last.output, n)];
        let stored = logits.len() / n.max(1);
        Ok(logits.chunks_exact(stored.max(1)).flat_map(|row| row[..self.classes].iter().copied()).collect())
    }

    /// Gradient of the pixels (zeros if it is not wanted), from the gradient of the logits, `[n, classes]`, and the
    /// tape and the values of the forward pass. `run` computes a step's gradients. The values may be empty if the
    /// schedule keeps no values.
    pub(crate) fn backward<T: Real>(
        &self,
        (gradient, n): (&[T], usize),
        memory: &mut [T],
        (tape, values): (&[u8], &[T]),
        mut run: impl FnMut(usize, Backward<'_, T>) -> candle_core::Result<()>,
    ) -> candle_core::Result<Vec<T>> {
        let mut pixels = vec![T::ZERO; len(self.pixels) * n];
        let Some(first) = self.back.first() else { return Ok(pixels) };
        let seed = &mut memory[first.access.src.map_or(0..0, |seed| self.backward.range(seed, n))];
        for (row, gradient) in seed.chunks_exact_mut(seed.len() / n).zip(gradient.chunks_exact(self.classes))
        {
            row[..self.classes].copy_from_slice(gradient);
            row[self.classes..].fill(T::ZERO);
        }
        let mut reached = false;
        for back in &self.back {
            let Slices { src, addend, out, .. } = self.backward.slices(memory, back.access, n)?;
            let open = back.open.and_then(|value| {
                let at = self.signs[value]?;
                Some(&tape[at * n..at * n + len(self.shapes[value]) * n / 8])
            });
            let finish = Finish { addend, open, ..Finish::plain(out) };
            let Some(i) = back.step else {
                kernel::pass(src, finish);
                continue;
            };
            let step = &self.plan.steps[i];
            let shapes @ [_, output] = [self.shapes[step.input], self.shapes[step.output]];
            if let Operation::Normalize { std, .. } = &step.kind {
                profile::step(&step.kind, Pass::InputGradient, || {
                    kernel::normalize_gradient(
                        self.pixels,
                        output[0],
                        &narrow(std),
                        src,
                        reached,
                        &mut pixels,
                    );
                });
                reached = true;
                continue;
            }
            let winners = self.winners[i].map(|at| &tape[at * n..at * n + len(output) * n]);
            let (winners, wanted) = (winners.unwrap_or_default(), back.access.dst.is_some());
            let (operands, of_factor) = (self.operands(i, n, values), back.of_factor);
            let part = Backward { src, finish, winners, wanted, operands, of_factor, shapes };
            profile::step(&step.kind, Pass::InputGradient, || run(i, part))?;
        }
        Ok(pixels)
    }

    /// Computes a step without weights.
    pub(crate) fn weightless<T: Real>(&self, i: usize, part: Forward<'_, T>) {
        let Forward { src, factor, finish, winners, shapes: [input, output] } = part;
        let channels = self.channels(&self.plan.steps[i]);
        match &self.plan.steps[i].kind {
            Operation::Normalize { mean, std } => {
                kernel::normalize(self.pixels, output[0], &narrow(mean), &narrow(std), src, finish.out);
            }
            Operation::MaxPool(pool) => kernel::max_pool(pool, input, src, finish.out, winners),
            Operation::AveragePool(pool) => kernel::average_pool(pool, input, src, finish.out),
            Operation::GlobalAveragePool => kernel::global_average(input, src, finish.out),
            Operation::Place { channels, first } => {
                kernel::place(src, (input[0], 0), *channels, (output[0], *first), finish);
            }
            Operation::Add => kernel::pass(src, finish),
            Operation::Function(function) => {
                kernel::function(*function, (channels, output[0]), src, finish);
            }
            Operation::Multiply => kernel::multiply((len(output), output[0]), src, factor, finish),
            Operation::Affine { .. } | Operation::Gather(_) => match &self.constants[i] {
                Constants::Affine([scale, shift]) => {
                    let (scale, shift) = (narrow(scale), narrow(shift));
                    kernel::affine(&scale, src, Finish { bias: Some(&shift), ..finish });
                }
                Constants::Gather(arrangement) => arrangement.run(src, finish),
                Constants::None => unreachable!("it has constants"),
            },
            Operation::Conv { .. } | Operation::BatchNorm(_) | Operation::PRelu { .. } => {
                unreachable!("it has weights")
            }
        }
    }

    /// Gradient of the input of a step without weights.
    pub(crate) fn weightless_gradient<T: Real>(&self, i: usize, part: Backward<'_, T>) {
        let Backward { src, finish, winners, operands, of_factor, shapes: [input, output], .. } = part;
        let channels = self.channels(&self.plan.steps[i]);
        match &self.plan.steps[i].kind {
            Operation::MaxPool(pool) => kernel::max_pool_gradient(pool, input, winners, src, finish),
            Operation::AveragePool(pool) => kernel::average_pool_gradient(pool, input, src, finish),
            Operation::GlobalAveragePool => kernel::global_average_gradient(input, src, finish),
            Operation::Place { channels, first } => {
                kernel::place(src, (output[0], *first), *channels, (input[0], 0), finish);
            }
            Operation::Add => kernel::pass(src, finish),
            Operation::Function(function) => {
                kernel::function_gradient(*function, (channels, output[0]), operands[0], src, finish);
            }
            Operation::Multiply if of_factor => {
                kernel::factor_gradient((len(output), output[0]), operands[0], src, finish);
            }
            Operation::Multiply => kernel::multiply((len(output), output[0]), src, operands[1], finish),
            Operation::Affine { .. } | Operation::Gather(_) => match &self.constants[i] {
                Constants::Affine([scale, _]) => kernel::affine(&narrow(scale), src, finish),
                Constants::Gather(arrangement) => arrangement.gradient(src, finish),
                Constants::None => unreachable!("it has constants"),
            },
            Operation::Normalize { .. }
            | Operation::Conv { .. }
            | Operation::BatchNorm(_)
            | Operation::PRelu { .. } => {
                unreachable!("it has weights, or stands at the pixels")
            }
        }
    }
}

/// The constants of a step, in the order in which values are stored.
fn constants(plan: &GraphPlan, shapes: &[[usize; 3]], step: &PlanStep) -> Constants {
    let [input, output] = [step.input, step.output].map(|value| (plan.shapes[value], shapes[value][0]));
    match &step.kind {
        Operation::Affine { scale, shift } => {
            Constants::Affine([scale, shift].map(|numbers| spread(numbers, output)))
        }
        Operation::Gather(gather) => Constants::Gather(Arrangement::new(gather, input, output.1)),
        _ => Constants::None,
    }
}

fn has_weights(step: &PlanStep) -> bool {
    matches!(step.kind, Operation::Conv { .. } | Operation::BatchNorm(_) | Operation::PRelu { .. })
}

/// For each value, whether the wanted gradients need its gradient.
fn needed(plan: &GraphPlan, wants: Wants) -> Vec<bool> {
    let mut needed = vec![false; plan.shapes.len()];
    for step in &plan.steps {
        needed[step.output] = match step.kind {
            Operation::Normalize { .. } => wants.pixels,
            _ => {
                needed[step.input]
                    || step.factor.is_some_and(|factor| needed[factor])
                    || step.addend.is_some_and(|addend| needed[addend])
                    || wants.weights && has_weights(step)
            }
        };
    }
    needed
}

/// Returns the backward program and the size of each of its gradients for one sample, given the size of each value.
fn backward(
    plan: &GraphPlan,
    values: &[usize],
    signs: &[Option<usize>],
    winners: &[Option<usize>],
    wants: Wants,
) -> (Vec<Back>, Vec<usize>) {
    let needed = needed(plan, wants);
    let (mut code, mut sizes) = (vec![], vec![]);
    let mut fresh = |value: usize| {
        sizes.push(values[value]);
        sizes.len() - 1
    };
    // The gradient of each value so far: its index, and whether it is already 0 where the value's `ReLU` is shut.
    let mut gradients: Vec<Option<(usize, bool)>> = vec![None; plan.shapes.len()];
    if let Some(last) = plan.steps.last().filter(|last| needed[last.output]) {
        gradients[last.output] = Some((fresh(last.output), false));
    }
    for (i, step) in plan.steps.iter().enumerate().rev() {
        let Some((mut g, shut)) = gradients[step.output].take() else { continue };
        if !shut && signs[step.output].is_some() {
            let dst = fresh(step.output);
            let access = Access { src: Some(g), factor: None, add: None, dst: Some(dst) };
            code.push(Back { step: None, of_factor: false, access, open: Some(step.output) });
            g = dst;
        }
        let ends = Access { src: Some(g), factor: None, add: None, dst: None };
        if let Operation::Normalize { .. } = step.kind {
            code.push(Back { step: Some(i), of_factor: false, access: ends, open: None });
            continue;
        }
        // A step without work of its own passes its gradient on.
        let passes = matches!(step.kind, Operation::Add) && winners[i].is_none();
        let mut give = |value: usize, work: Option<usize>, of_factor: bool| {
            if !needed[value] {
                if wants.weights && work.is_some() && has_weights(step) {
                    code.push(Back { step: work, of_factor, access: ends, open: None });
                }
                return;
            }
            let open = signs[value].map(|_| value);
            gradients[value] = Some(match (gradients[value], work) {
                (None, None) => (g, open.is_none()),
                (old, work) => {
                    let dst = fresh(value);
                    let add = old.map(|(old, _)| old);
                    let access = Access { src: Some(g), factor: None, add, dst: Some(dst) };
                    code.push(Back { step: work, of_factor, access, open });
                    (dst, true)
                }
            });
        };
        give(step.input, if passes { None } else { Some(i) }, false);
        if let Some(factor) = step.factor {
            give(factor, Some(i), true);
        }
        if let Some(addend) = step.addend {
            give(addend, None, false);
        }
    }
    (code, sizes)
}
