//! What a backward pass leaves: gradients of weights for the optimiser, and of all else that candle followed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};

use crate::error::Result;
use crate::kernel::{Buffer, Real};

/// Gradients of a loss.
#[derive(Debug)]
pub struct Gradients {
    weights: BTreeMap<String, Gradient>,
    others: GradStore,
}

impl Gradients {
    pub(crate) fn new<'a>(
        mut weights: BTreeMap<String, Gradient>,
        others: GradStore,
        trained: impl Iterator<Item = (&'a str, &'a Var)>,
    ) -> Result<Self> {
        // What reached a weight by candle's operations: on other devices, or from a loss that reads weights itself.
        for (name, var) in trained {
            if let Some(more) = others.get(var) {
                let more = Gradient { numbers: Numbers::Candle(more.clone()), shape: var.dims().to_vec() };
                add(&mut weights, name, more)?;
            }
        }
        Ok(Self { weights, others })
    }

    /// That of a weight, by its name; `None` if the loss does not depend on it.
    pub fn get(&self, weight: &str) -> Option<&Gradient> {
        self.weights.get(weight)
    }

    /// The weights' gradients of the sum of two losses; those of other variables are gone.
    pub fn plus(self, more: Self) -> Result<Self> {
        let mut weights = self.weights;
        for (name, gradient) in more.weights {
            add(&mut weights, &name, gradient)?;
        }
        Ok(Self { weights, others: GradStore::default() })
    }

    /// The weights' gradients of the loss times a number; those of other variables are gone.
    pub fn times(self, factor: f64) -> Result<Self> {
        let scaled = |(name, gradient): (String, Gradient)| Ok((name, gradient.times(factor)?));
        let weights = self.weights.into_iter().map(scaled).collect::<Result<_>>()?;
        Ok(Self { weights, others: GradStore::default() })
    }

    /// That of another variable of the loss, such as the pixels.
    pub fn of(&self, variable: &Var) -> Option<&Tensor> {
        self.others.get(variable)
    }
}

/// Adds to the gradient of a weight.
fn add(all: &mut BTreeMap<String, Gradient>, weight: &str, more: Gradient) -> Result<()> {
    let sum = match all.remove(weight) {
        Some(gradient) => gradient.plus(more)?,
        None => more,
    };
    all.insert(weight.to_owned(), sum);
    Ok(())
}

/// Gradient of one weight, in its shape.
#[derive(Debug)]
pub struct Gradient {
    numbers: Numbers,
    shape: Vec<usize>,
}

#[derive(Debug)]
pub(crate) enum Numbers {
    F32(Buffer<f32>),
    F64(Buffer<f64>),
    Candle(Tensor),
}

impl From<Buffer<f32>> for Numbers {
    fn from(numbers: Buffer<f32>) -> Self {
        Self::F32(numbers)
    }
}

impl From<Buffer<f64>> for Numbers {
    fn from(numbers: Buffer<f64>) -> Self {
        Self::F64(numbers)
    }
}

impl Gradient {
    /// As a tensor of its own.
    pub fn tensor(&self) -> Result<Tensor> {
        let shape = &self.shape[..];
        Ok(match &self.numbers {
            Numbers::F32(numbers) => Tensor::from_slice(numbers, shape, &Device::Cpu)?,
            Numbers::F64(numbers) => Tensor::from_slice(numbers, shape, &Device::Cpu)?,
            Numbers::Candle(tensor) => tensor.clone(),
        })
    }

    pub(crate) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    fn plus(self, more: Self) -> Result<Self> {
        fn add<T: Real>(mut to: Buffer<T>, more: &[T]) -> Numbers
        where
            Numbers: From<Buffer<T>>,
        {
            for (to, more) in to.iter_mut().zip(more) {
                *to += *more;
            }
            to.into()
        }
        let shape = self.shape.clone();
        let numbers = match (self.numbers, more.numbers) {
            (Numbers::F32(numbers), Numbers::F32(more)) => add(numbers, &more),
            (Numbers::F64(numbers), Numbers::F64(more)) => add(numbers, &more),
            (numbers, more) => {
                let tensor = |numbers| Self { numbers, shape: shape.clone() }.tensor();
                Numbers::Candle((tensor(numbers)? + tensor(more)?)?)
            }
        };
        Ok(Self { numbers, shape })
    }

    fn times(self, factor: f64) -> Result<Self> {
        fn scale<T: Real>(mut numbers: Buffer<T>, factor: f64) -> Numbers
        where
            Numbers: From<Buffer<T>>,
        {
            for number in numbers.iter_mut() {
                *number *= T::from_f64(factor);
            }
            numbers.into()
        }
        let numbers = match self.numbers {
            Numbers::F32(numbers) => scale(numbers, factor),
            Numbers::F64(numbers) => scale(numbers, factor),
            Numbers::Candle(tensor) => Numbers::Candle((tensor * factor)?),
        };
        Ok(Self { numbers, ..self })
    }
}

/// Where the passes of one backward pass leave the gradients of weights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<BTreeMap<String, Gradient>>>);

impl Collector {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Gradient>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was left since the last call.
    pub(crate) fn take(&self) -> BTreeMap<String, Gradient> {
        std::mem::take(&mut *self.lock())
    }

    /// Adds to the gradient of a weight of this shape.
    pub(crate) fn add<T: Real>(&self, weight: &str, shape: &[usize], numbers: Buffer<T>) -> Result<()>
    where
        Numbers: From<Buffer<T>>,
    {
        let more = Gradient { numbers: numbers.into(), shape: shape.to_vec() };
        self::add(&mut self.lock(), weight, more)
    }
}
