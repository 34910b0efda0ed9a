//! FAB, the fast adaptive boundary attack, Croce & Hein 2020, <https://arxiv.org/abs/1907.02044>: Algorithm 1.
//!
//! Each step linearises the network at the current image v, takes the nearest decision boundary there, and
//! projects both v and the clean image x onto it, within [0, 1]. Both displacements are extended beyond the
//! boundary (`eta`). The next image is a mixture of the two points, in which the one from x has a share of at most
//! `alpha_max`. This share keeps the image close to x. If the network errs there, the image counts if it is the
//! nearest so far, and the search continues from x + `beta` (v - x). All samples take all steps, since a later
//! success may be nearer.
//!
//! Untargeted, a step compares the boundaries with all other classes and takes one backward pass for each.
//! Targeted, it takes the boundary with one class; a success is any mistake. Several classes are searched one
//! after the other, each on all samples, because the nearest success of all of them is wanted.
//!
//! Deviations from the paper's text:
//!
//! - There is no final search on the line between the result and the clean image, as in `AutoAttack`,
//!   torchattacks and adv-lib.
//! - A misclassified image counts in every forward pass: also at a random start, and after the step back towards
//!   the clean image. The other libraries check only after a step.
//! - A sample without a boundary (its gradient is 0 or not finite) does not move.
//! - The projection is exact at every scale of the gradient (the other libraries leave pixels alone whose gradient
//!   is below 1e-8 in l2).
//! - Random starts are drawn within half of the smallest distance so far, as in the authors' code and adv-lib.
//!   `AutoAttack` draws them within half of the radius of the evaluation, which a minimum-norm attack does not
//!   know here; `epsilon` sets it.

mod boundary;
mod projection;
#[cfg(test)]
mod tests;

use temper_core::DType;
use temper_core::prelude::*;

use crate::boundary::Boundary;
use crate::projection::{column, lengths, project};

/// Far larger than any distance, but finite in every product.
const FAR: f64 = 1e6;
/// Lengths of both projections are at least this, so that their ratio is defined.
const SMALLEST: f64 = 1e-8;

plugin! { Attack "fab";
    /// FAB: steps to the linearised boundary, drawn back to the clean image; smallest perturbation.
    /// Croce & Hein 2020, <https://arxiv.org/abs/1907.02044>.
    /// Norms: l2, l-inf, whatever the norm of the radius.
    pub struct Fab {
        /// The norm that the attack minimises, whatever the norm of the radius (AutoAttack,
        /// torchattacks: `linf`).
        pub norm: Norm = Norm::L2,
        /// Steps from each start, with two forward passes each (paper, AutoAttack, adv-lib: 100; torchattacks: 10).
        pub steps: NonZeroUsize = nonzero(100),
        /// Starts: the clean image, then random ones (AutoAttack `standard`, torchattacks, adv-lib: 1;
        /// AutoAttack `plus`: 5 without a target).
        pub restarts: NonZeroUsize = nonzero(1),
        /// Class whose boundary is sought: `none` (the nearest of all, with a backward pass for each wrong
        /// class), `random` (drawn evenly for each sample), `least-likely` on the clean image, the
        /// `{ likeliest = N }` wrong ones, or `all` of them, one after the other (AutoAttack:
        /// `{ likeliest = 9 }`). Any misclassified image counts.
        pub target: Target = Target::None,
        /// Largest share of the clean image's way in a step (paper, AutoAttack, torchattacks, adv-lib: 0.1).
        pub alpha_max: Fraction = Fraction::of(0.1),
        /// How far to go, as a multiple of the way to the boundary (paper, AutoAttack, torchattacks, adv-lib: 1.05).
        pub eta: Growth = Growth::of(1.05),
        /// Share of the perturbation that is kept after a success (paper, AutoAttack, torchattacks, adv-lib: 0.9).
        pub beta: Share = Share::of(0.9),
        /// Random starts lie at half of this distance from the clean image, in pixel values of [0, 1], or at
        /// half of the smallest distance so far if that is less (AutoAttack: the radius of the evaluation).
        /// Left out, the smallest distance so far, and 1 in l2 and 0.3 in l-inf where nothing was found (the
        /// authors' code).
        pub epsilon: Option<Distance> = None,
    }
}

impl Attack for Fab {
    fn min_norm(&self) -> Option<Norm> {
        Some(self.norm)
    }

    fn draws(&self) -> bool {
        self.restarts.get() > 1 || self.target == Target::Random
    }

