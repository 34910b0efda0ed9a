//! The samples that are still attacked: their queries, their images on the boundary, and the nearest ones so far.

use temper_core::DType;
use temper_core::prelude::*;

/// The remaining samples of a batch.
pub(crate) struct Front<'a> {
    victim: Victim<'a>,
    /// All images of [0, 1], as balls of l-inf radius 1 around the clean ones.
    ball: Ball,
    norm: Norm,
    /// Queries that each sample may still make.
    left: Vec<usize>,
    /// A misclassified image of each sample near the boundary, `[remaining, c, h, w]`; at first the clean one.
    image: Tensor,
    /// Distance of `image` from the clean image, in `norm`.
    distances: Vec<f64>,
    /// Distance of the image from which the boundary was last approached.
    reach: Vec<f64>,
    /// The nearest misclassified image of each sample, `[remaining, c, h, w]`, and its distance; infinite before the
    /// first one.
    best: Tensor,
    least: Vec<f64>,
    /// The row of each remaining sample in the batch.
    rows: Vec<usize>,
    /// The result of each sample of the batch, `[n, c, h, w]`.
    results: Tensor,
}

/// The smallest share of a distance that the precision of `pixels` resolves, with some margin.
pub(crate) fn resolution(pixels: &Tensor) -> f64 {
    match pixels.dtype() {
        DType::F64 => 1e-12,
        DType::F16 | DType::BF16 => 1e-2,
        _ => 1e-6,
    }
}

