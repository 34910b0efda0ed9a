//! `RayS`, Chen and Gu 2020, <https://arxiv.org/abs/2006.12792>: Algorithms 1 to 3. It uses only the class that the
//! network predicts for each image.
//!
//! A direction assigns each pixel value a sign, +1 or -1. Its radius is the smallest l-inf distance at which the
//! image in this direction, clamped to [0, 1], is misclassified. The search flips the signs of one block of pixel
//! values after another, and keeps a flip that makes the radius smaller. The first block is the whole image; then it
//! is divided into 2, 4, 8, ... blocks, down to single values, which are tried again and again.
//!
//! A flip is first tried at the best radius so far. Only if the image there is misclassified is the radius bisected
//! (the paper's fast check). So no image is ever further away than the best one.
//!
//! Each pass through the network has one image of every sample that is still searched, whatever the stage of its
//! search. With a larger budget a sample makes the same queries first, so a larger budget never gives a larger
//! distance.
//!
//! Deviations from the authors' code:
//!
//! - The first query is the clean image. A natural error is returned as it is.
//! - The direction of only +1 is tried before the first flip. The authors' code begins with only -1.
//! - An image counts as soon as it is misclassified, so the bisection may be cut off by the budget.
//! - A pass over all single values without a change ends the search, because the next pass would repeat its queries.

mod blocks;
mod ray;
mod search;
#[cfg(test)]
mod tests;

use temper_core::prelude::*;

use crate::search::Search;

plugin! { Attack "ray-s";
    /// RayS: the smallest radius along directions of signs, from the network's decisions alone.
    /// Chen and Gu 2020, <https://arxiv.org/abs/2006.12792>. Norm: l-inf, whatever the norm of the radius.
    pub struct RayS {
        /// Most queries of each sample: images of it that the network is shown (paper, authors' code: 10,000).
        pub queries: NonZeroUsize = nonzero(10_000),
        /// How exact a radius is, as an l2 length in pixel values of [0, 1]: in l-inf it is divided by the root of
        /// the number of values in an image, and is 1.8e-5 for CIFAR-10 (authors' code: 1e-3).
        pub tolerance: Positive = Positive::of(1e-3),
    }
}

impl Attack for RayS {
    fn min_norm(&self) -> Option<Norm> {
        Some(Norm::Linf)
    }

    fn needs(&self) -> Access {
        Access::Labels
    }

    fn budget(&self) -> Option<usize> {
        Some(self.queries.get())
    }

    fn draws(&self) -> bool {
        false
    }

    fn variant(&self) -> Option<String> {
        Some(self.queries.to_string())
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, _rng: &Rng) -> Result<Tensor> {
        if victim.mixes_samples() {
            return Err(Error::refused(
                "`ray-s` goes on with the samples that have queries left, so none may depend on its company: \
                 use `attack_batch_norm = \"eval\"`",
            ));
        }
        let mut search = Search::new(victim, ball.center(), self.queries.get(), self.tolerance.get())?;
        while search.goes_on() {
            search.round()?;
        }
        Ok(search.finish())
    }
}
