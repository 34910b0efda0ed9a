//! Shared parts of iterative attacks: stopping samples that are broken, and restarts on samples that stand.

use candle_core::Tensor;
use temper_data::Rng;

use crate::rows::{choose, index_of, kept, replace, select};
use crate::{Ball, Forward, Goal, Pass, Result, TOLERANCE, Victim};

crate::options! {
    /// When an attack counts a sample as broken.
    pub enum Success {
        /// As soon as any iterate is misclassified; the sample is then removed from the batch. Stronger and
        /// cheaper.
        Any = "any",
        /// When the final iterate is misclassified, as in most papers.
        Final = "final",
    }
}

/// The iterates of an attack. Under `Success::Any` and `Goal::Mistake` a sample is removed from the batch
/// once an iterate is misclassified. Otherwise all samples take all steps, unless the walk was created by
/// [`Walk::stopping`].
pub struct Walk<'a> {
    victim: Victim<'a>,
    ball: Ball,
    pixels: Tensor,
    /// Further steps that each remaining sample may take from misclassified iterates; `None`: no sample
    /// stops.
    patience: Option<Vec<usize>>,
    /// Samples that have stopped but remain in the batch, because other samples depend on them (batch
    /// statistics).
    stopped: Vec<bool>,
    /// The row of the original batch of each remaining sample.
    rows: Vec<u32>,
    /// Samples that were removed: their rows and their final pixels.
    left: Vec<(Vec<u32>, Tensor)>,
    /// Steps taken.
    steps: usize,
    /// Whether a sample ends at its first misclassified iterate.
    for_good: bool,
}

impl<'a> Walk<'a> {
    /// A walk that starts at `pixels`, `[n, c, h, w]`.
    pub fn new(victim: &Victim<'a>, ball: &Ball, pixels: Tensor, success: Success) -> Self {
        let leaves = success == Success::Any && victim.goal() == Goal::Mistake;
        Self::start(victim, ball, pixels, leaves.then_some(0))
    }

    /// A walk that starts at `pixels`, `[n, c, h, w]`. Whatever the goal, each sample stops at the first
    /// misclassified iterate after `steps` steps from misclassified iterates. Where batch statistics make the
    /// result of one sample depend on the others, it remains in the batch and no longer moves.
    pub fn stopping(victim: &Victim<'a>, ball: &Ball, pixels: Tensor, steps: usize) -> Self {
        Self::start(victim, ball, pixels, Some(steps))
    }

    fn start(victim: &Victim<'a>, ball: &Ball, pixels: Tensor, patience: Option<usize>) -> Self {
        let n = victim.len();
        let patience = patience.map(|steps| vec![steps; n]);
        let (victim, ball, rows) = (victim.clone(), ball.clone(), (0..n as u32).collect());
        let for_good = patience.as_ref().is_some_and(|patience| patience.iter().all(|steps| *steps == 0));
        let stopped = vec![false; n];
        Self { victim, ball, pixels, patience, stopped, rows, left: vec![], steps: 0, for_good }
    }

