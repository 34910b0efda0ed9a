//! Attacks, and the checks that each result passes before anybody believes it.

use std::fmt::Debug;

use candle_core::{DType, Tensor};
use temper_data::Rng;
use temper_nn::{Stray, stray};

use crate::{Access, Ball, Chosen, Error, Norm, Result, TOLERANCE, Victim, rows};

/// A way to perturb images so that a network errs.
pub trait Attack: Debug + Send + Sync {
    /// `Some(norm)`: searches the smallest perturbation and ignores radii; what is not misclassified, or does
    /// not fit the radius, then counts as not broken.
    fn min_norm(&self) -> Option<Norm> {
        None
    }

    /// The most forward and backward passes that it makes for a sample, on a network with this number of classes;
    /// `None` if it cannot say. The default is its budget of queries.
    fn most_passes(&self, _classes: usize) -> Option<[u64; 2]> {
        self.budget().map(|queries| [queries as u64, 0])
    }

    /// What it asks of a network. The victim that it gets refuses anything more.
    fn needs(&self) -> Access {
        Access::Gradients
    }

    /// Most queries that it makes for a sample, if it needs no gradients and has such a budget.
    fn budget(&self) -> Option<usize> {
        None
    }

    /// What keeps it from ever working on radii in this norm, in words: found before any work is done.
    fn problem(&self, _norm: Norm) -> Option<String> {
        None
    }

    /// What keeps it from working on a network with this number of classes, in words; found before any work is done.
    fn problem_of_classes(&self, _classes: usize) -> Option<String> {
        None
    }

    /// Why numbers of it in balls of this radius should not be believed, in words that are reported beside the numbers.
    fn warning(&self, _radius: f64) -> Option<String> {
        None
    }

    /// As [`Self::warning`], for a network that tells this many classes apart.
    fn warning_for_classes(&self, _classes: usize) -> Option<String> {
        None
    }

    /// Whether another stream of random numbers gives other images. Where none does, an evaluation runs it
    /// once, whatever its `restarts`.
    fn draws(&self) -> bool {
        true
    }

    /// How many steps it takes, if its iterates can be judged on their way: then an evaluation may ask what stood after
    /// fewer of them. They are the iterates of this attack, whose steps may depend on how many there are.
    fn steps(&self) -> Option<usize> {
        None
    }

    /// What tells its main parameters in its label, behind its name: "100x5" of 100 steps and 5 restarts.
    /// Left out, its steps.
    fn variant(&self) -> Option<String> {
        self.steps().map(|steps| steps.to_string())
    }

    /// Perturbed pixels `[n, c, h, w]`, one row per row of `victim`'s batch, inside `ball`. All randomness comes from
    /// `rng`, keyed by sample.
    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor>;
}

/// An attack's result after its checks.
#[derive(Debug, Clone)]
pub struct Perturbed {
    /// `[n, c, h, w]`, inside ball and box. Where a minimum-norm attack failed or needed more than the
    /// radius: the clean image.
    pub pixels: Tensor,
    /// For minimum-norm attacks: how far from each clean image the adversarial one was, in the attack's norm, whatever
    /// the radius, `[n]`; infinite where what the attack returned is not adversarial.
    pub distances: Option<Vec<f64>>,
    /// As `distances`, but in the norm of the ball: from which radius on each sample is broken.
    pub needed: Option<Vec<f64>>,
}

/// Runs an attack and checks its result: shape, finite, in [0, 1], inside the ball to 1e-6 (then clamped to
/// it exactly). An attack that breaks a rule is an error that names it.
pub fn perturb(attack: &Chosen<dyn Attack>, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Perturbed> {
    let faulty = |what: String| Error::Faulty { attack: attack.name().into(), what };
    let pixels =
        attack.perturb(&victim.granting(attack.needs()), ball, rng).map_err(|error| match error {
            Error::Denied { asked, granted } => {
                faulty(format!("no image: it asked for {asked}, but says that it needs {granted}"))
            }
            other => other,
        })?;
    let pixels = pixels.detach();
    if pixels.dims() != ball.center().dims() || pixels.dtype() != ball.center().dtype() {
        let want = ball.center();
        return Err(faulty(format!(
            "{:?} of {:?} for pixels of {:?}, {:?}",
            pixels.dtype(),
            pixels.dims(),
            want.dtype(),
            want.dims()
        )));
    }
    if let Some(Stray { position, value }) = stray(&pixels, -TOLERANCE, 1.0 + TOLERANCE)? {
        let row = victim.ids()[position * victim.len() / pixels.elem_count()];
        if value.is_finite() {
            return Err(faulty(format!("a pixel of {value} for sample {row}, outside [0, 1]")));
        }
        if stray(&victim.logits(victim.pixels())?, f64::MIN, f64::MAX)?.is_some() {
            return Err(Error::refused("the network gives logits that are not finite: it has diverged"));
        }
        return Err(faulty(format!("a pixel of {value} for sample {row}")));
    }
    let radii: Vec<f64> = ball.radii().to_dtype(DType::F64)?.to_vec1()?;
    if let Some(norm) = attack.min_norm() {
        let found = victim.broken(&pixels)?;
        let far = |norm: Norm| -> Result<Vec<f64>> {
            let distances = ball.distances(&pixels, norm)?;
            Ok(distances
                .iter()
                .zip(&found)
                .map(|(d, found)| if *found { *d } else { f64::INFINITY })
                .collect())
        };
        let (distances, needed) = (far(norm)?, far(ball.norm())?);
        let within = |slack: f64| -> Vec<bool> {
            needed.iter().zip(&radii).map(|(d, radius)| *d <= radius + slack).collect()
        };
        // A projection rounds, and what was found may lie so near to the boundary that it would no longer be
        // misclassified. What lies in the ball needs none.
        let pixels = pixels.clamp(0.0, 1.0)?;
        let fitting = rows::choose(&within(TOLERANCE), &pixels, ball.center())?;
        let pixels = rows::choose(&within(0.0), &pixels, &ball.project(&fitting)?)?;
        return Ok(Perturbed { pixels, distances: Some(distances), needed: Some(needed) });
    }
    let distances = ball.distances(&pixels, ball.norm())?;
    // An l2 distance is rounded in proportion to its size.
    let excess = |i: usize| distances[i] - radii[i] * (1.0 + TOLERANCE) - TOLERANCE;
    if let Some(i) = (0..radii.len()).find(|i| excess(*i) > 0.0) {
        let (id, norm) = (victim.ids()[i], ball.norm());
        return Err(faulty(format!(
            "an image at {norm} distance {} from sample {id}, whose radius is {}",
            distances[i], radii[i]
        )));
    }
    Ok(Perturbed { pixels: ball.project(&pixels)?, distances: None, needed: None })
}
