//! The update of stochastic gradient descent, in one pass over each weight.

use candle_core::{Result, Tensor, Var};

use super::kernel::{Real, tasks};
use super::storage::with_mut;
use crate::sgd::Sgd;

/// Count of numbers that one task handles.
const CHUNK: usize = 1 << 14;

/// Moves a weight and its velocity in place, and returns the velocity.
pub(super) fn descend<T: Real>(
    sgd: &Sgd,
    weight: &Var,
    gradient: &[T],
    velocity: Option<&Tensor>,
) -> Result<Tensor> {
    let weight = weight.as_detached_tensor();
    // With a velocity of 0, 0 * momentum + g has the same bits as g, except for the sign of a zero.
    let moved = match velocity {
        Some(velocity) => velocity.clone(),
        None => weight.zeros_like()?,
    };
    with_mut::<T>(&weight, |w| {
        with_mut::<T>(&moved, |v| {
            let parts = w.chunks_mut(CHUNK).zip(v.chunks_mut(CHUNK)).zip(gradient.chunks(CHUNK));
            tasks::each(gradient.len(), parts, |_, ((w, v), g)| chunk(sgd, w, v, g));
            Ok(())
        })
    })?;
    Ok(moved)
}

fn chunk<T: Real>(sgd: &Sgd, w: &mut [T], v: &mut [T], g: &[T]) {
    let [rate, momentum, decay] = [sgd.rate, sgd.momentum, sgd.decay].map(T::from_f64);
    for ((w, v), g) in w.iter_mut().zip(v).zip(g) {
        let decayed = *g + *w * decay;
        *v = *v * momentum + decayed;
        *w -= if sgd.nesterov { decayed + *v * momentum } else { *v } * rate;
    }
}
