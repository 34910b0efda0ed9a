//! Constants of layers, converted from the graph's order (channel, row, column) to the order of stored values:
//! NHWC, with channels in whole panels.

use super::kernel::{Buffer, Finish, Real, finish_all, tasks};
use crate::graph::Gather;

/// The index at which a number of a sample is stored.
fn place([_, h, w]: [usize; 3], stored: usize, number: usize) -> usize {
    number % (h * w) * stored + number / (h * w)
}

/// Constants of a value, one for each channel or one for each number, in the order in which that value is stored.
/// Numbers that fill up a panel are 0.
pub(super) fn spread(numbers: &[f64], (shape, stored): ([usize; 3], usize)) -> Vec<f64> {
    let [c, h, w] = shape;
    if numbers.len() == c {
        let mut all = numbers.to_vec();
        all.resize(stored, 0.0);
        return all;
    }
    let mut all = vec![0.0; stored * h * w];
    for (i, number) in numbers.iter().enumerate() {
        all[place(shape, stored, i)] = *number;
    }
    all
}

/// A [`Gather`] between stored values.
#[derive(Debug)]
pub(super) struct Arrangement {
    /// Count of numbers of a sample, for the input and for the output.
    sizes: [usize; 2],
    /// The index at which each output is stored, and its number of summands.
    outputs: Vec<(u32, u32)>,
    /// The index at which each summand is stored, and its weight.
    summands: Vec<(u32, f64)>,
}

impl Arrangement {
    /// Builds it for an input of shape `input` with `stored` stored channels, and for `output` stored channels of
    /// the output.
    pub(super) fn new(gather: &Gather, (input, stored): ([usize; 3], usize), output: usize) -> Self {
        let shape = gather.shape();
        let (mut outputs, mut summands) = (vec![], vec![]);
        for i in 0..shape.iter().product() {
            let before = summands.len();
            // Sizes are bounded when a network is built.
            summands.extend(gather.summands(i).map(|(number, w)| (place(input, stored, number) as u32, w)));
            outputs.push((place(shape, output, i) as u32, (summands.len() - before) as u32));
        }
        Self { sizes: [stored * input[1] * input[2], output * shape[1] * shape[2]], outputs, summands }
    }

    /// Calls `f` with the index and the summands of each output.
    fn each(&self, mut f: impl FnMut(usize, &[(u32, f64)])) {
        let mut rest = &self.summands[..];
        for (output, count) in &self.outputs {
            let (mine, others) = rest.split_at(*count as usize);
            f(*output as usize, mine);
            rest = others;
        }
    }

    /// Computes the sums and applies `finish`.
    pub(super) fn run<T: Real>(&self, x: &[T], finish: Finish<'_, T>) {
        samples(self.sizes, x, finish, |x, out| {
            self.each(|output, summands| {
                out[output] = summands.iter().map(|(i, weight)| x[*i as usize] * T::from_f64(*weight)).sum();
            });
        });
    }

    /// Computes the input's gradient and applies `finish`.
    pub(super) fn gradient<T: Real>(&self, dy: &[T], finish: Finish<'_, T>) {
        let [input, output] = self.sizes;
        samples([output, input], dy, finish, |dy, out| {
            self.each(|output, summands| {
                for (i, weight) in summands {
                    out[*i as usize] += dy[output] * T::from_f64(*weight);
                }
            });
        });
    }
}

/// For each sample, `f` adds to zeros; `finish` is then applied to the sums.
fn samples<T: Real>(
    [from, to]: [usize; 2],
    x: &[T],
    finish: Finish<'_, T>,
    f: impl Fn(&[T], &mut [T]) + Sync,
) {
    let parts = finish.parts((0..x.len() / from).map(|_| to));
    tasks::each(x.len(), x.chunks(from).zip(parts), |_, (x, finish)| {
        let mut sums = Buffer::zeros(to);
        f(x, &mut sums);
        finish_all(&sums, finish);
    });
}
