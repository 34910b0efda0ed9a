//! Which class an attack leads away from, and which one it leads to.

use candle_core::{DType, Tensor};
use temper_data::Rng;

use crate::search::attempts;
use crate::{Ball, Error, Result, Rows, Victim, cross_entropy, log_odds};

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
        /// Every wrong class, one after the other, the likeliest for the clean image first, each on what still stands.
        All = "all",
    }
}

impl Target {
    /// Runs `attempt` on a victim whose score leads to the class aimed at: once, but with [`Self::All`] once for each wrong
    /// class, on what still stands; for other goals than a mistake each sample then keeps the image of highest score of the victim given.
    pub fn aim(
        self,
        victim: &Victim,
        ball: &Ball,
        rng: &Rng,
        attempt: impl Fn(&Victim, &Ball, &Rng) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let led = |victim: &Victim, targets: &Targets, ball: &Ball, rng: &Rng| {
            let towards = |logits: &Tensor, rows: &Rows| targets.score(logits, rows);
            attempt(&victim.with_score(&towards), ball, rng)
        };
        match self {
            Self::All => {
                let (classes, order) = (at_least_two(victim)?, likeliest(victim)?);
                attempts(victim, ball, classes - 1, |victim, ball, rank| {
                    let targets: Vec<u32> = order.iter().map(|classes| classes[rank]).collect();
                    // Nobody is told: of every class there is none to be hit.
                    let targets = Targets::new(targets, victim)?;
                    led(victim, &targets, ball, &rng.numbered(rank as u64))
                })
            }
            _ => match self.choose(victim, rng)? {
                Some(targets) => led(victim, &targets, ball, rng),
                None => attempt(victim, ball, rng),
            },
        }
    }

    /// The class aimed at for each sample; `None` without a target. `Random` is (label + U{1..classes - 1}) mod classes,
    /// drawn once for all restarts. `LeastLikely` costs a forward pass. `All` is no one class, and an error.
    pub fn choose(self, victim: &Victim, rng: &Rng) -> Result<Option<Targets>> {
        let classes = match self {
            Self::None => return Ok(None),
            Self::All => return Err(Error::refused("this attack aims at one class at a time, not at `all`")),
            _ => at_least_two(victim)? as u32,
        };
        let targets = if self == Self::LeastLikely {
            least_likely(&victim.logits(victim.pixels())?, victim)?.to_vec1()?
        } else {
            let draws = rng.named("target").uniform(victim.ids(), 1);
            // Uniform over the other classes: 1 to classes - 1 further on, around the end.
            let further =
                |u: f32| ((f32::midpoint(u, 1.0) * (classes - 1) as f32) as u32).min(classes - 2) + 1;
            let labels = victim.labels().to_vec1::<u32>()?;
            labels.iter().zip(&draws).map(|(l, u)| (l + further(*u)) % classes).collect()
        };
        // Scores know samples by their position in the original batch.
        let positions = victim.positions().to_vec1::<u32>()?;
        let mut all = vec![0u32; positions.iter().max().map_or(0, |p| *p as usize + 1)];
        for (position, target) in positions.iter().zip(&targets) {
            all[*position as usize] = *target;
        }
        Targets::told(all, victim).map(Some)
    }
}

/// The number of classes; an error if there is nothing to aim at.
fn at_least_two(victim: &Victim) -> Result<usize> {
    match victim.classes() {
        0 | 1 => Err(Error::refused("a targeted attack needs at least two classes")),
        classes => Ok(classes),
    }
}

/// The class aimed at for each sample of the batch that a victim was made of.
#[derive(Debug, Clone)]
pub struct Targets {
    /// By position in that batch.
    classes: Tensor,
    /// Whether one sample's gradient depends on its company.
    mixes: bool,
}

impl Targets {
    /// Classes by position in the original batch.
    fn new(classes: Vec<u32>, victim: &Victim) -> Result<Self> {
        let n = classes.len();
        let classes = Tensor::from_vec(classes, n, victim.pixels().device())?;
        Ok(Self { classes, mixes: victim.mixes_samples() })
    }

    /// The same; who asks hears those of `victim`'s samples.
    fn told(classes: Vec<u32>, victim: &Victim) -> Result<Self> {
        if let Some(trace) = victim.trace() {
            let positions = victim.positions().to_vec1::<u32>()?;
            let own: Vec<u32> = positions.iter().map(|position| classes[*position as usize]).collect();
            trace.aims(&positions, &own);
        }
        Self::new(classes, victim)
    }

    /// Those of some samples, `[n]`, `u32`.
    pub fn of(&self, rows: &Rows) -> Result<Tensor> {
        Ok(self.classes.index_select(&rows.positions, 0)?)
    }

    /// Minus the log odds against the class aimed at, `[n]`: what a targeted attack raises; under the statistics of the batch minus
    /// its cross-entropy, as the default score of a victim.
    pub fn score(&self, logits: &Tensor, rows: &Rows) -> Result<Tensor> {
        let aimed = Rows { labels: self.of(rows)?, positions: rows.positions.clone() };
        let score = if self.mixes { cross_entropy(logits, &aimed)? } else { log_odds(logits, &aimed)? };
        Ok(score.neg()?)
    }
}

/// The classes other than `labels`, `[n]`, `u32`, by logits `[n, classes]`: for each sample `classes - 1`, the likeliest first, of
/// equals the first.
pub fn wrong_classes(logits: &Tensor, labels: &Tensor) -> Result<Vec<Vec<u32>>> {
    let logits = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let order = |(row, label): (&Vec<f64>, u32)| {
        let mut order: Vec<u32> = (0..row.len() as u32).filter(|class| *class != label).collect();
        order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
        order
    };
    Ok(logits.iter().zip(labels.to_vec1()?).map(order).collect())
}

/// Those of the clean images, by position in the original batch.
fn likeliest(victim: &Victim) -> Result<Vec<Vec<u32>>> {
    let positions = victim.positions().to_vec1::<u32>()?;
    let wrong = wrong_classes(&victim.logits(victim.pixels())?, victim.labels())?;
    let mut all = vec![vec![0; victim.classes() - 1]; positions.iter().max().map_or(0, |p| *p as usize + 1)];
    for (position, order) in positions.iter().zip(wrong) {
        all[*position as usize] = order;
    }
    Ok(all)
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
