//! What a backward pass leaves: gradients of weights for the optimiser, and of all else that candle followed.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::error::Result;

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
        // What reached a weight by candle's operations: from the candle backend, or from a loss that reads
        // weights itself.
        for (name, var) in trained {
            if let Some(more) = others.get(var) {
                let more = Gradient { numbers: Box::new(more.clone()), shape: var.dims().to_vec() };
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
        Some(gradient) => gradient.plus(&more)?,
        None => more,
    };
    all.insert(weight.to_owned(), sum);
    Ok(())
}

/// Numbers of a gradient in whatever memory a backend left them.
pub(crate) trait Numbers: Any + Debug + Send + Sync {
    /// As a tensor of this shape.
    fn tensor(&self, shape: &[usize]) -> Result<Tensor>;

    /// Adds numbers of the same kind in place; `false`, and nothing done, if they are of another.
    fn add(&mut self, more: &dyn Numbers) -> Result<bool>;

    /// Multiplies in place.
    fn scale(&mut self, factor: f64) -> Result<()>;
}

/// As candle's operations leave them.
impl Numbers for Tensor {
    fn tensor(&self, _shape: &[usize]) -> Result<Tensor> {
        Ok(self.clone())
    }

    fn add(&mut self, more: &dyn Numbers) -> Result<bool> {
        let Some(more) = (more as &dyn Any).downcast_ref::<Tensor>() else { return Ok(false) };
        *self = (&*self + more)?;
        Ok(true)
    }

    fn scale(&mut self, factor: f64) -> Result<()> {
        *self = (&*self * factor)?;
        Ok(())
    }
}

/// Gradient of one weight, in its shape.
#[derive(Debug)]
pub struct Gradient {
    numbers: Box<dyn Numbers>,
    shape: Vec<usize>,
}

impl Gradient {
    /// As a tensor of its own.
    pub fn tensor(&self) -> Result<Tensor> {
        self.numbers.tensor(&self.shape)
    }

    /// The numbers, if they are of this kind.
    pub(crate) fn numbers<N: Numbers>(&self) -> Option<&N> {
        (&*self.numbers as &dyn Any).downcast_ref()
    }

    fn plus(mut self, more: &Self) -> Result<Self> {
        if self.numbers.add(&*more.numbers)? {
            return Ok(self);
        }
        let numbers = Box::new((self.tensor()? + more.tensor()?)?);
        Ok(Self { numbers, shape: self.shape })
    }

    fn times(mut self, factor: f64) -> Result<Self> {
        self.numbers.scale(factor)?;
        Ok(self)
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
    pub(crate) fn add(&self, weight: &str, shape: &[usize], numbers: Box<dyn Numbers>) -> Result<()> {
        let more = Gradient { numbers, shape: shape.to_vec() };
        self::add(&mut self.lock(), weight, more)
    }
}
