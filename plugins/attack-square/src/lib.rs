//! Square Attack, Andriushchenko et al. 2020, <https://arxiv.org/abs/1912.00049>: random search with logits alone.
//!
//! The search starts from vertical stripes (l-inf) or from a grid of tiles (l2), at the edge of the ball. Each
//! proposal changes one square of the best image so far. It is kept if it lowers the margin, which is the logit of
//! the true class minus the largest other one. Squares become smaller on a fixed schedule ([`schedule`]).
//!
//! Every image that the network evaluates counts as a query, including the start: `queries = 5000` is one start and
//! 4999 proposals, as in the authors' l-inf code; `AutoAttack` makes 5000 proposals after the start. The clean image
//! is not among them.
//!
//! Deviations from the authors' code and from `AutoAttack`'s:
//!
//! - Places and signs are drawn for each sample and each query, as in the authors' code, from the sample's own
//!   stream. `AutoAttack`, torchattacks and ART draw one square and one set of signs for a whole batch.
//! - In l-inf, signs are drawn again until the square changes a pixel, as in the authors' code. The number of draws
//!   is limited, because in a ball of radius 0 no pixel changes. `AutoAttack` spends the query.
//! - A proposal is kept only if the margin falls (the authors, ART). `AutoAttack` and torchattacks also keep one whose
//!   margin is 0 or less, which ends the sample in any case.
//! - A sample is removed from the batch when it is misclassified by the evaluation's criterion, in which the first
//!   of equal logits is the prediction. In all other code a margin of 0 is enough.
//! - The last row and column are reached, as in the paper's text (`places`).
//! - The grid of the l2 start has 5 x 5 tiles. The authors' code places `h / (h / 5)` of them on a side, which fails
//!   for sides 7, 8, 9, 12, 14, 18, 19 and 24. Images need not be square: see [`l2`].
//! - In training and in probes the search goes on behind the decision boundary, until its queries are spent.

mod l2;
mod linf;
mod sample;
mod schedule;

use rayon::prelude::*;
use temper_core::prelude::*;

use crate::l2::Patch;
use crate::sample::{Sample, batch, kept, margins, samples};

options! {
    /// Where squares may lie.
    pub enum Places {
        /// Anywhere in the image. The paper.
        All = "all",
        /// Not in the last row, nor in the last column. The authors' code, `AutoAttack`, torchattacks, ART.
        AllButLast = "all-but-last",
    }
}

plugin! { Attack "square";
    /// Square Attack: random search over squares, by logits alone, without gradients.
    /// Andriushchenko et al. 2020, <https://arxiv.org/abs/1912.00049>. Norms: l-inf, l2.
    pub struct Square {
        /// Images of each sample that the network is shown in a run, the start among them (AutoAttack,
        /// torchattacks: 5000; the authors' code: 10000; ART: 100).
        pub queries: NonZeroUsize = nonzero(5000),
        /// Runs, each with random numbers of its own on what the former ones left standing.
        pub restarts: NonZeroUsize = nonzero(1),
        /// Share of the image's area that the first squares cover (AutoAttack, torchattacks, ART: 0.8; the
        /// authors: 0.05 in l-inf and 0.1 in l2 for networks without defence, more for others).
        pub p: Fraction = Fraction::of(0.8),
        /// Whether the schedule of sizes, made for 10,000 queries, is rescaled to the number of queries (the authors'
        /// code, torchattacks, ART: true; AutoAttack: false, so that its 5000 queries end with squares of `p` / 128).
        pub rescale: bool = false,
        /// Where squares may lie: `all` places (paper), or `all-but-last`, which never changes the last row
        /// and the last column after the start (the authors' code, AutoAttack, torchattacks, ART).
        pub places: Places = Places::All,
    }
}

impl Attack for Square {
    fn needs(&self) -> Access {
        Access::Scores
    }

    fn budget(&self) -> Option<usize> {
        let runs = self.queries.get().saturating_mul(self.restarts.get());
        // The results of several runs are compared, with one query for each.
        let compared = if self.restarts.get() > 1 { self.restarts.get() } else { 0 };
        Some(runs.saturating_add(compared))
    }

    fn steps(&self) -> Option<usize> {
        Some(self.queries.get())
    }

    fn variant(&self) -> Option<String> {
        Some(variant(self.queries, self.restarts.get(), Target::None, Raised::Ce))
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        if victim.mixes_samples() {
            return Err(Error::refused(
                "attack `square` compares a sample's logits over many passes, so they may not depend on its company: \
                 use `attack_batch_norm = \"eval\"`",
            ));
        }
        restarts(victim, ball, rng, self.restarts.get(), |victim, ball, rng| self.run(victim, ball, rng))
    }
}

impl Square {
    /// One search.
    fn run(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        let like = ball.center();
        if like.elem_count() == 0 {
            return Ok(like.clone());
        }
        let mut samples = samples(victim.ids(), &victim.labels().to_vec1()?, ball)?;
        let mut walk = Walk::new(victim, ball, like.clone(), Success::Any);
        for query in 0..self.queries.get() {
            self.propose(query, &mut samples, ball.norm(), rng);
            walk.go(batch(&samples, Sample::proposal, like)?)?;
            let Some((logits, stays)) = walk.logits()? else { return ball.project(&walk.finish()?) };
            if let Some(stays) = stays {
                samples = kept(samples, &stays.to_vec1()?);
            }
            let labels: Vec<u32> = samples.iter().map(Sample::label).collect();
            for (sample, margin) in samples.iter_mut().zip(margins(&logits, &labels)?) {
                sample.hear(margin, query == 0);
            }
        }
        walk.go(batch(&samples, Sample::image, like)?)?;
        ball.project(&walk.finish()?)
    }

    /// Draws each sample's image for this query, counted from 0: the start, then changes of the best image so far.
    fn propose(&self, query: usize, samples: &mut [Sample], norm: Norm, rng: &Rng) {
        let Some([_, rows, columns]) = samples.first().map(Sample::shape) else { return };
        let rng = rng.named("square").numbered(query as u64);
        let side = schedule::side(self.share(query), norm, [rows, columns]);
        match (norm, query) {
            (Norm::Linf, 0) => samples.par_iter_mut().for_each(|s| linf::stripes(s, &mut rng.sample(s.id()))),
            (Norm::Linf, _) => {
                samples
                    .par_iter_mut()
                    .for_each(|s| linf::square(s, side, self.places, &mut rng.sample(s.id())));
            }
            (Norm::L2, 0) => {
                let tile = Patch::new(l2::tile_side([rows, columns]));
                samples.par_iter_mut().for_each(|s| l2::tiles(s, &tile, &mut rng.sample(s.id())));
            }
            (Norm::L2, _) => {
                let patch = Patch::new(side);
                samples
                    .par_iter_mut()
                    .for_each(|s| l2::shift(s, &patch, self.places, &mut rng.sample(s.id())));
            }
        }
    }

    /// The share of the image that this query's square covers.
    fn share(&self, query: usize) -> f64 {
        let rescaled = self.rescale.then_some(self.queries.get());
        schedule::share(self.p.get(), query, rescaled)
    }
}

impl Places {
    /// How many squares of this side fit along a side of the image.
    fn count(self, length: usize, side: usize) -> usize {
        let gap = length.saturating_sub(side);
        match self {
            Self::All => gap + 1,
            Self::AllButLast => gap.max(1),
        }
    }
}