    /// The remaining samples.
    pub fn victim(&self) -> &Victim<'a> {
        &self.victim
    }

    /// Their balls.
    pub fn ball(&self) -> &Ball {
        &self.ball
    }

    /// Their current iterate, `[remaining, c, h, w]`.
    pub fn pixels(&self) -> &Tensor {
        &self.pixels
    }

    /// One forward and backward pass of the victim's score at the current iterate. Samples that stop there are
    /// removed first. Returns the pass of the remaining samples, and their indices among the previous samples
    /// for attacks with a state per sample; the indices are `None` if all remain. Returns `None` if no sample
    /// remains.
    pub fn pass(&mut self) -> Result<Option<(Pass, Option<Tensor>)>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let pass = self.victim.pass(&self.pixels)?;
        if let Some(trace) = self.victim.trace() {
            let positions = self.victim.positions().to_vec1()?;
            trace.hear_scores(self.steps, &positions, &numbers(&pass.scores)?);
        }
        let kept = self.let_go(&pass.logits)?;
        if self.is_over() {
            return Ok(None);
        }
        let Some(kept) = kept else { return Ok(Some((pass, None))) };
        let pick = |t: &Tensor| t.index_select(&kept, 0);
        let pass = Pass {
            logits: pick(&pass.logits)?,
            scores: pick(&pass.scores)?,
            gradient: pick(&pass.gradient)?,
        };
        Ok(Some((pass, Some(kept))))
    }

    /// Like [`Self::pass`], for attacks that need gradients of several scores: a forward pass at the current
    /// iterate of the samples that remain.
    pub fn record(&mut self) -> Result<Option<(Forward<'a>, Option<Tensor>)>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let forward = self.victim.record(&self.pixels)?;
        let kept = self.let_go(&forward.logits())?;
        if self.is_over() {
            return Ok(None);
        }
        // A second forward pass costs less than many backward passes of the samples that were removed.
        let forward = if kept.is_some() { self.victim.record(&self.pixels)? } else { forward };
        Ok(Some((forward, kept)))
    }

    /// Like [`Self::pass`], for attacks that compute their gradients elsewhere: the current iterate of the
    /// samples that remain. It costs a forward pass only if a sample may stop there or a trace records the
    /// iterate.
    pub fn judge(&mut self) -> Result<Option<(Tensor, Option<Tensor>)>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let traced = self.victim.trace().is_some_and(|trace| trace.wants(self.steps, self.for_good));
        let kept = match traced || self.patience.is_some() {
            true => self.let_go(&self.victim.logits(&self.pixels)?)?,
            false => None,
        };
        if self.is_over() {
            return Ok(None);
        }
        Ok(Some((self.pixels.clone(), kept)))
    }

    /// Like [`Self::pass`], for attacks without gradients: the logits of the samples that remain,
    /// `[remaining, classes]`, from one forward pass at the current iterate.
    pub fn logits(&mut self) -> Result<Option<(Tensor, Option<Tensor>)>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let logits = self.victim.logits(&self.pixels)?;
        let kept = self.let_go(&logits)?;
        if self.is_over() {
            return Ok(None);
        }
        let logits = kept.as_ref().map_or(Ok(logits.clone()), |kept| logits.index_select(kept, 0))?;
        Ok(Some((logits, kept)))
    }

    fn is_over(&self) -> bool {
        self.stopped.iter().all(|stopped| *stopped)
    }

    /// Removes the samples that stop at the current iterate with these logits. Returns the indices of the
    /// remaining samples if any were removed.
    fn let_go(&mut self, logits: &Tensor) -> Result<Option<Tensor>> {
        if self.victim.trace().is_none() && self.patience.is_none() {
            return Ok(None);
        }
        let broken = self.victim.broken_by(logits)?;
        if let Some(trace) = self.victim.trace() {
            let positions: Vec<u32> = self.victim.positions().to_vec1()?;
            trace.hear_any(&positions, &self.images_among(&broken)?);
            if trace.wants(self.steps, self.for_good) {
                trace.hear(self.steps, &positions, &broken, self.for_good);
            }
        }
        let Some(patience) = &mut self.patience else { return Ok(None) };
        let stops: Vec<bool> = (broken.iter().zip(&mut *patience))
            .map(|(broken, steps)| {
                let stops = *broken && *steps == 0;
                *steps = steps.saturating_sub(usize::from(*broken));
                stops
            })
            .collect();
        if self.victim.mixes_samples() {
            self.stopped = self.stopped.iter().zip(&stops).map(|(before, now)| *before || *now).collect();
            return Ok(None);
        }
        if !stops.contains(&true) {
            return Ok(None);
        }
        let stays: Vec<bool> = stops.iter().map(|stops| !stops).collect();
        let gone = kept(&self.rows, &stops);
        self.left.push((gone, self.pixels.index_select(&index_of(&stops, &self.pixels)?, 0)?));
        self.rows = kept(&self.rows, &stays);
        self.patience = Some(kept(patience, &stays));
        self.stopped = kept(&self.stopped, &stays);
        let index = index_of(&stays, &self.pixels)?;
        if !self.rows.is_empty() {
            self.pixels = self.pixels.index_select(&index, 0)?;
            self.victim = self.victim.rows(&stays)?;
            self.ball = self.ball.rows(&stays)?;
        }
        Ok(Some(index))
    }

    /// Whether each iterate is misclassified and an image of the ball; a start may lie outside [0, 1].
    fn images_among(&self, broken: &[bool]) -> Result<Vec<bool>> {
        if self.steps > 0 || !broken.contains(&true) {
            return Ok(broken.to_vec());
        }
        let off = temper_nn::largest_differences(&self.pixels, &self.ball.project(&self.pixels)?)?;
        Ok(broken.iter().zip(off).map(|(broken, off)| *broken && off <= TOLERANCE).collect())
    }

    /// Moves to the next iterate, `[remaining, c, h, w]`.
    pub fn go(&mut self, pixels: Tensor) -> Result<()> {
        self.pixels = match self.stopped.contains(&true) {
            true => choose(&self.stopped, &self.pixels, &pixels)?,
            false => pixels,
        };
        self.steps += 1;
        Ok(())
    }

    /// The last iterate of every sample, `[n, c, h, w]`, in the order of the original batch.
    pub fn finish(mut self) -> Result<Tensor> {
        if self.left.is_empty() {
            return Ok(self.pixels);
        }
        if !self.rows.is_empty() {
            self.left.push((self.rows, self.pixels));
        }
        let rows: Vec<u32> = self.left.iter().flat_map(|(rows, _)| rows.iter().copied()).collect();
        let mut place = vec![0u32; rows.len()];
        for (at, row) in rows.iter().enumerate() {
            place[*row as usize] = at as u32;
        }
        let all = Tensor::cat(&self.left.iter().map(|(_, pixels)| pixels).collect::<Vec<_>>(), 0)?;
        let n = place.len();
        Ok(all.index_select(&Tensor::from_vec(place, n, all.device())?, 0)?)
    }
}

