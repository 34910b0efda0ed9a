//! The state of a batch between steps: iterates, the best ones, and step lengths (algorithm 1 of the paper).

use temper_core::prelude::*;
use temper_core::{DType, Pass};

use crate::progress::Progress;

/// The longest step, as a multiple of the radius: beyond any image, but finite in single precision.
const LONGEST: f64 = 1e4;

/// The state of the remaining samples. All tensors are `[remaining, c, h, w]`.
pub(crate) struct Ascent {
    progress: Vec<Progress>,
    /// The point from which the next step starts (the last iterate, or after a halving the best one), and its
    /// gradient.
    pixels: Tensor,
    gradient: Tensor,
    /// The point from which the last step started, which momentum needs.
    previous: Option<Tensor>,
    /// The iterate of the highest loss, and the gradient there.
    best: Tensor,
    best_gradient: Tensor,
}

impl Ascent {
    /// The state at the starts. `first_step` is a multiple of the radius. The next loss is compared with `before`, or
    /// if that is `None` with the loss at the start.
    pub(crate) fn begin(pixels: &Tensor, pass: &Pass, first_step: f64, before: Option<f64>) -> Result<Self> {
        let length = first_step.min(LONGEST);
        let begin = |loss: f64| Progress::begin(length, loss, before);
        Ok(Self {
            progress: numbers(&pass.scores)?.into_iter().map(begin).collect(),
            pixels: pixels.clone(),
            gradient: pass.gradient.clone(),
            previous: None,
            best: pixels.clone(),
            best_gradient: pass.gradient.clone(),
        })
    }

    /// The next iterate: a projected step along the gradient, mixed with the former move, and projected again.
    pub(crate) fn next(&mut self, ball: &Ball, alpha: f64) -> Result<Tensor> {
        let multiples: Vec<f64> = self.progress.iter().map(|progress| progress.length).collect();
        let lengths = (rows::column(&multiples, &self.pixels)? * ball.lengths(Distance::ZERO, 1.0)?)?;
        let ahead = ball.step(&self.pixels, &ball.steepest(&self.gradient)?, &lengths)?;
        let Some(previous) = self.previous.replace(self.pixels.clone()) else { return Ok(ahead) };
        let step = ((ahead - &self.pixels)? * alpha)?;
        let momentum = ((&self.pixels - previous)? * (1.0 - alpha))?;
        ball.project(&((&self.pixels + step)? + momentum)?)
    }

    /// Keeps the samples with these indices; all if `kept` is `None`.
    pub(crate) fn keep(&mut self, kept: Option<&Tensor>) -> Result<()> {
        let Some(kept) = kept else { return Ok(()) };
        let index = kept.to_vec1::<u32>()?;
        self.progress = index.iter().map(|row| self.progress[*row as usize]).collect();
        // The iterate and its gradient are replaced on arrival.
        self.previous = self.previous.as_ref().map(|previous| previous.index_select(kept, 0)).transpose()?;
        self.best = self.best.index_select(kept, 0)?;
        self.best_gradient = self.best_gradient.index_select(kept, 0)?;
        Ok(())
    }

    /// Records the next iterate.
    pub(crate) fn arrive(&mut self, pixels: &Tensor, pass: &Pass) -> Result<()> {
        let better = self.better(&pass.scores)?;
        (self.pixels, self.gradient) = (pixels.clone(), pass.gradient.clone());
        self.best = rows::choose(&better, &self.pixels, &self.best)?;
        self.best_gradient = rows::choose(&better, &self.gradient, &self.best_gradient)?;
        Ok(())
    }

    /// Ends a window of this many steps: samples whose step length is halved go on from their best iterate.
    pub(crate) fn check(&mut self, window: usize, rho: f64) -> Result<()> {
        let halved: Vec<bool> =
            self.progress.iter_mut().map(|progress| progress.check(window, rho)).collect();
        self.pixels = rows::choose(&halved, &self.best, &self.pixels)?;
        self.gradient = rows::choose(&halved, &self.best_gradient, &self.gradient)?;
        Ok(())
    }

    /// The iterates with the highest loss. The last iterate, with these scores `[remaining]`, is a candidate too.
    pub(crate) fn best_with(mut self, last: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let better = self.better(scores)?;
        rows::choose(&better, last, &self.best)
    }

    /// Records the scores of the next iterate, `[remaining]`, and returns which are the highest so far.
    fn better(&mut self, scores: &Tensor) -> Result<Vec<bool>> {
        let scores = numbers(scores)?;
        Ok(self.progress.iter_mut().zip(scores).map(|(progress, score)| progress.arrive(score)).collect())
    }
}

fn numbers(scores: &Tensor) -> Result<Vec<f64>> {
    Ok(scores.to_dtype(DType::F64)?.to_vec1()?)
}