    fn most_passes(&self, classes: usize) -> Option<[u64; 2]> {
        let (starts, steps) = (self.restarts.get() as u64, self.steps.get() as u64);
        // Without a target a step has a backward pass for each wrong class.
        let (runs, candidates) = match self.target {
            Target::None => (1, classes.saturating_sub(1)),
            target => (target.tried(classes), 1),
        };
        let steps = starts.saturating_mul(steps).saturating_mul(runs as u64);
        // One pass over the clean image, one that finds the least likely class, and two for each step.
        Some([steps.saturating_mul(2).saturating_add(2), steps.saturating_mul(candidates as u64)])
    }

    fn variant(&self) -> Option<String> {
        Some(variant(self.steps, self.restarts.get(), self.target, Raised::Ce))
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        if victim.mixes_samples() {
            return Err(Error::refused(
                "`fab` searches the nearest image of each sample on its own, so none may depend on its company: use \
                 `attack_batch_norm = \"eval\"`",
            ));
        }
        let logits = victim.logits(ball.center())?;
        // A natural error needs no perturbation.
        let stands: Vec<bool> = victim.broken_by(&logits)?.iter().map(|broken| !broken).collect();
        if !stands.contains(&true) {
            return Ok(ball.center().clone());
        }
        let (victim, own) = (victim.rows(&stands)?, ball.rows(&stands)?);
        let mut search = Search { attack: self, victim: &victim, ball: &own, nearest: Nearest::none(&own) };
        for (rank, classes) in self.runs(&victim, &rows::select(&logits, &stands)?, rng)?.iter().enumerate() {
            for restart in 0..self.restarts.get() {
                let start = match restart {
                    0 => own.center().clone(),
                    _ => search.random_start(rng.numbered(rank as u64).numbered(restart as u64))?,
                };
                search.run(start, classes)?;
            }
        }
        rows::replace(ball.center(), &search.nearest.images, &stands)
    }
}

impl Fab {
    /// The runs from each start, each given by the classes whose boundaries a step compares, `[n, 1]`. `logits` are
    /// those of the clean images.
    fn runs(&self, victim: &Victim, logits: &Tensor, rng: &Rng) -> Result<Vec<Vec<Tensor>>> {
        if let Some(targets) = self.one_target(victim, rng)? {
            return Ok(vec![vec![targets]]);
        }
        let order = wrong_classes(logits, victim.labels())?;
        let ranked = |rank: usize| -> Result<Tensor> {
            let classes: Vec<u32> = order.iter().map(|classes| classes[rank]).collect();
            Ok(Tensor::from_vec(classes, (victim.len(), 1), logits.device())?)
        };
        let ranks = victim.classes().saturating_sub(1);
        let most = match self.target {
            Target::Likeliest(n) => n.get().min(ranks),
            _ => ranks,
        };
        let classes: Vec<Tensor> = (0..most).map(ranked).collect::<Result<_>>()?;
        Ok(match self.target {
            Target::None => vec![classes],
            _ => classes.into_iter().map(|class| vec![class]).collect(),
        })
    }

    /// The target class of each sample, `[n, 1]`; `None` if there is no target, or several.
    fn one_target(&self, victim: &Victim, rng: &Rng) -> Result<Option<Tensor>> {
        if matches!(self.target, Target::All | Target::Likeliest(_)) {
            return Ok(None);
        }
        let Some(targets) = self.target.choose(victim, rng)? else { return Ok(None) };
        let rows = Rows { labels: victim.labels().clone(), positions: victim.positions().clone() };
        Ok(Some(targets.of(&rows)?.unsqueeze(1)?))
    }

    /// The `epsilon` of random starts if nothing was found and the option is not given, as in the authors' code.
    fn usual_epsilon(&self) -> f64 {
        match self.norm {
            Norm::Linf => 0.3,
            Norm::L2 => 1.0,
        }
    }
}

/// The nearest misclassified image of each sample.
struct Nearest {
    /// `[n, c, h, w]`; the clean image without a success.
    images: Tensor,
    /// Infinite without a success.
    distances: Vec<f64>,
}

impl Nearest {
    fn none(ball: &Ball) -> Self {
        let images = ball.center().clone();
        Self { distances: vec![f64::INFINITY; images.dims()[0]], images }
    }

    /// Keeps the images that are misclassified (`broken`) and nearer than those before.
    fn hear(&mut self, pixels: &Tensor, broken: &[bool], distances: &[f64]) -> Result<()> {
        let better: Vec<bool> =
            (0..broken.len()).map(|i| broken[i] && distances[i] < self.distances[i]).collect();
        self.images = rows::choose(&better, pixels, &self.images)?;
        for i in (0..better.len()).filter(|i| better[*i]) {
            self.distances[i] = distances[i];
        }
        Ok(())
    }
}

