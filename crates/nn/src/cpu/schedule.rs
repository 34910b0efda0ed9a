//! A plan as two straight-line programs, forward and backward, over memory that is planned once.
//!
//! The forward program leaves a tape of one sign bit for each `ReLU` and one byte for each pooled output.
//! Every instruction of the backward program writes a gradient that is already zero where the `ReLU` below is
//! shut.

use super::kernel::{self, Conv, Finish, Real, stored};
use super::memory::Layout;
use super::storage::narrow;
use crate::graph::plan::{Fusion, GraphPlan, Operation, PlanStep, plan};
use crate::graph::{ConvShape, Network};

/// What an instruction reads, adds and writes: values of the forward program, gradients of the backward one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    /// `None`: the pixels.
    pub(crate) src: Option<usize>,
    pub(crate) add: Option<usize>,
    /// `None`: the gradient of the pixels, or of weights alone.
    pub(crate) dst: Option<usize>,
}

impl Access {
    fn of(step: &PlanStep) -> Self {
        let src = (!matches!(step.kind, Operation::Normalize { .. })).then_some(step.input);
        Self { src, add: step.addend, dst: Some(step.output) }
    }
}

/// One instruction of the backward program.
#[derive(Debug)]
struct Back {
    /// Whose gradient this is; `None`: the gradient goes on as it is.
    step: Option<usize>,
    access: Access,
    /// Value whose `ReLU` shuts the result.
    open: Option<usize>,
}

/// Whose gradients a backward program gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wants {
    pub(crate) weights: bool,
    pub(crate) pixels: bool,
}

/// Both programs.
#[derive(Debug)]
pub(crate) struct Instructions {
    plan: GraphPlan,
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

/// One step's part of a forward pass: what it reads, and where its result goes.
pub(crate) struct Forward<'m, T> {
    pub(crate) src: &'m [T],
    pub(crate) finish: Finish<'m, T>,
    /// Receives the winning taps of a pooling.
    pub(crate) winners: &'m mut [u8],
    shapes: [[usize; 3]; 2],
}

/// One step's part of a backward pass: the gradient of its result, and where that of its input goes.
pub(crate) struct Backward<'m, T> {
    pub(crate) src: &'m [T],
    pub(crate) finish: Finish<'m, T>,
    /// The winning taps of a pooling.
    pub(crate) winners: &'m [u8],
    /// Whether the gradient of the input is asked for.
    pub(crate) wanted: bool,
    shapes: [[usize; 3]; 2],
}

fn len([c, h, w]: [usize; 3]) -> usize {
    c * h * w
}

impl Instructions {
    /// Schedules a network; if `fold`, with batch norm folded into convolutions. `keeps` says whether the
    /// backward pass reads a step's input.
    pub(crate) fn new(
        network: &Network,
        fold: bool,
        wants: Wants,
        keeps: impl Fn(&PlanStep) -> bool,
    ) -> Self {
        // Bits are not given for a part of a panel, where a group may end.
        let finishes = |shape: &ConvShape| shape.groups == 1;
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
        let kept = plan.steps.iter().filter(|step| keeps(step)).map(|step| step.input);
        let last = plan.steps.last().map(|step| step.output);
        let forward = Layout::of(&accesses, &sizes, kept.chain(last));
        let (back, gradients) = backward(&plan, &sizes, &signs, &winners, wants);
        let accesses: Vec<Access> = back.iter().map(|back| back.access).collect();
        let backward = Layout::of(&accesses, &gradients, None);
        let (pixels, classes) = (network.input_shape(), network.classes());
        Self { plan, shapes, forward, back, backward, signs, winners, tape, pixels, classes }
    }

    /// Bytes of the tape of `n` samples.
    pub(crate) fn tape_len(&self, n: usize) -> usize {
        self.tape * n
    }

    /// Numbers that the values of `n` samples take.
    pub(crate) fn values_len(&self, n: usize) -> usize {
        self.forward.len() * n
    }

    /// Numbers that the gradients of `n` samples take.
    pub(crate) fn gradients_len(&self, n: usize) -> usize {
        self.backward.len() * n
    }

    pub(crate) fn classes(&self) -> usize {
        self.classes
    }

    pub(crate) fn steps(&self) -> &[PlanStep] {
        &self.plan.steps
    }

    /// Positions of a sample in the value that a step reads.
    pub(crate) fn positions(&self, step: &PlanStep) -> usize {
        let [_, h, w] = self.shapes[step.input];
        h * w
    }

    /// The convolution of a step, as the kernels see it.
    pub(crate) fn conv(&self, step: &PlanStep, shape: &ConvShape) -> Conv {
        Conv { shape: *shape, pixels: self.plan.pixels[step.input] }
    }

