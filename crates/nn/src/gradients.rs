//! Results of a backward pass: gradients of weights for the optimiser, and of all other variables that candle
//! tracked.

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
        // Gradients that reached a weight through candle's operations: from the candle backend, or from a loss that
        // reads weights itself.
        for (name, var) in trained {
            if let Some(more) = others.get(var) {
                let more = Gradient { numbers: Box::new(more.clone()), shape: var.dims().to_vec() };
                add(&mut weights, name, more)?;
            }
        }
        Ok(Self { weights, others })
    }

    /// The gradient of a weight, by its name; `None` if the loss does not depend on the weight.
    pub fn get(&self, weight: &str) -> Option<&Gradient> {
        self.weights.get(weight)
    }

    /// The weights' gradients of the sum of two losses. Gradients of other variables are dropped.
    pub fn plus(self, more: Self) -> Result<Self> {
        let mut weights = self.weights;
        for (name, gradient) in more.weights {
            add(&mut weights, &name, gradient)?;
        }
        Ok(Self { weights, others: GradStore::default() })
    }

    /// The weights' gradients of the loss times a number. Gradients of other variables are dropped.
    pub fn times(self, factor: f64) -> Result<Self> {
        let scaled = |(name, gradient): (String, Gradient)| Ok((name, gradient.times(factor)?));
        let weights = self.weights.into_iter().map(scaled).collect::<Result<_>>()?;
        Ok(Self { weights, others: GradStore::default() })
    }

    /// The gradient of another variable of the loss, such as the pixels.
    pub fn of(&self, variable: &Var) -> Option<&Tensor> {
        self.others.get(variable)
    }
}

/// Adds `more` to the gradient of a weight.
fn add(all: &mut BTreeMap<String, Gradient>, weight: &str, more: Gradient) -> Result<()> {
    let sum = match all.remove(weight) {
        Some(gradient) => gradient.plus(&more)?,
        None => more,
    };
    all.insert(weight.to_owned(), sum);
    Ok(())
}

/// Numbers of a gradient, in the memory where the backend left them.
pub(crate) trait Numbers: Any + Debug + Send + Sync {
    /// The numbers as a tensor of this shape.
    fn tensor(&self, shape: &[usize]) -> Result<Tensor>;

    /// Adds numbers of the same kind in place. Returns `false` and changes nothing if the kinds differ.
    fn add(&mut self, more: &dyn Numbers) -> Result<bool>;

    /// Multiplies all numbers by `factor`, in place.
    fn scale(&mut self, factor: f64) -> Result<()>;
}

/// Gradients from candle's operations.
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

/// Gradient of one weight, in the weight's shape.
#[derive(Debug)]
pub struct Gradient {
    numbers: Box<dyn Numbers>,
    shape: Vec<usize>,
}

impl Gradient {
    /// The gradient as a tensor.
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

/// Collects the weights' gradients from all network passes of one backward pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<BTreeMap<String, Gradient>>>);

impl Collector {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Gradient>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the gradients collected since the last call, and removes them.
    pub(crate) fn take(&self) -> BTreeMap<String, Gradient> {
        std::mem::take(&mut *self.lock())
    }

    /// Adds to the gradient of a weight of this shape.
    pub(crate) fn add(&self, weight: &str, shape: &[usize], numbers: Box<dyn Numbers>) -> Result<()> {
        let more = Gradient { numbers, shape: shape.to_vec() };
        self::add(&mut self.lock(), weight, more)
    }
}
