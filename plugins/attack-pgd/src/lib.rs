//! Projected gradient descent, Madry et al. 2018, <https://arxiv.org/abs/1706.06083>.
//!
//! Deviations: restarts run only on the samples that still stand, which gives the same accuracy by definition; with
//! `judge = "any"`, the default, an evaluated sample counts as broken at any iterate, not only the last. Training and
//! Algorithm 2 always use the last iterate (with restarts: the one of highest loss).

use temper_core::prelude::*;

options! {
    /// Where the search begins.
    pub enum Start {
        /// Uniform in the ball, cut by [0, 1].
        Uniform = "uniform",
        /// Uniform in the ball, not cut by [0, 1] before the first pass: the authors' code of IAAT.
        Unclamped = "unclamped",
        /// The clean image: the basic iterative method of Kurakin et al. 2017.
        Clean = "clean",
    }
}

options! {
    /// What the attack aims at.
    pub enum Target {
        /// Any wrong class: the loss of the true class is raised.
        None = "none",
        /// One wrong class, drawn evenly for each sample: its loss is lowered.
        Random = "random",
        /// The class that the network finds least likely for the clean image.
        LeastLikely = "least-likely",
    }
}

plugin! { Attack "pgd";
    /// Projected gradient descent: steps along the gradient, each projected into the ball. Norms: l-inf, l2.
    pub struct Pgd {
        /// Gradient steps.
        pub steps: NonZeroUsize = nonzero(10),
        /// Step length, in pixel values of [0, 1].
        pub step: Pixels = Pixels::of_255(2.0),
        /// Step length as a multiple of each sample's radius; the longer of the two is taken.
        pub relative_step: NonNegative = NonNegative::of(0.0),
        /// Where the search begins: `uniform` in the ball, `unclamped` (not cut by [0, 1] before the first pass), or
        /// `clean`. An evaluation that judges `any` iterate cuts all the same: beyond [0, 1] there are no images.
        pub start: Start = Start::Uniform,
        /// Random starts, each tried on what the former ones left standing.
        pub restarts: NonZeroUsize = nonzero(1),
        /// In an evaluation, a sample is broken when `any` iterate is misclassified, or when the `final` one is.
        pub judge: Judge = Judge::Any,
        /// Class aimed at: `none` (any wrong one), `random`, or `least-likely` on the clean image.
        pub target: Target = Target::None,
    }
}

impl Attack for Pgd {
    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        let targets = self.targets(victim, rng)?;
        let towards = |logits: &Tensor, rows: &Rows| {
            let labels = match &targets {
                Some(targets) => targets.index_select(&rows.positions, 0)?,
                None => rows.labels.clone(),
            };
            Ok(cross_entropy(logits, &Rows { labels, positions: rows.positions.clone() })?.neg()?)
        };
        let victim = &if targets.is_some() { victim.with_score(&towards) } else { victim.clone() };
        restarts(victim, ball, rng, self.restarts.get(), |victim, ball, rng| {
            let start = match self.start {
                Start::Uniform => ball.random(rng)?,
                Start::Unclamped if self.judge == Judge::Any && victim.goal() == Goal::Mistake => {
                    ball.random(rng)?
                }
                Start::Unclamped => ball.random_unclamped(rng)?,
                Start::Clean => ball.center().clone(),
            };
            let mut walk = Walk::new(victim, ball, start, self.judge);
            for _ in 0..self.steps.get() {
                let Some((pass, _)) = walk.pass()? else { break };
                let ball = walk.ball();
                let direction = ball.steepest(&pass.gradient)?;
                let next = ball.step(
                    walk.pixels(),
                    &direction,
                    &ball.lengths(self.step, self.relative_step.get())?,
                )?;
                walk.go(next);
            }
            ball.project(&walk.finish()?)
        })
    }
}

impl Pgd {
    /// The class aimed at for every sample of the batch that the victim was made of, `[n]`; `None` without a target.
    fn targets(&self, victim: &Victim, rng: &Rng) -> Result<Option<Tensor>> {
        if self.target == Target::None {
            return Ok(None);
        }
        let logits = victim.logits(victim.pixels())?;
        let classes = logits.dim(1)? as u32;
        if classes < 2 {
            return Err(Error::refused("a targeted attack needs at least two classes"));
        }
        let targets = if self.target == Target::LeastLikely {
            least_likely(&logits, victim)?
        } else {
            let draws = rng.named("target").uniform(victim.ids(), 1);
            // Uniform over the other classes: 1 to classes - 1 further on, around the end.
            let further =
                |u: f32| ((f32::midpoint(u, 1.0) * (classes - 1) as f32) as u32).min(classes - 2) + 1;
            let labels = victim.labels().to_vec1::<u32>()?;
            let targets: Vec<u32> =
                labels.iter().zip(&draws).map(|(l, u)| (l + further(*u)) % classes).collect();
            Tensor::from_vec(targets, victim.len(), logits.device())?
        };
        // Scores know samples by their position in the original batch.
        let positions = victim.positions().to_vec1::<u32>()?;
        let size = positions.iter().max().map_or(0, |p| *p as usize + 1);
        let mut all = vec![0u32; size];
        for (position, target) in positions.iter().zip(targets.to_vec1::<u32>()?) {
            all[*position as usize] = target;
        }
        Ok(Some(Tensor::from_vec(all, size, logits.device())?))
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
