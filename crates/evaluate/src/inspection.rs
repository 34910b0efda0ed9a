//! Inspections of a network: passes over a few images that evaluations do not make.
//!
//! Evaluations assume that a network returns the same logits for an image every time and in every batch, that
//! its gradients are those of its loss, and that an attack without a bound breaks every image. An inspection
//! tests this.

use std::collections::BTreeSet;

use temper_core::{
    Ball, Batch, DType, Distance, Error, Goal, Norm, Passes, Result, Rng, Success, Tensor, Victim,
    VictimNetwork, Walk, slope, steepest,
};
use temper_data::Batches;

use crate::Setting;
use crate::cell::Cell;
use crate::seen::NetworkName;

/// The largest number of images of an inspection.
const IMAGES: usize = 16;
/// The number of correctly classified images that checks of gradients need.
pub(crate) const ENOUGH: usize = 4;
/// How many further batches are searched for that many.
const BATCHES: usize = 15;
/// Images that are also passed through the network one by one.
const ALONE: usize = 4;
/// The distance by which pixels are moved to measure a slope: a quarter of the distance between two 8-bit
/// values.
const NUDGE: f64 = 0.25 / 255.0;
/// Largest random change of a pixel value, and the number of draws, by which it is measured how rough the loss is
/// (`IndicatorsOfAttackFailure`, Pintor et al. 2022, which draws 100 times).
const NOISE: f64 = 4.0 / 255.0;
const DRAWS: u64 = 10;
/// Steps of the attack without a bound, a tenth of the range of pixel values each.
const STEPS: usize = 40;
const STEP: Distance = Distance::of(0.1);

/// What an inspection found. See [`inspect`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inspection {
    pub(crate) network: NetworkName,
    /// Number of images.
    pub(crate) images: usize,
    /// Number of different classes that the network predicts for them.
    pub(crate) classes: usize,
    /// The largest distance between two outputs for the same image: the Euclidean distance of logits scaled to
    /// length 1 (Croce and Hein 2020, `checks.py`).
    pub(crate) between_passes: f64,
    /// The same distance between an image in a batch and the image on its own.
    pub(crate) between_batches: f64,
    /// For each image: how much the loss rose along the gradient's signs, divided by the rise that the gradient
    /// predicts.
    pub(crate) slopes: Vec<f64>,
    /// For each image: the mean relative change of its score under small random changes of its pixels, 0 to 1.
    pub(crate) roughness: Vec<f64>,
    /// The number of images that stand, and of images on which the attack without a bound was run.
    pub(crate) unbroken: Option<[usize; 2]>,
    /// Whether all evaluated attacks that use gradients of this network average them over several passes.
    pub(crate) averaged: bool,
}

