//! `HopSkipJumpAttack`, Chen, Jordan and Wainwright 2020, <https://arxiv.org/abs/1904.02144>: Algorithm 2, for l2 and
//! l-inf. It uses only the class that the network predicts for each image.
//!
//! It starts at a misclassified random image (`start.rs`), and finds the decision boundary by bisection of the path
//! from the clean image to it (`front.rs`). Then each step
//!
//! 1. estimates the direction in which images become misclassified, from the classes of random images around the one on
//!    the boundary (`probe.rs`),
//! 2. moves along it, and halves the length of the move until the image there is misclassified,
//! 3. bisects the path from the clean image again.
//!
//! All samples take these steps together. Each pass through the network has one image of every sample that still
//! bisects or shortens its move. A sample whose queries do not suffice for the next estimate is removed. With a
//! larger budget a sample makes the same queries first, and the nearest misclassified image of all is returned, so a
//! larger budget never gives a larger distance.
//!
//! Deviations from the authors' code:
//!
//! - The first query is the clean image. A natural error is returned as it is.
//! - If uniform noise is classified correctly, further starts have blocks of one colour with sides of 1, 2, 4, ...
//!   pixels in turn, because most networks predict the same class for all images of pure noise.
//! - In l-inf too the first image is bisected in the attack's norm alone; in the authors' code it comes from a
//!   bisection in l2.
//! - The nearest of all images on the boundary is returned, not the last one.
//! - The bisection's tolerance is at most 1e-2 (images of few pixels), and no smaller than single precision resolves.
//! - After 25 halvings without success a step ends. The authors' code would never return.

mod front;
mod probe;
mod start;
#[cfg(test)]
mod tests;

use temper_core::prelude::*;

use crate::front::Front;

/// Distance of the images of the first estimate from the one on the boundary, in l2, in pixel values of [0, 1]; the
/// value of the paper.
const FIRST_PROBE: f64 = 0.1;

/// Largest number of halvings in a step.
const HALVINGS: usize = 25;

plugin! { Attack "hop-skip-jump";
    /// HopSkipJumpAttack: steps along the decision boundary, from the network's decisions alone; smallest
    /// perturbation. Chen, Jordan and Wainwright 2020, <https://arxiv.org/abs/1904.02144>. Norms: l2, l-inf, whatever
    /// the norm of the radius.
    pub struct HopSkipJump {
        /// The norm that the attack minimises, whatever the norm of the radius (foolbox, ART: l2).
        pub norm: Norm = Norm::L2,
        /// Most queries of each sample: images of it that the network is shown (paper: results for 1,000, 5,000 and
        /// 20,000, figures up to 25,000; foolbox, ART: as many as the steps take, which are 36,000 and 25,000).
        pub queries: NonZeroUsize = nonzero(25_000),
        /// Most steps (foolbox: 64; ART: 50; authors' code: 40). The default budget ends after about 50.
        pub steps: NonZeroUsize = nonzero(64),
        /// Queries of the first estimate of a direction. The one of step t takes the root of t times as many (paper,
        /// foolbox, ART: 100).
        pub first_probes: NonZeroUsize = nonzero(100),
        /// Most queries of an estimate (authors' code, foolbox, ART: 10,000).
        pub most_probes: NonZeroUsize = nonzero(10_000),
        /// Tolerance of the bisection, as a share of the distance: this number times d^(-3/2) in l2, d^(-2) in l-inf,
        /// where d is the number of values of an image. The images of an estimate are further away with a larger one
        /// (authors' code, foolbox: 1; ART: 0.01 d).
        pub gamma: Positive = Positive::of(1.0),
        /// Most random images that are tried as a start (ART: 100; authors' code: 10,000; foolbox: lines to 1,000
        /// images).
        pub starts: NonZeroUsize = nonzero(100),
    }
}

impl Attack for HopSkipJump {
    fn min_norm(&self) -> Option<Norm> {
        Some(self.norm)
    }

