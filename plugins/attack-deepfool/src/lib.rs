//! `DeepFool`, Moosavi-Dezfooli et al. 2016, <https://arxiv.org/abs/1511.04599>: Algorithm 2, and section 3.3
//! for l-inf.
//!
//! Each step linearises the network at the current image and moves to the nearest decision boundary with
//! another class. The distance to class k is `|f_k| / ||w_k||`, where `f_k` is the difference between its
//! logit and that of the sample's class, `w_k` the gradient of `f_k`, and ||.|| the dual norm (l2 for l2, l1
//! for l-inf). A sample is removed at its first misclassified image.
//!
//! All samples step together: one forward pass (a second one if samples were removed), then one backward pass
//! per candidate class, of which only the nearest boundary is kept. A candidate whose gradient is 0 or not
//! finite has no boundary. A sample without any boundary does not move and is reported as failed, never as
//! NaN.
//!
//! Deviations from the paper's text: the `margin` of the authors' code; every image is clamped to [0, 1]
//! before a forward pass; labels are the true ones (`labels`). The returned image is clamped, and counts as
//! adversarial only if the network misclassifies it. If the steps do not suffice, the clean image is returned
//! with an infinite distance.

use temper_core::DType;
use temper_core::prelude::*;

/// Far larger than any distance, but single precision can still multiply and sum it.
const FAR: f64 = 1e6;

options! {
    /// What the overshoot multiplies.
    pub enum Overshoot {
        /// The sum of all steps so far, from the clean image on. The paper, the authors' code, foolbox 3.
        Accumulated = "accumulated",
        /// Each step, from the image where [0, 1] cut the last one. foolbox 2, torchattacks, adv-lib.
        Step = "step",
    }
}

plugin! { Attack "deepfool";
    /// DeepFool: steps to the nearest boundary of the linearised network; smallest perturbation.
    /// Moosavi-Dezfooli et al. 2016, <https://arxiv.org/abs/1511.04599>.
    /// Norms: l2, l-inf, whatever the norm of the radius.
    pub struct DeepFool {
        /// The norm that the attack minimises, whatever the norm of the radius.
        pub norm: Norm = Norm::L2,
        /// Most steps (authors' code, foolbox 3, torchattacks: 50; foolbox 2, adv-lib, ART: 100).
        pub steps: NonZeroUsize = nonzero(50),
        /// Wrong classes that each step tries: the likeliest ones for the clean image; all, if there are
        /// fewer. The 10 of the authors' code and of foolbox count the own class too.
        pub candidates: NonZeroUsize = nonzero(9),
        /// How far beyond the boundary to go, as a share of the way there (paper, foolbox 3, torchattacks,
        /// adv-lib: 0.02; foolbox 2: 0.05; ART: 1e-6).
        pub overshoot: NonNegative = NonNegative::of(0.02),
        /// What the overshoot multiplies: the `accumulated` perturbation (paper, authors' code, foolbox 3),
        /// or each `step` (foolbox 2, torchattacks, adv-lib).
        pub overshoot_on: Overshoot = Overshoot::Accumulated,
        /// Added to the length of each step, in pixel values of [0, 1], so that a step on a boundary leaves
        /// it (authors' code, foolbox 3, adv-lib: 1e-4; paper, foolbox 2, torchattacks: 0).
        pub margin: Distance = Distance::of(1e-4),
        /// Class that is left: the `true` one (adv-lib, torchattacks, foolbox 2), or the one `predicted` for
        /// the clean image (paper, authors' code, foolbox 3, ART). They differ only where natural errors are
        /// attacked, which evaluations do not.
        pub labels: Labels = Labels::True,
    }
}

impl Attack for DeepFool {
    fn min_norm(&self) -> Option<Norm> {
        Some(self.norm)
    }

    fn draws(&self) -> bool {
        false
    }