    /// The value of a batch that step `i` read, of those that the schedule keeps.
    pub(crate) fn kept<'m, T>(&self, i: usize, n: usize, values: &'m [T]) -> &'m [T] {
        &values[self.forward.range(self.plan.steps[i].input, n)]
    }

    /// Logits `[n, classes]` of pixels `[n, c, h, w]`; `run` computes a step, given by its number, or
    /// fails.
    pub(crate) fn forward<T: Real>(
        &self,
        (x, n): (&[T], usize),
        values: &mut [T],
        tape: &mut [u8],
        mut run: impl FnMut(usize, Forward<'_, T>) -> candle_core::Result<()>,
    ) -> candle_core::Result<Vec<T>> {
        for (i, step) in self.plan.steps.iter().enumerate() {
            let access = Access::of(step);
            let (src, addend, out) = self.forward.slices(values, access, n)?;
            let size = out.len();
            let bits = self.signs[step.output].map(|at| at * n..at * n + size / 8);
            let bytes = self.winners[i].map(|at| at * n..at * n + size);
            // A step has the one or the other.
            let (signs, winners) = match (bits, bytes) {
                (Some(bits), _) => (Some(&mut tape[bits]), &mut [][..]),
                (None, bytes) => (None, &mut tape[bytes.unwrap_or_default()]),
            };
            let finish = Finish { addend, relu: step.relu, signs, ..Finish::plain(out) };
            let shapes = [self.shapes[step.input], self.shapes[step.output]];
            let src = if access.src.is_some() { src } else { x };
            run(i, Forward { src, finish, winners, shapes })?;
        }
        let Some(last) = self.plan.steps.last() else { return Ok(vec![]) };
        let logits = &values[self.forward.range(last.output, n)];
        let stored = logits.len() / n.max(1);
        Ok(logits.chunks_exact(stored.max(1)).flat_map(|row| row[..self.classes].iter().copied()).collect())
    }

    /// Gradient of the pixels (zeros if it is not wanted) from that of the logits, `[n, classes]`, and the
    /// tape of the forward pass; `run` computes a step's gradients.
    pub(crate) fn backward<T: Real>(
        &self,
        (gradient, n): (&[T], usize),
        memory: &mut [T],
        tape: &[u8],
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
            let (src, addend, out) = self.backward.slices(memory, back.access, n)?;
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
                kernel::normalize_gradient(self.pixels, output[0], &narrow(std), src, reached, &mut pixels);
                reached = true;
                continue;
            }
            let winners = self.winners[i].map(|at| &tape[at * n..at * n + len(output) * n]);
            let (winners, wanted) = (winners.unwrap_or_default(), back.access.dst.is_some());
            run(i, Backward { src, finish, winners, wanted, shapes })?;
        }
        Ok(pixels)
    }

    /// Computes a step without weights.
    pub(crate) fn weightless<T: Real>(&self, i: usize, part: Forward<'_, T>) {
        let Forward { src, finish, winners, shapes: [input, output] } = part;
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
            Operation::Conv { .. } | Operation::BatchNorm(_) => unreachable!("it has weights"),
        }
    }

    /// Gradient of the input of a step without weights.
    pub(crate) fn weightless_gradient<T: Real>(&self, i: usize, part: Backward<'_, T>) {
        let Backward { src, finish, winners, shapes: [input, output], .. } = part;
        match &self.plan.steps[i].kind {
            Operation::MaxPool(pool) => kernel::max_pool_gradient(pool, input, winners, src, finish),
            Operation::AveragePool(pool) => kernel::average_pool_gradient(pool, input, src, finish),
            Operation::GlobalAveragePool => kernel::global_average_gradient(input, src, finish),
            Operation::Place { channels, first } => {
                kernel::place(src, (output[0], *first), *channels, (input[0], 0), finish);
            }
            Operation::Add => kernel::pass(src, finish),
            Operation::Normalize { .. } | Operation::Conv { .. } | Operation::BatchNorm(_) => {
                unreachable!("it has weights, or stands at the pixels")
            }
        }
    }
}

fn has_weights(step: &PlanStep) -> bool {
    matches!(step.kind, Operation::Conv { .. } | Operation::BatchNorm(_))
}

/// Which values' gradients are needed on the way to those that are wanted.
fn needed(plan: &GraphPlan, wants: Wants) -> Vec<bool> {
    let mut needed = vec![false; plan.shapes.len()];
    for step in &plan.steps {
        needed[step.output] = match step.kind {
            Operation::Normalize { .. } => wants.pixels,
            _ => {
                needed[step.input]
                    || step.addend.is_some_and(|addend| needed[addend])
                    || wants.weights && has_weights(step)
            }
        };
    }
    needed
}

/// The backward program, and the numbers of one sample of each of its gradients, given those of each of the
/// values.
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
    // The gradient of each value so far: where it is, and whether it is 0 where the value's `ReLU` is shut.
    let mut gradients: Vec<Option<(usize, bool)>> = vec![None; plan.shapes.len()];
    if let Some(last) = plan.steps.last().filter(|last| needed[last.output]) {
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
        let ends = Access { src: Some(g), add: None, dst: None };
        if let Operation::Normalize { .. } = step.kind {
            code.push(Back { step: Some(i), access: ends, open: None });
            continue;
        }
        // A step without work of its own hands its gradient on.
        let passes = matches!(step.kind, Operation::Add) && winners[i].is_none();
        let mut give = |value: usize, work: Option<usize>| {
            if !needed[value] {
                if wants.weights && work.is_some() && has_weights(step) {
                    code.push(Back { step: work, access: ends, open: None });
                }
                return;
            }
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