/// Passes up to 16 of a cell's images through the network: all of them twice, and up to 4 of them alone. With
/// `gradients` (if attacks follow gradients of this network), for the images that are classified correctly, it
/// also measures the loss on either side of each image and runs an attack within all of [0, 1]. If fewer than 4 are,
/// it searches up to 15 further batches for more. No batch is larger than that of the evaluations, unless that is
/// 1. `None` if no image can be decoded, or if the setting's pulse cancelled the inspection.
pub fn inspect(setting: &Setting, cell: &Cell, gradients: bool) -> Result<Option<Inspection>, crate::Error> {
    let Some(batch) = batch(setting, cell, 0)? else { return Ok(None) };
    let passes = Passes::heard_by(setting.pulse.clone());
    match found(setting, cell, (&batch, &passes), gradients) {
        Err(crate::Error::Core(Error::Cancelled)) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// A batch of images that are spread evenly over the cell, each `shift` places after those of the first batch.
/// `None` if there are no such images, or none of them can be decoded.
fn batch(setting: &Setting, cell: &Cell, shift: usize) -> Result<Option<Batch>, crate::Error> {
    let all = cell.source.len();
    let n = all.min(IMAGES).min(setting.batch.max(2));
    // Shifted beyond the next image of the first batch, they would be the same images again.
    if n == 0 || shift >= all / n {
        return Ok(None);
    }
    let order: Vec<usize> = (0..n).map(|i| i * all / n + shift).collect();
    let Some(raw) = Batches::new(cell.source.clone(), order, n, None).next() else { return Ok(None) };
    let raw = raw?;
    if raw.ids.is_empty() {
        return Ok(None);
    }
    Ok(Some(Batch::new(raw, setting.device)?))
}

fn found(
    setting: &Setting,
    cell: &Cell,
    (batch, passes): (&Batch, &Passes),
    gradients: bool,
) -> Result<Inspection, crate::Error> {
    let victim = Victim::new(VictimNetwork::Frozen(setting.network), batch, Goal::Mistake, passes)?;
    let logits = victim.logits(victim.pixels())?;
    let predictions: BTreeSet<Option<u32>> = victim.predictions(&logits)?.into_iter().collect();
    let mut found = Inspection {
        network: NetworkName::of(setting),
        images: batch.len(),
        classes: predictions.len(),
        between_passes: farthest(&logits, &victim.logits(victim.pixels())?)?,
        between_batches: between_batches(&victim, &logits)?,
        ..Inspection::default()
    };
    if !gradients {
        return Ok(found);
    }
    let right = right(&victim, &logits)?;
    if count(&right) >= ENOUGH {
        of_gradients(&victim.rows(&right)?, &mut found)?;
        return Ok(found);
    }
    let mut most = (count(&right) > 0).then(|| (batch.clone(), right));
    for shift in 1..=BATCHES {
        let Some(batch) = self::batch(setting, cell, shift)? else { break };
        let victim = Victim::new(VictimNetwork::Frozen(setting.network), &batch, Goal::Mistake, passes)?;
        let right = self::right(&victim, &victim.logits(victim.pixels())?)?;
        let n = count(&right);
        if n > most.as_ref().map_or(0, |(_, right)| count(right)) {
            most = Some((batch, right));
        }
        if n >= ENOUGH {
            break;
        }
    }
    if let Some((batch, right)) = most {
        let victim = Victim::new(VictimNetwork::Frozen(setting.network), &batch, Goal::Mistake, passes)?;
        of_gradients(&victim.rows(&right)?, &mut found)?;
    }
    Ok(found)
}

/// Which images are classified correctly.
fn right(victim: &Victim, logits: &Tensor) -> Result<Vec<bool>> {
    Ok(victim.broken_by(logits)?.iter().map(|broken| !broken).collect())
}

fn count(right: &[bool]) -> usize {
    right.iter().filter(|right| **right).count()
}

/// What the gradients at these images are like.
fn of_gradients(victim: &Victim, found: &mut Inspection) -> Result<()> {
    found.slopes = slopes(victim)?;
    found.roughness = roughness(victim)?;
    found.unbroken = Some([unbroken(victim)?, victim.len()]);
    Ok(())
}

fn between_batches(victim: &Victim, together: &Tensor) -> Result<f64> {
    let mut most = 0.0f64;
    for row in 0..victim.len().min(ALONE) {
        let only: Vec<bool> = (0..victim.len()).map(|other| other == row).collect();
        let one = victim.rows(&only)?;
        let alone = one.logits(one.pixels())?;
        most = most.max(farthest(&together.narrow(0, row, 1)?, &alone)?);
    }
    Ok(most)
}

/// The largest distance between two rows of logits, each scaled to length 1. Rows that are not numbers are left
/// out: another check reports them.
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

/// Central differences of the score along the signs of its gradient, divided by the slope that the gradient
/// predicts. Pixels at the ends of [0, 1] are first moved inwards by the length of the step. Images without a
/// gradient are left out: they are counted elsewhere.
fn slopes(victim: &Victim) -> Result<Vec<f64>> {
    let pixels = victim.pixels().clamp(NUDGE, 1.0 - NUDGE)?;
    let gradient = victim.gradient(&pixels)?;
    let nudge = (steepest(Norm::Linf, &gradient)? * NUDGE)?;
    let scores =
        |pixels: Tensor| -> Result<Vec<f64>> { Ok(victim.scores(&pixels)?.to_dtype(DType::F64)?.to_vec1()?) };
    let (up, down) = (scores((&pixels + &nudge)?)?, scores((&pixels - &nudge)?)?);
    let said = slope(Norm::Linf, &gradient)?;
    // Differences of large scores are rounded. Rises that are small enough to be hidden by rounding are left
    // out.
    let clear = |i: &usize| said[*i] * 2.0 * NUDGE > 1e-5 * up[*i].abs().max(1.0);
    let slopes = (0..said.len()).filter(clear).map(|i| (up[i] - down[i]) / (2.0 * NUDGE) / said[i]);
    Ok(slopes.filter(|slope| slope.is_finite()).collect())
}

/// For each image: the mean of `|s' - s| / |s|`, at most 1, where s is its score and s' that of the image with uniform
/// noise of up to 4/255. Images whose score is not a number are left out.
fn roughness(victim: &Victim) -> Result<Vec<f64>> {
    let scores =
        |pixels: &Tensor| -> Result<Vec<f64>> { Ok(victim.scores(pixels)?.to_dtype(DType::F64)?.to_vec1()?) };
    let pixels = victim.pixels();
    let (before, rng) = (scores(pixels)?, Rng::new(0, "inspect").named("roughness"));
    let mut changes = vec![0.0; before.len()];
    for draw in 0..DRAWS {
        let noise = rng.numbered(draw).uniform(victim.ids(), pixels.elem_count() / before.len().max(1));
        let noise = Tensor::from_vec(noise, pixels.shape(), pixels.device())?.to_dtype(pixels.dtype())?;
        let after = scores(&(pixels + (noise * NOISE)?)?.clamp(0.0, 1.0)?)?;
        for (change, (before, after)) in changes.iter_mut().zip(before.iter().zip(&after)) {
            let relative = if *before == 0.0 { 1.0 } else { ((after - before) / before).abs() };
            *change += relative.min(1.0) / DRAWS as f64;
        }
    }
    Ok(changes
        .into_iter()
        .zip(before)
        .filter(|(_, before)| before.is_finite())
        .map(|(change, _)| change)
        .collect())
}

/// The number of samples that stand after steps along the signs of the gradient, bounded only by [0, 1].
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use temper_core::Device;
    use temper_data::{Image, Result as DataResult, Source};

    use super::*;
    use crate::checks::tests_support::network;

    /// Images of two pixels, of which the brighter one is the class. Their labels are wrong where `wrong` says so.
    struct Labelled(Vec<String>, fn(usize) -> bool);

    impl Source for Labelled {
        fn len(&self) -> usize {
            160
        }
        fn classes(&self) -> &[String] {
            &self.0
        }
        fn read(&self, index: usize) -> DataResult<(Image, u32)> {
            let class = index % 2;
            let bytes = if class == 0 { vec![200, 50] } else { vec![50, 200] };
            let label = if (self.1)(index) { 1 - class } else { class };
            Ok((Image::of_bytes([1, 1, 2], bytes), label as u32))
        }
        fn origin(&self) -> String {
            String::new()
        }
    }

    /// Number of images whose gradients were inspected.
    fn inspected(wrong: fn(usize) -> bool) -> Option<usize> {
        let network = network();
        let classes = vec!["left".to_string(), "right".to_string()];
        let cell = Cell::clean(Arc::new(Labelled(classes, wrong)));
        let setting = Setting::new(&network, 64, 0, &Device::Cpu);
        let inspection = inspect(&setting, &cell, true).unwrap().unwrap();
        inspection.unbroken.map(|[_, attacked]| attacked)
    }

    #[test]
    fn gradients_are_inspected_at_images_that_are_right_wherever_they_are() {
        assert_eq!(inspected(|_| false), Some(16));
        // Of the first batch all are wrong: every tenth image.
        assert_eq!(inspected(|index| index % 10 == 0), Some(16));
        // The third batch has four right ones, and no batch before it more than three.
        assert_eq!(inspected(|index| index % 10 != 2 || index >= 40), Some(4));
        assert_eq!(inspected(|index| index != 57), Some(1));
        assert_eq!(inspected(|_| true), None);
    }
}
