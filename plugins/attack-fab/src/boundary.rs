//! The nearest decision boundary of the linearised network.

use temper_core::prelude::*;
use temper_core::{DType, Forward};

/// For each sample the nearest of the boundaries with some classes. The boundary with class k is where `f_k`, the
/// linearised difference between its logit and that of the sample's class, is 0.
pub(crate) struct Boundary {
    /// Which samples have a boundary. A gradient of 0, infinity or NaN has none.
    pub(crate) found: Vec<bool>,
    /// `f_k` at the image, in logits; 0 without a boundary.
    pub(crate) scores: Vec<f64>,
    /// Its gradient, `[n, c, h, w]`; 0 without a boundary.
    pub(crate) gradient: Tensor,
}

impl Boundary {
    /// The nearest of the boundaries with `classes`, each `[n, 1]`, from one backward pass per class. The distance
    /// is `|f_k|` over the dual norm of its gradient; as in the paper, it ignores [0, 1].
    pub(crate) fn nearest(
        forward: &Forward,
        classes: &[Tensor],
        norm: Norm,
        pixels: &Tensor,
    ) -> Result<Self> {
        let n = pixels.dim(0)?;
        let mut distances = vec![f64::INFINITY; n];
        let mut scores = vec![0.0; n];
        let mut gradient = pixels.zeros_like()?;
        for class in classes {
            let pass = forward.pass_of(&|logits, rows| {
                let own = logits.gather(&rows.labels.unsqueeze(1)?, 1)?;
                Ok((logits.gather(class, 1)? - own)?.squeeze(1)?)
            })?;
            let heights = pass.scores.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            let slopes = slope(norm, &pass.gradient)?;
            let distance = |i: usize| match slopes[i] > 0.0 && slopes[i].is_finite() {
                true => heights[i].abs() / slopes[i],
                false => f64::INFINITY,
            };
            // False for a NaN.
            let nearer: Vec<bool> = (0..n).map(|i| distance(i) < distances[i]).collect();
            gradient = rows::choose(&nearer, &pass.gradient, &gradient)?;
            for i in (0..n).filter(|i| nearer[*i]) {
                (distances[i], scores[i]) = (distance(i), heights[i]);
            }
        }
        Ok(Self { found: distances.iter().map(|d| d.is_finite()).collect(), scores, gradient })
    }
}