/// The search on the samples that are classified correctly.
struct Search<'a> {
    attack: &'a Fab,
    victim: &'a Victim<'a>,
    ball: &'a Ball,
    nearest: Nearest,
}

impl Search<'_> {
    /// A random image, clamped to [0, 1], at half of the smaller of `epsilon` and the smallest distance so far.
    fn random_start(&self, rng: Rng) -> Result<Tensor> {
        let (norm, clean, ids) = (self.attack.norm, self.ball.center(), self.victim.ids());
        let len = clean.elem_count() / ids.len().max(1);
        let draws = match norm {
            Norm::Linf => rng.uniform(ids, len),
            Norm::L2 => rng.normal(ids, len),
        };
        let draws = Tensor::from_vec(draws, clean.shape(), clean.device())?.to_dtype(clean.dtype())?;
        let direction = match norm {
            Norm::Linf => scaled(&draws)?,
            Norm::L2 => steepest(norm, &draws)?,
        };
        let length = |found: &f64| match self.attack.epsilon {
            Some(epsilon) => 0.5 * found.min(epsilon.get()).min(FAR),
            None if found.is_finite() => 0.5 * found,
            None => 0.5 * self.attack.usual_epsilon(),
        };
        let lengths: Vec<f64> = self.nearest.distances.iter().map(length).collect();
        Ok((clean + direction.broadcast_mul(&rows::column(&lengths, clean)?)?)?.clamp(0.0, 1.0)?)
    }

    /// All steps from one start, `[n, c, h, w]`. Each compares the boundaries with `classes`, each `[n, 1]`.
    fn run(&mut self, start: Tensor, classes: &[Tensor]) -> Result<()> {
        let mut pixels = start;
        for _ in 0..self.attack.steps.get() {
            let forward = self.victim.record(&pixels)?;
            self.look(&pixels, &forward.logits())?;
            let boundary = Boundary::nearest(&forward, classes, self.attack.norm, &pixels)?;
            if !boundary.found.contains(&true) {
                // No sample will move again.
                return Ok(());
            }
            pixels = rows::choose(&boundary.found, &self.step(&pixels, &boundary)?, &pixels)?;
            let broken = self.look(&pixels, &self.victim.logits(&pixels)?)?;
            let clean = self.ball.center();
            let back = (clean + ((&pixels - clean)? * self.attack.beta.get())?)?;
            pixels = rows::choose(&broken, &back, &pixels)?;
        }
        Ok(())
    }

    /// Keeps the misclassified images that are nearer than those before, and returns which are misclassified.
    fn look(&mut self, pixels: &Tensor, logits: &Tensor) -> Result<Vec<bool>> {
        let broken = self.victim.broken_by(logits)?;
        if broken.contains(&true) {
            self.nearest.hear(pixels, &broken, &self.ball.distances(pixels, self.attack.norm)?)?;
        }
        Ok(broken)
    }

    /// The next images, `[n, c, h, w]`: beyond the boundary, a mixture of the steps from `pixels` and from the clean
    /// images.
    fn step(&self, pixels: &Tensor, boundary: &Boundary) -> Result<Tensor> {
        let flat = |t: &Tensor| -> Result<Tensor> { Ok(t.flatten_from(1)?.to_dtype(DType::F64)?) };
        let (here, clean, normal) = (flat(pixels)?, flat(self.ball.center())?, flat(&boundary.gradient)?);
        // How far each point is above the boundary, in logits: the linearisation at `pixels` is exact there.
        let back = ((&clean - &here)? * &normal)?.sum(1)?.to_vec1::<f64>()?;
        let above = boundary.scores.iter().zip(&back).map(|(score, back)| score + back);
        let heights: Vec<f64> = boundary.scores.iter().copied().chain(above).collect();
        let points = Tensor::cat(&[&here, &clean], 0)?;
        let ways = project(self.attack.norm, &points, &Tensor::cat(&[&normal, &normal], 0)?, &heights)?;

        let n = boundary.scores.len();
        let lengths: Vec<f64> = lengths(self.attack.norm, &ways)?.iter().map(|l| l.max(SMALLEST)).collect();
        let share = |i: usize| (lengths[i] / (lengths[i] + lengths[n + i])).min(self.attack.alpha_max.get());
        let share = column(&(0..n).map(share).collect::<Vec<f64>>(), &points)?;
        let beyond = (points + (ways * self.attack.eta.get().min(FAR))?)?;
        let (here, clean) = (beyond.narrow(0, 0, n)?, beyond.narrow(0, n, n)?);
        let next = (&here + (clean - &here)?.broadcast_mul(&share)?)?;
        Ok(next.clamp(0.0, 1.0)?.to_dtype(pixels.dtype())?.reshape(pixels.shape())?)
    }
}