    fn most_passes(&self, classes: usize) -> Option<[u64; 2]> {
        let (steps, candidates) = (self.steps.get(), self.candidates.get().min(classes.saturating_sub(1)));
        // A step that removes samples makes a second forward pass of the others.
        Some([2 * steps as u64, (steps * candidates) as u64])
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, _rng: &Rng) -> Result<Tensor> {
        let victim = self.labels.view(victim)?;
        let mut clean = ball.center().clone();
        let mut candidates: Option<Tensor> = None;
        let mut accumulated = clean.zeros_like()?;
        let mut walk = Walk::stopping(&victim, ball, clean.clone(), 0);
        for _ in 0..self.steps.get() {
            let Some((forward, kept)) = walk.record()? else { break };
            if let Some(kept) = kept {
                (clean, accumulated) = (clean.index_select(&kept, 0)?, accumulated.index_select(&kept, 0)?);
                candidates = candidates.map(|classes| classes.index_select(&kept, 0)).transpose()?;
            }
            let classes = match candidates.take() {
                Some(classes) => classes,
                None => self.candidates(&forward.logits(), walk.victim().labels())?,
            };
            let mut nearest = Nearest::none(&clean)?;
            for k in 0..classes.dim(1)? {
                let class = classes.narrow(1, k, 1)?.contiguous()?;
                // The logit of the candidate minus that of the sample's class.
                let pass = forward.pass_of(&|logits, rows| {
                    let own = logits.gather(&rows.labels.unsqueeze(1)?, 1)?;
                    Ok((logits.gather(&class, 1)? - own)?.squeeze(1)?)
                })?;
                nearest.hear(&pass.scores, &pass.gradient, self.norm)?;
            }
            candidates = Some(classes);
            let step = nearest.step(self.norm, self.margin.get())?;
            let beyond = 1.0 + self.overshoot.get().min(FAR);
            let next = match self.overshoot_on {
                Overshoot::Accumulated => {
                    accumulated = (accumulated + step)?;
                    (&clean + (&accumulated * beyond)?)?
                }
                Overshoot::Step => (walk.pixels() + (step * beyond)?)?,
            };
            walk.go(next.clamp(0.0, 1.0)?)?;
        }
        walk.finish()
    }
}

impl DeepFool {
    /// The wrong classes with the largest logits at the clean image, `[n, candidates]`, the largest first; of
    /// equal ones the lower class.
    fn candidates(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let count = self.candidates.get().min(logits.dim(1)? - 1);
        let wrong = wrong_classes(logits, labels)?;
        let chosen: Vec<u32> = wrong.iter().flat_map(|order| &order[..count]).copied().collect();
        Ok(Tensor::from_vec(chosen, (logits.dim(0)?, count), logits.device())?)
    }
}

/// The nearest boundary of each sample among the candidates so far.
struct Nearest {
    /// Distance in pixel values; infinite without a boundary.
    distances: Vec<f64>,
    /// Its direction: the gradient of `f_k`, `[n, c, h, w]`.
    gradient: Tensor,
}

impl Nearest {
    fn none(like: &Tensor) -> Result<Self> {
        Ok(Self { distances: vec![f64::INFINITY; like.dim(0)?], gradient: like.zeros_like()? })
    }

    /// Adds the boundary with one more class, from its `f_k` `[n]` and their gradients.
    fn hear(&mut self, scores: &Tensor, gradient: &Tensor, norm: Norm) -> Result<()> {
        let scores = scores.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        // A gradient of 0, infinity or NaN has no direction.
        let leads = |slope: f64| slope > 0.0 && slope.is_finite();
        let distance = |(f, slope): (&f64, f64)| if leads(slope) { f.abs() / slope } else { f64::INFINITY };
        let distances: Vec<f64> = scores.iter().zip(slope(norm, gradient)?).map(distance).collect();
        let nearer: Vec<bool> = distances.iter().zip(&self.distances).map(|(new, old)| new < old).collect();
        self.gradient = rows::choose(&nearer, gradient, &self.gradient)?;
        for (i, nearer) in nearer.iter().enumerate() {
            if *nearer {
                self.distances[i] = distances[i];
            }
        }
        Ok(())
    }

    /// The step to each boundary and `margin` beyond it, `[n, c, h, w]`; 0 without a boundary.
    fn step(&self, norm: Norm, margin: f64) -> Result<Tensor> {
        let length = |d: &f64| if d.is_finite() { d.min(FAR) + margin.min(FAR) } else { 0.0 };
        let lengths: Vec<f64> = self.distances.iter().map(length).collect();
        Ok(steepest(norm, &self.gradient)?.broadcast_mul(&rows::column(&lengths, &self.gradient)?)?)
    }
}
