//! Weighted sums of a value's numbers, with constant weights.

use crate::error::dims;

/// Largest number of summands of all outputs together.
const MOST: usize = 1 << 28;

/// Defines each number of the output as a weighted sum of numbers of the input. Numbers are counted in the order
/// (channel, row, column). An output without summands is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    shape: [usize; 3],
    /// Index of the first summand of each output, and at the end the number of all summands.
    starts: Vec<u32>,
    /// Index of the input number of each summand.
    inputs: Vec<u32>,
    /// Factor of each summand; `None` if all are 1.
    weights: Option<Vec<f64>>,
}

impl Gather {
    /// Rearranges the input: number `i` of the output, of shape `[c, h, w]`, is number `index[i]` of the input, or
    /// 0 for `None`.
    ///
    /// # Panics
    /// If the length of `index` does not match the shape.
    pub fn of(shape: [usize; 3], index: &[Option<usize>]) -> Self {
        assert_eq!(index.len(), shape.iter().product::<usize>(), "an index for each output");
        Self::build(shape, index.iter().map(|input| input.iter().copied()), None)
    }

    /// Computes weighted sums: `sums` lists the summands of each number of the output, of shape `[c, h, w]`, as
    /// (index of the input number, weight).
    ///
    /// # Panics
    /// If the length of `sums` does not match the shape.
    pub fn sums(shape: [usize; 3], sums: &[Vec<(usize, f64)>]) -> Self {
        assert_eq!(sums.len(), shape.iter().product::<usize>(), "a sum for each output");
        let weights = sums.iter().flatten().map(|(_, weight)| *weight).collect();
        Self::build(shape, sums.iter().map(|sum| sum.iter().map(|(input, _)| *input)), Some(weights))
    }

    fn build<I: Iterator<Item = usize>>(
        shape: [usize; 3],
        outputs: impl Iterator<Item = I>,
        weights: Option<Vec<f64>>,
    ) -> Self {
        // An index that does not fit is out of range for every input.
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (mut starts, mut inputs) = (vec![0], vec![]);
        for sum in outputs {
            inputs.extend(sum.map(narrow));
            starts.push(narrow(inputs.len()));
        }
        Self { shape, starts, inputs, weights }
    }

    /// Channels, height and width of the output.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The summands of an output as (index of the input number, weight).
    pub fn summands(&self, output: usize) -> impl Iterator<Item = (usize, f64)> {
        let range = self.starts[output] as usize..self.starts[output + 1] as usize;
        range.map(|i| (self.inputs[i] as usize, self.weights.as_ref().map_or(1.0, |weights| weights[i])))
    }

    /// The reason why it cannot read a value of this shape; `None` if it can.
    pub(crate) fn problem(&self, input: [usize; 3]) -> Option<String> {
        let numbers: usize = input.iter().product();
        if self.shape.contains(&0) || self.inputs.len() > MOST {
            return Some(format!("its output is {}, of {} summands", dims(self.shape), self.inputs.len()));
        }
        if let Some(beyond) = self.inputs.iter().find(|i| **i as usize >= numbers) {
            return Some(format!("it reads number {beyond} of {numbers}"));
        }
        let weights = self.weights.as_ref()?;
        (!weights.iter().all(|weight| weight.is_finite())).then(|| "its weights must be finite".into())
    }
}
