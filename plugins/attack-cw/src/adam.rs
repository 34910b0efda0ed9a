//! Adam (Kingma & Ba 2015, <https://arxiv.org/abs/1412.6980>) with a step counter per sample.
//!
//! Deviation: the constant that Adam adds to the root of the second moment is scaled with the sample's
//! largest value of that root. Adam's steps do not depend on the scale of gradients except for this constant.
//! With gradients of 1e-9, as black and white images have at the edge of tanh space, or as a network with
//! small logits has, the unscaled constant would stop the image.

use temper_core::prelude::*;

const FIRST: f64 = 0.9;
const SECOND: f64 = 0.999;
/// For roots of at least 1, as in all libraries; smaller ones scale it.
const EPSILON: f64 = 1e-8;
/// A learning rate that reaches the end of tanh space in one step without becoming infinite.
const LARGEST: f64 = 1e6;

/// The moments of each sample's gradient, and its number of steps since they were reset.
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

    /// Resets the samples that `mask` selects.
    pub(crate) fn reset(&mut self, mask: &[bool]) -> Result<()> {
        let zeros = self.first.zeros_like()?;
        self.first = rows::choose(mask, &zeros, &self.first)?;
        self.second = rows::choose(mask, &zeros, &self.second)?;
        self.steps.iter_mut().zip(mask).filter(|(_, reset)| **reset).for_each(|(steps, _)| *steps = 0);
        Ok(())
    }

    /// The step `[n, c, h, w]` to add to the variable, which descends along `gradient`.
    pub(crate) fn step(&mut self, gradient: &Tensor, rate: f64) -> Result<Tensor> {
        self.steps.iter_mut().for_each(|steps| *steps += 1);
        self.first = (self.first.affine(FIRST, 0.0)? + gradient.affine(1.0 - FIRST, 0.0)?)?;
        self.second = (self.second.affine(SECOND, 0.0)? + gradient.sqr()?.affine(1.0 - SECOND, 0.0)?)?;
        let unbiased = |moment: &Tensor, decay: f64| -> Result<Tensor> {
            let scale: Vec<f64> = self.steps.iter().map(|t| 1.0 / (1.0 - decay.powi(*t))).collect();
            Ok(moment.broadcast_mul(&rows::column(&scale, moment)?)?)
        };
        let deviation = unbiased(&self.second, SECOND)?.sqrt()?;
        let largest = deviation.flatten_from(1)?.max_keepdim(1)?.reshape((deviation.dim(0)?, 1, 1, 1))?;
        let epsilon = (largest * EPSILON)?.clamp(f64::from(f32::MIN_POSITIVE), EPSILON)?;
        let deviation = deviation.broadcast_add(&epsilon)?;
        Ok((unbiased(&self.first, FIRST)?.affine(-rate.min(LARGEST), 0.0)? / deviation)?)
    }
}

#[cfg(test)]
mod tests {
    use temper_core::Device;

    use super::*;

    #[test]
    fn steps_do_not_depend_on_how_large_gradients_are() {
        let path = |scale: f32| {
            let mut adam =
                Adam::new(&Tensor::zeros((2, 1, 1, 2), temper_core::DType::F32, &Device::Cpu).unwrap())
                    .unwrap();
            let mut steps = vec![];
            for i in 0..4 {
                let gradient = [1.0, -0.5 + 0.3 * i as f32, 2.0, 0.0].map(|g| g * scale);
                let gradient = Tensor::new(&gradient, &Device::Cpu).unwrap().reshape((2, 1, 1, 2)).unwrap();
                let step =
                    adam.step(&gradient, 0.01).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                steps.extend(step);
            }
            steps
        };
        let want = path(1.0);
        assert!((want[0] + 0.01).abs() < 1e-6 && want[3] == 0.0, "{want:?}");
        for scale in [1e-12, 1e-6, 1e6] {
            for (got, want) in path(scale).iter().zip(&want) {
                assert!((got - want).abs() < 1e-6, "{scale}: {got} for {want}");
            }
        }
    }
}
