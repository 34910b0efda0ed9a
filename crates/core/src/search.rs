//! What iterative attacks share: letting go of what is broken, and starting again on what stands.

use candle_core::Tensor;
use temper_data::Rng;

use crate::ball::index_of;
use crate::{Ball, Goal, Pass, Result, Victim};

crate::options! {
    /// When an attack has broken a sample.
    pub enum Judge {
        /// As soon as any iterate is misclassified; it then leaves the batch. Stronger, and cheaper.
        Any = "any",
        /// When the final iterate is misclassified, as most papers count.
        Final = "final",
    }
}

/// The iterates of an attack. Under `Judge::Any` and `Goal::Mistake` a sample leaves once an iterate is misclassified;
/// otherwise all stay to the end.
pub struct Walk<'a> {
    victim: Victim<'a>,
    ball: Ball,
    pixels: Tensor,
    leaves: bool,
    /// Row of the original batch that each remaining sample stands for.
    rows: Vec<u32>,
    /// Samples that left: their rows and their final pixels.
    left: Vec<(Vec<u32>, Tensor)>,
}

impl<'a> Walk<'a> {
    /// Starts at `pixels`.
    pub fn new(victim: &Victim<'a>, ball: &Ball, pixels: Tensor, judge: Judge) -> Self {
        let leaves = judge == Judge::Any && victim.goal() == Goal::Mistake;
        let rows = (0..victim.len() as u32).collect();
        Self { victim: victim.clone(), ball: ball.clone(), pixels, leaves, rows, left: vec![] }
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

    /// One pass of the victim's score at the current iterate. Samples that are misclassified there leave first if they may; the pass that is
    /// returned is that of the rest, and `kept` says which of the former samples those are, for attacks that keep a
    /// state for each. `None`: nobody is left.
    pub fn pass(&mut self) -> Result<Option<(Pass, Option<Tensor>)>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let pass = self.victim.pass(&self.pixels)?;
        if !self.leaves {
            return Ok(Some((pass, None)));
        }
        let broken = self.victim.broken_by(&pass.logits)?;
        if !broken.contains(&true) {
            return Ok(Some((pass, None)));
        }
        let index = index_of(&broken, &self.pixels)?;
        let gone = self.rows.iter().zip(&broken).filter(|(_, b)| **b).map(|(row, _)| *row).collect();
        self.left.push((gone, self.pixels.index_select(&index, 0)?));
        let stays: Vec<bool> = broken.iter().map(|b| !b).collect();
        self.rows = self.rows.iter().zip(&stays).filter(|(_, s)| **s).map(|(row, _)| *row).collect();
        if self.rows.is_empty() {
            return Ok(None);
        }
        let index = index_of(&stays, &self.pixels)?;
        self.pixels = self.pixels.index_select(&index, 0)?;
        self.victim = self.victim.rows(&stays)?;
        self.ball = self.ball.rows(&stays)?;
        let pick = |t: &Tensor| t.index_select(&index, 0);
        let pass = Pass {
            logits: pick(&pass.logits)?,
            scores: pick(&pass.scores)?,
            gradient: pick(&pass.gradient)?,
        };
        Ok(Some((pass, Some(index))))
    }

    /// Goes on to the next iterate, `[remaining, c, h, w]`.
    pub fn go(&mut self, pixels: Tensor) {
        self.pixels = pixels;
    }

    /// The last iterate of every sample, in the order of the original batch.
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

/// Runs `attempt` up to `times` times with randomness of its own. For `Goal::Mistake` only the samples still standing
/// are tried again; for `Goal::Loss` all are, and each keeps its highest score.
pub fn restarts<'a>(
    victim: &Victim<'a>,
    ball: &Ball,
    rng: &Rng,
    times: usize,
    attempt: impl Fn(&Victim<'a>, &Ball, &Rng) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut best = attempt(victim, ball, &rng.numbered(0))?;
    let mut scores = None;
    for restart in 1..times {
        let rng = rng.numbered(restart as u64);
        match victim.goal() {
            Goal::Mistake => {
                let standing: Vec<bool> = victim.broken(&best)?.iter().map(|broken| !broken).collect();
                if !standing.contains(&true) {
                    break;
                }
                let again = attempt(&victim.rows(&standing)?, &ball.rows(&standing)?, &rng)?;
                best = replace(&best, &again, &standing)?;
            }
            Goal::Loss => {
                let old: Vec<f64> = match scores.take() {
                    Some(scores) => scores,
                    None => numbers(&victim.scores(&best)?)?,
                };
                let again = attempt(victim, ball, &rng)?;
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

/// `rows` with those that `mask` names replaced by the rows of `new`, in order.
pub(crate) fn replace(rows: &Tensor, new: &Tensor, mask: &[bool]) -> Result<Tensor> {
    let n = rows.dim(0)? as u32;
    let mut next = n;
    let place: Vec<u32> = (0..n)
        .zip(mask)
        .map(|(row, replaced)| match replaced {
            true => {
                next += 1;
                next - 1
            }
            false => row,
        })
        .collect();
    let all = Tensor::cat(&[rows, new], 0)?;
    Ok(all.index_select(&Tensor::from_vec(place, n as usize, rows.device())?, 0)?)
}