impl<'a> Front<'a> {
    /// Queries the clean images, and keeps the samples that are classified correctly.
    pub(crate) fn new(victim: &Victim<'a>, clean: &Tensor, norm: Norm, queries: usize) -> Result<Self> {
        let n = victim.len();
        let mut front = Self {
            victim: victim.clone(),
            ball: Ball::new(clean, &vec![1.0; n], Norm::Linf, victim.ids())?,
            norm,
            left: vec![queries; n],
            image: clean.clone(),
            distances: vec![0.0; n],
            reach: vec![0.0; n],
            best: clean.clone(),
            least: vec![f64::INFINITY; n],
            rows: (0..n).collect(),
            results: clean.clone(),
        };
        let broken = front.ask(clean, &vec![true; n])?;
        front.keep(&broken.iter().map(|broken| !broken).collect::<Vec<_>>())?;
        Ok(front)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Number of values of an image.
    pub(crate) fn values(&self) -> Result<usize> {
        Ok(self.results.elem_count() / self.results.dim(0)?.max(1))
    }

    pub(crate) fn ids(&self) -> &[u64] {
        self.victim.ids()
    }

    pub(crate) fn left(&self) -> &[usize] {
        &self.left
    }

    pub(crate) fn image(&self) -> &Tensor {
        &self.image
    }

    pub(crate) fn distances(&self) -> &[f64] {
        &self.distances
    }

    pub(crate) fn reach(&self) -> &[f64] {
        &self.reach
    }

    pub(crate) fn norm(&self) -> Norm {
        self.norm
    }

    /// The images near the boundary, moved by `lengths` (one number per sample) along `directions`, both
    /// `[remaining, c, h, w]`, and clamped to [0, 1].
    pub(crate) fn towards(&self, directions: &Tensor, lengths: &[f64]) -> Result<Tensor> {
        self.ball.step(&self.image, directions, &rows::column(lengths, directions)?)
    }

    /// The samples that `mask` selects and that have queries left.
    pub(crate) fn able(&self, mask: &[bool]) -> Vec<bool> {
        mask.iter().zip(&self.left).map(|(wants, left)| *wants && *left > 0).collect()
    }

    /// Makes one query of each sample that `asking` selects, at its row of `images` `[remaining, c, h, w]`. Returns
    /// which samples are misclassified there; false for the others.
    pub(crate) fn look(&mut self, images: &Tensor, asking: &[bool]) -> Result<Vec<bool>> {
        if !asking.contains(&true) {
            return Ok(vec![false; asking.len()]);
        }
        let answers = self.victim.rows(asking)?.broken(&rows::select(images, asking)?)?;
        let mut answers = answers.into_iter();
        let mut broken = vec![false; asking.len()];
        for i in (0..asking.len()).filter(|i| asking[*i]) {
            self.left[i] = self.left[i].saturating_sub(1);
            broken[i] = answers.next().unwrap_or(false);
        }
        Ok(broken)
    }

    /// Like [`Self::look`], but also keeps the images that are misclassified and nearer than all before.
    pub(crate) fn ask(&mut self, images: &Tensor, asking: &[bool]) -> Result<Vec<bool>> {
        let broken = self.look(images, asking)?;
        if broken.contains(&true) {
            let distances = self.ball.distances(images, self.norm)?;
            let nearer: Vec<bool> =
                (0..broken.len()).map(|i| broken[i] && distances[i] < self.least[i]).collect();
            self.best = rows::choose(&nearer, images, &self.best)?;
            for i in (0..nearer.len()).filter(|i| nearer[*i]) {
                self.least[i] = distances[i];
            }
        }
        Ok(broken)
    }

    /// Moves the samples that `moved` selects to the boundary, by bisection of the path from the clean images to
    /// `far`, `[remaining, c, h, w]`, where they are misclassified. `theta` is the tolerance, as a share of the
    /// distance of `far`.
    pub(crate) fn approach(&mut self, far: &Tensor, moved: &[bool], theta: f64) -> Result<()> {
        let distances = self.ball.distances(far, self.norm)?;
        let n = moved.len();
        // Shares of the distance of `far`.
        let (mut low, mut high) = (vec![0.0; n], vec![1.0; n]);
        let mut nearest = far.clone();
        loop {
            let wide: Vec<bool> = (0..n).map(|i| moved[i] && high[i] - low[i] > theta).collect();
            let open = self.able(&wide);
            if !open.contains(&true) {
                break;
            }
            let middle: Vec<f64> = (0..n).map(|i| f64::midpoint(low[i], high[i])).collect();
            let images = self.between(far, &distances, &middle)?;
            let broken = self.ask(&images, &open)?;
            nearest = rows::choose(&broken, &images, &nearest)?;
            for i in (0..n).filter(|i| open[*i]) {
                *(if broken[i] { &mut high[i] } else { &mut low[i] }) = middle[i];
            }
        }
        self.image = rows::choose(moved, &nearest, &self.image)?;
        self.distances = self.ball.distances(&self.image, self.norm)?;
        for i in (0..n).filter(|i| moved[*i]) {
            self.reach[i] = distances[i];
        }
        Ok(())
    }

    /// Images at `shares` of the `distances` of `far` from the clean ones: in l2 on the straight line, in l-inf `far`
    /// with each value clamped to that distance from the clean one.
    fn between(&self, far: &Tensor, distances: &[f64], shares: &[f64]) -> Result<Tensor> {
        let clean = self.ball.center();
        let images = match self.norm {
            Norm::L2 => (clean + (far - clean)?.broadcast_mul(&rows::column(shares, clean)?)?)?,
            Norm::Linf => {
                let widths: Vec<f64> = shares.iter().zip(distances).map(|(s, d)| s * d).collect();
                let widths = rows::column(&widths, clean)?;
                far.maximum(&clean.broadcast_sub(&widths)?)?.minimum(&clean.broadcast_add(&widths)?)?
            }
        };
        Ok(images.clamp(0.0, 1.0)?)
    }

    /// Removes the samples that `stays` does not select, and writes their nearest images to the results.
    pub(crate) fn keep(&mut self, stays: &[bool]) -> Result<()> {
        if !stays.contains(&false) {
            return Ok(());
        }
        let leaves: Vec<bool> = stays.iter().map(|stays| !stays).collect();
        self.results = self.with_best(&leaves)?;
        self.rows = rows::kept(&self.rows, stays);
        self.left = rows::kept(&self.left, stays);
        self.distances = rows::kept(&self.distances, stays);
        self.reach = rows::kept(&self.reach, stays);
        self.least = rows::kept(&self.least, stays);
        if !self.rows.is_empty() {
            (self.victim, self.ball) = (self.victim.rows(stays)?, self.ball.rows(stays)?);
            (self.image, self.best) = (rows::select(&self.image, stays)?, rows::select(&self.best, stays)?);
        }
        Ok(())
    }

    /// The nearest misclassified image of each sample of the batch, `[n, c, h, w]`; the clean one without a success.
    pub(crate) fn finish(self) -> Result<Tensor> {
        match self.rows.is_empty() {
            true => Ok(self.results),
            false => self.with_best(&vec![true; self.rows.len()]),
        }
    }

    /// The results with the nearest images of the samples that `mask` selects.
    fn with_best(&self, mask: &[bool]) -> Result<Tensor> {
        let mut named = vec![false; self.results.dim(0)?];
        for row in rows::kept(&self.rows, mask) {
            named[row] = true;
        }
        rows::replace(&self.results, &rows::select(&self.best, mask)?, &named)
    }
}