/// A warning about steps of a fixed length in a ball. Steps that together do not reach from the centre to the
/// boundary leave parts of the ball untried; steps longer than the radius jump across the ball. A single step
/// may be as long as the diameter.
pub fn step_warning(radius: f64, steps: usize, length: f64) -> Option<String> {
    let reach = steps as f64 * length;
    let (those, together) = match steps {
        1 => ("one step", String::new()),
        _ => ("steps", format!("{steps} ")),
    };
    if reach < radius * (1.0 - 1e-9) {
        return Some(format!(
            "{together}{those} of {length:.4} reach{} {reach:.4}, not the radius of {radius:.4}: take more or longer ones",
            if steps == 1 { "es" } else { "" }
        ));
    }
    let longest = if steps == 1 { 2.0 * radius } else { radius };
    (radius > 0.0 && length > longest * (1.0 + 1e-9)).then(|| {
        format!(
            "{those} of {length:.4} {} the ball of radius {radius:.4}: leave the length out, or take a quarter of the radius",
            if steps == 1 { "is longer than" } else { "leap across" }
        )
    })
}

/// A warning about restarts of an attack without random numbers, which would all be the same; only the first
/// one runs.
pub fn restarts_warning(restarts: usize, draws: bool) -> Option<String> {
    (restarts > 1 && !draws).then(|| {
        format!(
            "restarts = {restarts} from one and the same start would be one run again and again: it ran once"
        )
    })
}

/// Several warnings as one.
pub fn joined<const N: usize>(warnings: [Option<String>; N]) -> Option<String> {
    warnings.into_iter().flatten().reduce(|one, other| format!("{one}; {other}"))
}

/// Runs `attempt` up to `times` times, each time with its own random numbers. For `Goal::Mistake` only the
/// samples that still stand are tried again. For the other goals all samples are, and each keeps the image
/// with the highest score.
pub fn restarts<'a>(
    victim: &Victim<'a>,
    ball: &Ball,
    rng: &Rng,
    times: usize,
    attempt: impl Fn(&Victim<'a>, &Ball, &Rng) -> Result<Tensor>,
) -> Result<Tensor> {
    attempts(victim, ball, times, |victim, ball, restart| {
        attempt(victim, ball, &rng.numbered(restart as u64))
    })
}