    fn needs(&self) -> Access {
        Access::Labels
    }

    fn budget(&self) -> Option<usize> {
        Some(self.queries.get())
    }

    fn variant(&self) -> Option<String> {
        Some(self.queries.to_string())
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        if victim.mixes_samples() {
            return Err(Error::refused(
                "`hop-skip-jump` goes on with the samples that have queries left, so none may depend on its company: \
                 use `attack_batch_norm = \"eval\"`",
            ));
        }
        if victim.is_empty() {
            return Ok(ball.center().clone());
        }
        let mut front = Front::new(victim, ball.center(), self.norm, self.queries.get())?;
        let theta = self.theta(ball.center())?;
        let (far, found) = start::images(&mut front, self.starts.get(), &rng.named("start"))?;
        front.approach(&far, &found, theta)?;
        front.keep(&found)?;
        for step in 1..=self.steps.get() {
            let probes = self.probes(step);
            let goes_on: Vec<bool> = front.left().iter().map(|left| *left > probes).collect();
            front.keep(&goes_on)?;
            if front.is_empty() {
                break;
            }
            let lengths = self.probe_lengths(&front, step, theta)?;
            let rng = rng.named("probe").numbered(step as u64);
            let direction = probe::direction(&mut front, &lengths, probes, &rng)?;
            let (far, moved) = leap(&mut front, &direction, step)?;
            front.approach(&far, &moved, theta)?;
        }
        front.finish()
    }
}

impl HopSkipJump {
    /// Tolerance of the bisection, as a share of the distance.
    fn theta(&self, clean: &Tensor) -> Result<f64> {
        let d = (clean.elem_count() / clean.dim(0)?.max(1)).max(1) as f64;
        let theta = match self.norm {
            Norm::L2 => self.gamma.get() / (d * d.sqrt()),
            Norm::Linf => self.gamma.get() / (d * d),
        };
        Ok(theta.clamp(front::resolution(clean), 1e-2))
    }

    /// Queries of the estimate in this step, which is counted from 1.
    fn probes(&self, step: usize) -> usize {
        let probes = self.first_probes.get() as f64 * (step as f64).sqrt();
        (probes as usize).clamp(1, self.most_probes.get())
    }

    /// The l2 distance of each sample's images of an estimate from the one near the boundary. It is large enough that
    /// the bisection's tolerance does not matter: about half of the images are misclassified.
    fn probe_lengths(&self, front: &Front, step: usize, theta: f64) -> Result<Vec<f64>> {
        let d = front.values()? as f64;
        let share = match self.norm {
            Norm::L2 => d.sqrt() * theta,
            Norm::Linf => d * theta,
        };
        let length = |reach: &f64| if step == 1 { FIRST_PROBE } else { share * reach };
        Ok(front.reach().iter().map(length).collect())
    }
}

/// Moves each sample's image along `direction`, first by the share 1 / root of `step` of its distance, then half as
/// far until it is misclassified. Returns the images, `[remaining, c, h, w]`, and which samples have moved.
fn leap(front: &mut Front, direction: &Tensor, step: usize) -> Result<(Tensor, Vec<bool>)> {
    let mut lengths: Vec<f64> = front.distances().iter().map(|d| d / (step as f64).sqrt()).collect();
    let (mut far, mut moved) = (front.image().clone(), vec![false; lengths.len()]);
    for _ in 0..HALVINGS {
        let open = front.able(&moved.iter().map(|moved| !moved).collect::<Vec<_>>());
        if !open.contains(&true) {
            break;
        }
        let images = front.towards(direction, &lengths)?;
        let broken = front.ask(&images, &open)?;
        far = rows::choose(&broken, &images, &far)?;
        moved.iter_mut().zip(&broken).for_each(|(moved, broken)| *moved |= broken);
        for length in &mut lengths {
            *length /= 2.0;
        }
    }
    Ok((far, moved))
}
