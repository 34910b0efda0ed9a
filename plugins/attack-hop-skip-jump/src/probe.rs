//! The direction of the boundary, from random images around one on it: equations 9 and 16 of the paper.

use temper_core::prelude::*;

use crate::front::Front;

/// For each sample an estimate of the direction in which images become misclassified, `[remaining, c, h, w]`: of
/// length 1, in l-inf its sign. It makes `probes` queries per sample, which every sample must have left, for images
/// at l2 distances `lengths` from the one on the boundary.
pub(crate) fn direction(front: &mut Front, lengths: &[f64], probes: usize, rng: &Rng) -> Result<Tensor> {
    let image = front.image().clone();
    let (n, all) = (front.len(), vec![true; front.len()]);
    let (mut sum, mut signed, mut errors) = (image.zeros_like()?, image.zeros_like()?, vec![0usize; n]);
    for probe in 0..probes {
        let images = front.towards(&noise(front, &rng.numbered(probe as u64))?, lengths)?;
        // Where the image was clamped to [0, 1], this differs from the noise.
        let offset = (&images - &image)?;
        let broken = front.look(&images, &all)?;
        let signs: Vec<f64> = broken.iter().map(|broken| if *broken { 1.0 } else { -1.0 }).collect();
        signed = (signed + offset.broadcast_mul(&rows::column(&signs, &image)?)?)?;
        sum = (sum + offset)?;
        errors.iter_mut().zip(broken).for_each(|(errors, broken)| *errors += usize::from(broken));
    }
    // The mean of the signs is subtracted from each of them, which lowers the variance. It is not subtracted where
    // all signs are equal, because the difference would be 0.
    let baseline = |errors: &usize| match *errors {
        0 => 0.0,
        errors if errors == probes => 0.0,
        errors => 2.0 * errors as f64 / probes as f64 - 1.0,
    };
    let baselines: Vec<f64> = errors.iter().map(baseline).collect();
    let estimate = (signed - sum.broadcast_mul(&rows::column(&baselines, &image)?)?)?;
    steepest(front.norm(), &estimate)
}

/// Noise of l2 length 1 for each sample, `[remaining, c, h, w]`: normal in l2, uniform in l-inf.
fn noise(front: &Front, rng: &Rng) -> Result<Tensor> {
    let (ids, len, image) = (front.ids(), front.values()?, front.image());
    let mut values = match front.norm() {
        Norm::L2 => rng.normal(ids, len),
        Norm::Linf => rng.uniform(ids, len),
    };
    for row in values.chunks_mut(len) {
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let scale = (1.0 / length.max(1e-30)) as f32;
        for value in row {
            *value *= scale;
        }
    }
    Ok(Tensor::from_vec(values, image.shape(), image.device())?.to_dtype(image.dtype())?)
}
