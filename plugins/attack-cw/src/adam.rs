//! Adam (Kingma & Ba 2015, <https://arxiv.org/abs/1412.6980>) with a clock for each sample.

use temper_core::prelude::*;

const FIRST: f64 = 0.9;
const SECOND: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// A rate that leads to the end of tanh in one step, and not to infinity.
const LARGEST: f64 = 1e6;

/// Moments of each sample's gradient, and the steps it took since they were 0.
pub(crate) struct Adam {
    first: Tensor,
    second: Tensor,
    steps: Vec<i32>,
}

impl Adam {
    pub(crate) fn new(like: &Tensor) -> Result<Self> {
        Ok(Self { first: like.zeros_like()?, second: like.zeros_like()?, steps: vec![0; like.dim(0)?] })
    }

    pub(crate) fn rows(&self, mask: &[bool]) -> Result<Self> {
        let pick = |t: &Tensor| rows::select(t, mask);
        let steps = rows::kept(&self.steps, mask);
        Ok(Self { first: pick(&self.first)?, second: pick(&self.second)?, steps })
    }

    /// Begins anew for the samples that `mask` names.
    pub(crate) fn reset(&mut self, mask: &[bool]) -> Result<()> {
        let zeros = self.first.zeros_like()?;
        self.first = rows::choose(mask, &zeros, &self.first)?;
        self.second = rows::choose(mask, &zeros, &self.second)?;
        self.steps.iter_mut().zip(mask).filter(|(_, reset)| **reset).for_each(|(steps, _)| *steps = 0);
        Ok(())
    }

    /// What to add to the variable, `[n, c, h, w]`, to go down `gradient`.
    pub(crate) fn step(&mut self, gradient: &Tensor, rate: f64) -> Result<Tensor> {
        self.steps.iter_mut().for_each(|steps| *steps += 1);
        self.first = (self.first.affine(FIRST, 0.0)? + gradient.affine(1.0 - FIRST, 0.0)?)?;
        self.second = (self.second.affine(SECOND, 0.0)? + gradient.sqr()?.affine(1.0 - SECOND, 0.0)?)?;
        let unbiased = |moment: &Tensor, decay: f64| -> Result<Tensor> {
            let scale: Vec<f64> = self.steps.iter().map(|t| 1.0 / (1.0 - decay.powi(*t))).collect();
            Ok(moment.broadcast_mul(&rows::column(&scale, moment)?)?)
        };
        let deviation = unbiased(&self.second, SECOND)?.sqrt()?.affine(1.0, EPSILON)?;
        Ok((unbiased(&self.first, FIRST)?.affine(-rate.min(LARGEST), 0.0)? / deviation)?)
    }
}
