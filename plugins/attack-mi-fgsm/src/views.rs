//! Gradients at several views of an image: copies at several scales (SI, Lin et al. 2020), each resized and padded at
//! random (DI), and those around neighbours of the image (variance tuning, Wang and He 2021).

use temper_core::{DType, prelude::*};

use crate::diversity::Diversity;

/// The views of an image that the network receives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Views {
    /// Number of copies; the copy i is the image divided by 2^i.
    pub(crate) scales: usize,
    /// Each copy is transformed by a separate draw.
    pub(crate) diversity: Diversity,
}

impl Views {
    /// Gradient at `pixels`, `[n, c, h, w]`, of the mean score of all copies. Scaling and resizing are
    /// differentiated, as in the references. `known` is the gradient of the score at `pixels` themselves, if a
    /// pass has been made there.
    pub(crate) fn gradient(
        self,
        victim: &Victim,
        pixels: &Tensor,
        rng: Rng,
        known: Option<Tensor>,
    ) -> Result<Tensor> {
        let mut sum = match known.filter(|_| !self.diversity.is_on()) {
            Some(gradient) => gradient,
            None => self.copy(victim, pixels, rng, 0)?,
        };
        for copy in 1..self.scales {
            sum = (sum + self.copy(victim, pixels, rng, copy)?)?;
        }
        Ok(if self.scales > 1 { (sum / self.scales as f64)? } else { sum })
    }

    /// Gradient at `pixels` of the score of one copy.
    fn copy(self, victim: &Victim, pixels: &Tensor, rng: Rng, copy: usize) -> Result<Tensor> {
        let scale = 0.5f64.powi(i32::try_from(copy).unwrap_or(i32::MAX));
        let scaled =
            |tensor: Tensor| -> Result<Tensor> { Ok(if copy > 0 { (tensor * scale)? } else { tensor }) };
        if !self.diversity.is_on() {
            return scaled(victim.gradient(&scaled(pixels.clone())?)?);
        }
        let resizing = self.diversity.draw(pixels, victim.ids(), rng.numbered(copy as u64))?;
        let gradient = victim.gradient(&resizing.apply(&scaled(pixels.clone())?)?)?;
        scaled(resizing.pull_back(&gradient)?)
    }

    /// The mean of the gradients at `neighbours` points, each uniform in the ball of `radius` times the radius
    /// around `pixels`. As in the references, the points are not clamped to [0, 1].
    pub(crate) fn around(
        self,
        victim: &Victim,
        pixels: &Tensor,
        ball: &Ball,
        (neighbours, radius): (usize, f64),
        rng: Rng,
    ) -> Result<Tensor> {
        let radii: Vec<f64> = (ball.radii().to_dtype(DType::F64)? * radius)?.to_vec1()?;
        let around = Ball::new(pixels, &radii, ball.norm(), victim.ids())?;
        let mut sum = pixels.zeros_like()?;
        for neighbour in 0..neighbours {
            let rng = rng.named("neighbour").numbered(neighbour as u64);
            let gradient = self.gradient(victim, &around.random_unclamped(&rng)?, rng, None)?;
            sum = (sum + gradient)?;
        }
        Ok((sum / neighbours as f64)?)
    }
}