/// Like [`restarts`], for attempts that differ in more than random numbers: `attempt` gets its index, from 0.
pub(crate) fn attempts<'a>(
    victim: &Victim<'a>,
    ball: &Ball,
    times: usize,
    attempt: impl Fn(&Victim<'a>, &Ball, usize) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut best = attempt(victim, ball, 0)?;
    let mut scores = None;
    let mut standing = vec![true; victim.len()];
    for time in 1..times {
        match victim.goal() {
            Goal::Mistake => {
                // A sample that was broken by an earlier run is not evaluated again.
                let asked = victim.rows(&standing)?;
                let mut broken = asked.broken(&select(&best, &standing)?)?.into_iter();
                for stands in standing.iter_mut().filter(|stands| **stands) {
                    *stands = broken.next() == Some(false);
                }
                // If the trace has milestones, samples that were broken late may still be broken after fewer
                // steps.
                let tried: Vec<bool> = match victim.trace().filter(|trace| trace.asks()) {
                    Some(trace) => {
                        let open = trace.open(&victim.positions().to_vec1()?);
                        open.iter().zip(&standing).map(|(open, stands)| *open || *stands).collect()
                    }
                    None => standing.clone(),
                };
                if !tried.contains(&true) {
                    break;
                }
                let again = attempt(&victim.rows(&tried)?, &ball.rows(&tried)?, time)?;
                let again = select(&again, &kept(&standing, &tried))?;
                best = if standing.contains(&true) { replace(&best, &again, &standing)? } else { best };
            }
            Goal::Loss | Goal::Transfer => {
                let old: Vec<f64> = match scores.take() {
                    Some(scores) => scores,
                    None => numbers(&victim.scores(&best)?)?,
                };
                let again = attempt(victim, ball, time)?;
                let new = numbers(&victim.scores(&again)?)?;
                let better: Vec<bool> = new.iter().zip(&old).map(|(new, old)| new > old).collect();
                if better.contains(&true) {
                    best = replace(&best, &again.index_select(&index_of(&better, &again)?, 0)?, &better)?;
                }
                scores = Some(new.iter().zip(&old).map(|(new, old)| new.max(*old)).collect());
            }
        }
    }
    Ok(best)
}

fn numbers(scores: &Tensor) -> Result<Vec<f64>> {
    Ok(scores.to_dtype(candle_core::DType::F64)?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_fall_short_or_leap_are_warned_of() {
        let short = step_warning(0.05, 4, 0.01).unwrap();
        assert_eq!(
            short,
            "4 steps of 0.0100 reach 0.0400, not the radius of 0.0500: take more or longer ones"
        );
        let leap = step_warning(1.0 / 255.0, 10, 2.0 / 255.0).unwrap();
        assert!(leap.starts_with("steps of 0.0078 leap across the ball of radius 0.0039: leave"), "{leap}");
        for (steps, length) in [(5, 0.01), (10, 0.05), (1, 0.05), (1, 0.1), (20, 0.0125)] {
            assert_eq!(step_warning(0.05, steps, length), None, "{steps} steps of {length}");
        }
        assert!(step_warning(0.05, 1, 0.04).unwrap().starts_with("one step of 0.0400 reaches 0.0400, not"));
        assert!(step_warning(0.05, 1, 0.11).unwrap().contains("is longer than the ball"));
        // With a radius of 0 the image does not change, whatever the step.
        assert_eq!(step_warning(0.0, 10, 0.1), None);
    }

    #[test]
    fn several_warnings_are_one() {
        assert_eq!(joined([None, None]), None);
        assert_eq!(joined([None, restarts_warning(2, true), restarts_warning(1, false)]), None);
        let both = joined([Some("a".into()), restarts_warning(3, false)]).unwrap();
        assert!(both.starts_with("a; restarts = 3 from one"), "{both}");
    }
}
