//! The update of stochastic gradient descent, in one pass over each weight.

use candle_core::{CpuStorage, InplaceOp3, Layout, Tensor, Var, bail};
use rayon::prelude::*;

use crate::error::Result;
use crate::kernel::Real;
use crate::ops::slice;

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
    pub fn step(&self, weight: &Var, gradient: &Tensor, velocity: Option<&Tensor>) -> Result<Tensor> {
        let old = weight.as_detached_tensor();
        if !old.device().is_cpu() {
            return self.by_tensors(weight, gradient, velocity);
        }
        let gradient = gradient.contiguous()?;
        let moved = match velocity {
            Some(velocity) => velocity.clone(),
            None => old.zeros_like()?,
        };
        // At rest 0 * momentum + g is g, to the bit but for the sign of a zero.
        moved.inplace_op3(&old, &gradient, &Velocity(*self))?;
        weight.as_detached_tensor().inplace_op3(&moved, &gradient, &Weight(*self))?;
        Ok(moved)
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

/// `v = momentum v + (g + decay w)`.
struct Velocity(Sgd);
/// `w = w - rate v`, or Nesterov's form of it.
struct Weight(Sgd);

impl Velocity {
    fn run<T: Real>(&self, v: &mut [T], w: &[T], g: &[T]) {
        let [momentum, decay] = [self.0.momentum, self.0.decay].map(T::from_f64);
        each(v, w, g, |v, w, g| *v = *v * momentum + (g + w * decay));
    }
}

impl Weight {
    fn run<T: Real>(&self, w: &mut [T], v: &[T], g: &[T]) {
        let Sgd { rate, momentum, decay, nesterov } = self.0;
        let [rate, momentum, decay] = [rate, momentum, decay].map(T::from_f64);
        match nesterov {
            false => each(w, v, g, |w, v, _| *w -= v * rate),
            true => each(w, v, g, |w, v, g| *w -= ((g + *w * decay) + v * momentum) * rate),
        }
    }
}

/// Calls `f` for each number of the first with those of the other two.
fn each<T: Real>(to: &mut [T], a: &[T], b: &[T], f: impl Fn(&mut T, T, T) + Sync) {
    (to.par_chunks_mut(CHUNK), a.par_chunks(CHUNK), b.par_chunks(CHUNK)).into_par_iter().for_each(
        |(to, a, b)| {
            for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
                f(to, *a, *b);
            }
        },
    );
}

macro_rules! in_place {
    ($op:ty, $name:literal) => {
        impl InplaceOp3 for $op {
            fn name(&self) -> &'static str {
                $name
            }
            fn cpu_fwd(
                &self,
                to: &mut CpuStorage,
                tl: &Layout,
                a: &CpuStorage,
                al: &Layout,
                b: &CpuStorage,
                bl: &Layout,
            ) -> candle_core::Result<()> {
                let Some((start, end)) = tl.contiguous_offsets() else { bail!("weights are contiguous") };
                match to {
                    CpuStorage::F32(to) => self.run(&mut to[start..end], slice(a, al)?, slice(b, bl)?),
                    CpuStorage::F64(to) => self.run(&mut to[start..end], slice(a, al)?, slice(b, bl)?),
                    _ => bail!("weights are f32 or f64"),
                }
                Ok(())
            }
        }
    };
}
in_place!(Velocity, "sgd-velocity");
in_place!(Weight, "sgd-weight");
