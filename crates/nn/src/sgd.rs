//! The update of stochastic gradient descent, in one pass over each weight.

use candle_core::{Tensor, Var};
use rayon::prelude::*;

use crate::error::Result;
use crate::gradients::{Gradient, Numbers};
use crate::kernel::Real;
use crate::storage::with_mut;

/// Numbers that one task handles.
const CHUNK: usize = 1 << 14;

/// Rates of one step, as torch's SGD has them: `v = momentum v + g + decay w`, `w = w - rate v`; with `nesterov`
/// `w = w - rate (g + decay w + momentum v)`.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f64,
    /// Share of the velocity that stays.
    pub momentum: f64,
    /// Share of each weight added to its gradient.
    pub decay: f64,
    /// Nesterov's form.
    pub nesterov: bool,
}

impl Sgd {
    /// Moves a weight by its gradient; `velocity` is that of the steps before, `None` at rest, and the new one is returned
    /// (the same tensor, changed in place, on a CPU).
    pub fn step(&self, weight: &Var, gradient: &Gradient, velocity: Option<&Tensor>) -> Result<Tensor> {
        match gradient.numbers() {
            Numbers::F32(gradient) => self.in_place(weight, gradient, velocity),
            Numbers::F64(gradient) => self.in_place(weight, gradient, velocity),
            Numbers::Candle(gradient) => self.by_tensors(weight, gradient, velocity),
        }
    }

    /// Weight and velocity move together, in one pass over memory.
    fn in_place<T: Real>(&self, weight: &Var, gradient: &[T], velocity: Option<&Tensor>) -> Result<Tensor> {
        let weight = weight.as_detached_tensor();
        // At rest 0 * momentum + g is g, to the bit but for the sign of a zero.
        let moved = match velocity {
            Some(velocity) => velocity.clone(),
            None => weight.zeros_like()?,
        };
        with_mut::<T>(&weight, |w| {
            with_mut::<T>(&moved, |v| {
                let parts = (w.par_chunks_mut(CHUNK), v.par_chunks_mut(CHUNK), gradient.par_chunks(CHUNK));
                parts.into_par_iter().for_each(|(w, v, g)| self.chunk(w, v, g));
                Ok(())
            })
        })?;
        Ok(moved)
    }

    fn chunk<T: Real>(&self, w: &mut [T], v: &mut [T], g: &[T]) {
        let [rate, momentum, decay] = [self.rate, self.momentum, self.decay].map(T::from_f64);
        for ((w, v), g) in w.iter_mut().zip(v).zip(g) {
            let decayed = *g + *w * decay;
            *v = *v * momentum + decayed;
            *w -= if self.nesterov { decayed + *v * momentum } else { *v } * rate;
        }
    }

    fn by_tensors(&self, weight: &Var, gradient: &Tensor, velocity: Option<&Tensor>) -> Result<Tensor> {
        let old = weight.as_detached_tensor();
        let decayed = if self.decay > 0.0 { (gradient + (&old * self.decay)?)? } else { gradient.clone() };
        let moved = match velocity {
            Some(velocity) => ((velocity * self.momentum)? + &decayed)?,
            None => decayed.clone(),
        };
        let direction = if self.nesterov { (decayed + (&moved * self.momentum)?)? } else { moved.clone() };
        weight.set(&(old - (direction * self.rate)?)?)?;
        Ok(moved.detach())
    }
}
