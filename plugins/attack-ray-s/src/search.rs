//! The samples that are still searched, one query each at a time.

use temper_core::prelude::*;

use crate::ray::{Ray, Verdict};

/// A batch under search.
pub(crate) struct Search<'a> {
    /// The remaining samples. `ball`, `signs`, `rays` and `rows` have a row or an element for each of them.
    victim: Victim<'a>,
    /// All images of [0, 1], as balls of l-inf radius 1 around the clean ones, `[remaining, c, h, w]`.
    ball: Ball,
    /// Best directions, +1 or -1, `[remaining, values]`.
    signs: Tensor,
    rays: Vec<Ray>,
    /// The row of each remaining sample in the batch.
    rows: Vec<usize>,
    /// The index of each value of an image, `[1, values]`, `u32`.
    numbers: Tensor,
    /// Queries that each remaining sample may still make; all samples make one per round.
    left: usize,
    /// The result so far of each sample of the batch, `[n, c, h, w]`.
    results: Tensor,
}

impl<'a> Search<'a> {
    /// Starts from the clean images `[n, c, h, w]`. Samples that are misclassified there are not searched.
    pub(crate) fn new(victim: &Victim<'a>, clean: &Tensor, queries: usize, tolerance: f64) -> Result<Self> {
        let signs = clean.ones_like()?.flatten_from(1)?;
        let (n, len) = signs.dims2()?;
        // Along a direction of signs, an l-inf length is the l2 length over the root of the number of values.
        let ray = Ray::new(len, tolerance / (len as f64).sqrt());
        let mut search = Self {
            victim: victim.clone(),
            ball: Ball::new(clean, &vec![1.0; n], Norm::Linf, victim.ids())?,
            signs,
            rays: vec![ray; n],
            rows: (0..n).collect(),
            numbers: Tensor::arange(0, len as u32, clean.device())?.unsqueeze(0)?,
            left: queries,
            results: clean.clone(),
        };
        if n > 0 {
            let broken = search.ask(clean)?;
            search.keep(&broken.iter().map(|broken| !broken).collect::<Vec<_>>())?;
        }
        Ok(search)
    }

    /// Whether any sample has queries left to make.
    pub(crate) fn goes_on(&self) -> bool {
        self.left > 0 && !self.rows.is_empty()
    }

    /// Makes one query of each sample. Samples whose search is over are removed.
    pub(crate) fn round(&mut self) -> Result<()> {
        let attempts = self.attempts()?;
        let radii: Vec<f64> = self.rays.iter().map(Ray::asks).collect();
        let broken = self.ask(&self.images(&attempts, &radii)?)?;
        let verdicts = self.rays.iter_mut().zip(broken).map(|(ray, broken)| ray.hear(broken));
        let kept: Vec<bool> = verdicts.map(|verdict| verdict == Verdict::Flip).collect();
        self.signs = rows::choose(&kept, &attempts, &self.signs)?;
        let stays: Vec<bool> = self.rays.iter().map(|ray| !ray.is_over()).collect();
        if stays.contains(&false) || self.left == 0 {
            self.keep(&stays)?;
        }
        Ok(())
    }

    /// The nearest misclassified image of each sample, `[n, c, h, w]`; the clean one without a success.
    pub(crate) fn finish(self) -> Tensor {
        self.results
    }

    fn ask(&mut self, images: &Tensor) -> Result<Vec<bool>> {
        self.left -= 1;
        self.victim.broken(images)
    }

    /// The directions with the flips that are tried, `[remaining, values]`.
    fn attempts(&self) -> Result<Tensor> {
        let bounds = |of: fn(&Ray) -> usize| -> Result<Tensor> {
            let bounds: Vec<u32> = self.rays.iter().map(|ray| of(ray) as u32).collect();
            Ok(Tensor::from_vec(bounds, (self.rays.len(), 1), self.numbers.device())?)
        };
        let (starts, ends) = (bounds(|ray| ray.flip.start)?, bounds(|ray| ray.flip.end)?);
        let flipped = (self.numbers.broadcast_ge(&starts)? * self.numbers.broadcast_lt(&ends)?)?;
        Ok((&self.signs * flipped.to_dtype(self.signs.dtype())?.affine(-2.0, 1.0)?)?)
    }

    /// The images at `radii` in `directions`, `[remaining, c, h, w]`.
    fn images(&self, directions: &Tensor, radii: &[f64]) -> Result<Tensor> {
        let clean = self.ball.center();
        self.ball.step(clean, &directions.reshape(clean.shape())?, &rows::column(radii, clean)?)
    }

    /// Writes the results so far, and keeps the samples that `stays` selects.
    fn keep(&mut self, stays: &[bool]) -> Result<()> {
        let radii: Vec<f64> = self.rays.iter().map(|ray| ray.radius).collect();
        let found: Vec<bool> = self.rays.iter().map(|ray| ray.found).collect();
        if found.contains(&true) {
            let images = rows::select(&self.images(&self.signs, &radii)?, &found)?;
            let mut named = vec![false; self.results.dim(0)?];
            for row in rows::kept(&self.rows, &found) {
                named[row] = true;
            }
            self.results = rows::replace(&self.results, &images, &named)?;
        }
        (self.rows, self.rays) = (rows::kept(&self.rows, stays), self.remaining(stays));
        if !self.rows.is_empty() && stays.contains(&false) {
            self.victim = self.victim.rows(stays)?;
            self.ball = self.ball.rows(stays)?;
            self.signs = rows::select(&self.signs, stays)?;
        }
        Ok(())
    }

    fn remaining(&self, stays: &[bool]) -> Vec<Ray> {
        self.rays.iter().zip(stays).filter(|(_, stays)| **stays).map(|(ray, _)| ray.clone()).collect()
    }
}
