//! What a network does with a few images in passes that no evaluation makes.
//!
//! Evaluations take for granted that a network gives an image the same logits every time and in every batch, that its
//! gradients are those of its loss, and that an attack without a bound breaks every image. An inspection looks.

use temper_core::{
    Ball, Batch, DType, Distance, Goal, Norm, Passes, Result, Success, Tensor, Victim, VictimNetwork, Walk,
    steepest,
};
use temper_data::Batches;

use crate::cell::Cell;
use crate::seen::NetworkName;
use crate::{Error, Setting};

/// Images of an inspection.
const IMAGES: usize = 16;
/// Images that are also passed through the network one by one.
const ALONE: usize = 4;
/// A quarter of the distance between two 8-bit values: what pixels are moved by to measure a slope.
const NUDGE: f64 = 0.25 / 255.0;
/// Steps of the attack without a bound, a tenth of the range of pixel values each.
const STEPS: usize = 40;
const STEP: Distance = Distance::of(0.1);

/// What an inspection found. See [`inspect`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inspection {
    pub(crate) network: NetworkName,
    /// Images.
    pub(crate) images: usize,
    /// The largest distance between two outputs for the same image: the Euclidean distance of logits scaled to
    /// length 1 (Croce and Hein 2020, `checks.py`).
    pub(crate) between_passes: f64,
    /// The same between an image in a batch and on its own.
    pub(crate) between_batches: f64,
    /// For each image: how much the loss rose along the gradient's signs, over how much the gradient says.
    pub(crate) slopes: Vec<f64>,
    /// Images that stand, of those that the attack without a bound was run on.
    pub(crate) unbroken: Option<[usize; 2]>,
}

/// Passes some of a cell's images through the network: the same twice, some of them alone, and if `attacked` (if
/// attacks are evaluated) two passes beside each image and an attack within all of [0, 1]. `None` if no image can be
/// decoded.
pub fn inspect(setting: &Setting, cell: &Cell, attacked: bool) -> Result<Option<Inspection>, Error> {
    let all = cell.source.len();
    let n = all.min(IMAGES);
    let order: Vec<usize> = (0..n).map(|i| i * all / n).collect();
    let Some(raw) = Batches::new(cell.source.clone(), order, n.max(1), None).next() else { return Ok(None) };
    let raw = raw?;
    if raw.ids.is_empty() {
        return Ok(None);
    }
    let batch = Batch::new(raw, setting.device)?;
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(setting.network), &batch, Goal::Mistake, &passes)?;
    let mut found = Inspection {
        network: NetworkName::of(setting),
        images: batch.len(),
        between_passes: between_passes(&victim)?,
        between_batches: between_batches(&victim)?,
        ..Inspection::default()
    };
    let right: Vec<bool> = victim.broken(victim.pixels())?.iter().map(|broken| !broken).collect();
    if attacked && right.contains(&true) {
        let victim = victim.rows(&right)?;
        found.slopes = slopes(&victim)?;
        found.unbroken = Some([unbroken(&victim)?, victim.len()]);
    }
    Ok(Some(found))
}

fn between_passes(victim: &Victim) -> Result<f64> {
    let [once, again] = [victim.logits(victim.pixels())?, victim.logits(victim.pixels())?];
    farthest(&once, &again)
}

fn between_batches(victim: &Victim) -> Result<f64> {
    let together = victim.logits(victim.pixels())?;
    let mut most = 0.0f64;
    for row in 0..victim.len().min(ALONE) {
        let only: Vec<bool> = (0..victim.len()).map(|other| other == row).collect();
        let one = victim.rows(&only)?;
        let alone = one.logits(one.pixels())?;
        most = most.max(farthest(&together.narrow(0, row, 1)?, &alone)?);
    }
    Ok(most)
}

/// The largest distance of two rows of logits, each scaled to length 1. Rows that are not numbers are left out:
/// another check tells of them.
fn farthest(a: &Tensor, b: &Tensor) -> Result<f64> {
    let rows = |logits: &Tensor| logits.to_dtype(DType::F64)?.to_vec2::<f64>();
    let length = |row: &[f64]| row.iter().map(|logit| logit * logit).sum::<f64>().sqrt().max(1e-30);
    let distance = |(a, b): (&Vec<f64>, &Vec<f64>)| {
        let (of_a, of_b) = (length(a), length(b));
        a.iter().zip(b).map(|(a, b)| (a / of_a - b / of_b).powi(2)).sum::<f64>().sqrt()
    };
    let (a, b) = (rows(a)?, rows(b)?);
    Ok(a.iter().zip(&b).map(distance).filter(|distance| distance.is_finite()).fold(0.0, f64::max))
}

/// Central differences of the score along the signs of its gradient, over what the gradient says. Pixels at the ends
/// of [0, 1] stay, and images without a gradient are left out: they are counted elsewhere.
fn slopes(victim: &Victim) -> Result<Vec<f64>> {
    let (pixels, gradient) = (victim.pixels(), victim.gradient(victim.pixels())?);
    let free = pixels.ge(NUDGE)?.mul(&pixels.le(1.0 - NUDGE)?)?.to_dtype(gradient.dtype())?;
    let gradient = (gradient * free)?;
    let nudge = (steepest(Norm::Linf, &gradient)? * NUDGE)?;
    let numbers = |scores: &Tensor| scores.to_dtype(DType::F64)?.to_vec1::<f64>();
    let [up, down] =
        [numbers(&victim.scores(&(pixels + &nudge)?)?)?, numbers(&victim.scores(&(pixels - &nudge)?)?)?];
    let said = numbers(&gradient.abs()?.flatten_from(1)?.sum(1)?)?;
    let measured = up.iter().zip(&down).map(|(up, down)| (up - down) / (2.0 * NUDGE));
    // Differences of large scores are rounded: a rise that rounding could hide says nothing.
    let clear = |said: f64, score: f64| said * 2.0 * NUDGE > 1e-5 * score.abs().max(1.0);
    let known = measured.zip(said.iter().zip(&up)).filter(|(_, (said, score))| clear(**said, **score));
    Ok(known.map(|(measured, (said, _))| measured / said).filter(|slope| slope.is_finite()).collect())
}

/// How many samples stand after steps along the signs of the gradient to any image of [0, 1].
fn unbroken(victim: &Victim) -> Result<usize> {
    let ball = Ball::new(victim.pixels(), &vec![1.0; victim.len()], Norm::Linf, victim.ids())?;
    let mut walk = Walk::new(victim, &ball, victim.pixels().clone(), Success::Any);
    let mut left = victim.len();
    for _ in 0..=STEPS {
        let Some((pass, _)) = walk.pass()? else { return Ok(0) };
        left = pass.scores.dim(0)?;
        let lengths = walk.ball().lengths(STEP, 0.0)?;
        let next = walk.ball().step(walk.pixels(), &walk.ball().steepest(&pass.gradient)?, &lengths)?;
        walk.go(next)?;
    }
    Ok(left)
}
