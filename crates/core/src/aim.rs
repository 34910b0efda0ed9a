//! Which class an attack leads away from, and which one it leads to.

use candle_core::Tensor;
use temper_data::Rng;

use crate::{Error, Result, Rows, Victim, cross_entropy};

crate::options! {
    /// Which class of a sample counts as its own while an attack runs.
    pub enum Labels {
        /// The true one.
        True = "true",
        /// The one that the network gives the clean image: ART's and `CleverHans`'s default. A natural error is then led away
        /// from its wrong class, perhaps into the true one.
        Predicted = "predicted",
    }
}

impl Labels {
    /// The same victim with these labels. `Predicted` costs a forward pass.
    pub fn view<'a>(self, victim: &Victim<'a>) -> Result<Victim<'a>> {
        match self {
            Self::True => Ok(victim.clone()),
            Self::Predicted => victim.with_labels(&victim.logits(victim.pixels())?.argmax(1)?),
        }
    }
}

crate::options! {
    /// What an attack aims at.
    pub enum Target {
        /// Any wrong class: the loss of the true class is raised.
        None = "none",
        /// One wrong class, drawn evenly for each sample: its loss is lowered.
        Random = "random",
        /// The class that the network finds least likely for the clean image, the true one left out.
        LeastLikely = "least-likely",
    }
}

impl Target {
    /// The class aimed at for each sample; `None` without a target. `Random` is (label + U{1..classes - 1}) mod classes,
    /// drawn once for all restarts. `LeastLikely` costs a forward pass.
    pub fn choose(self, victim: &Victim, rng: &Rng) -> Result<Option<Targets>> {
        if self == Self::None {
            return Ok(None);
        }
        let (classes, device) = (victim.classes() as u32, victim.pixels().device());
        if classes < 2 {
            return Err(Error::refused("a targeted attack needs at least two classes"));
        }
        let targets = if self == Self::LeastLikely {
            least_likely(&victim.logits(victim.pixels())?, victim)?
        } else {
            let draws = rng.named("target").uniform(victim.ids(), 1);
            // Uniform over the other classes: 1 to classes - 1 further on, around the end.
            let further =
                |u: f32| ((f32::midpoint(u, 1.0) * (classes - 1) as f32) as u32).min(classes - 2) + 1;
            let labels = victim.labels().to_vec1::<u32>()?;
            let targets: Vec<u32> =
                labels.iter().zip(&draws).map(|(l, u)| (l + further(*u)) % classes).collect();
            Tensor::from_vec(targets, victim.len(), device)?
        };
        // Scores know samples by their position in the original batch.
        let positions = victim.positions().to_vec1::<u32>()?;
        let size = positions.iter().max().map_or(0, |p| *p as usize + 1);
        let mut all = vec![0u32; size];
        for (position, target) in positions.iter().zip(targets.to_vec1::<u32>()?) {
            all[*position as usize] = target;
        }
        Ok(Some(Targets(Tensor::from_vec(all, size, device)?)))
    }
}

/// The class aimed at for each sample of the batch that a victim was made of.
#[derive(Debug, Clone)]
pub struct Targets(Tensor);

impl Targets {
    /// Those of some samples, `[n]`, `u32`.
    pub fn of(&self, rows: &Rows) -> Result<Tensor> {
        Ok(self.0.index_select(&rows.positions, 0)?)
    }

    /// Minus the cross-entropy of the class aimed at, `[n]`: what a targeted attack raises.
    pub fn score(&self, logits: &Tensor, rows: &Rows) -> Result<Tensor> {
        let aimed = Rows { labels: self.of(rows)?, positions: rows.positions.clone() };
        Ok(cross_entropy(logits, &aimed)?.neg()?)
    }
}

/// The class of the smallest logit, the true one left out, `[n]`.
fn least_likely(logits: &Tensor, victim: &Victim) -> Result<Tensor> {
    let labels = victim.labels().unsqueeze(1)?;
    let others = logits.ones_like()?.scatter(&labels, &labels.zeros_like()?.to_dtype(logits.dtype())?, 1)?;
    let spread = (logits.max_keepdim(1)?.broadcast_sub(logits)? * &others)?;
    // 0 for the true class, at least 0 for the others; of equals the first.
    let least = (spread + others)?.argmax(1)?;
    Ok(least)
}
