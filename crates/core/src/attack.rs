//! Attacks, and the checks that every result must pass before it is used.

use std::fmt::Debug;

use candle_core::{DType, Tensor};
use temper_data::Rng;
use temper_nn::profile::{self, Work};
use temper_nn::{Stray, stray};

use crate::{Access, Ball, Chosen, Error, Norm, Result, TOLERANCE, Victim, rows};

/// A method that perturbs images so that a network misclassifies them.
pub trait Attack: Debug + Send + Sync {
    /// `Some(norm)` if the attack searches for the smallest perturbation in this norm and ignores radii. An
    /// image that is not misclassified, or that lies outside the radius, then counts as not broken.
    fn min_norm(&self) -> Option<Norm> {
        None
    }

    /// The largest number of forward and backward passes per sample, on a network with this number of classes;
    /// `None` if it is unknown. The default is the budget of queries.
    fn most_passes(&self, _classes: usize) -> Option<[u64; 2]> {
        self.budget().map(|queries| [queries as u64, 0])
    }

    /// The access to a network that the attack needs. Its victim refuses anything more.
    fn needs(&self) -> Access {
        Access::Gradients
    }

    /// The largest number of queries per sample, if the attack needs no gradients and has such a budget.
    fn budget(&self) -> Option<usize> {
        None
    }

    /// The reason why the attack cannot work with radii in this norm, as text; checked before any work is done.
    fn problem(&self, _norm: Norm) -> Option<String> {
        None
    }

    /// The reason why the attack cannot work on a network with this number of classes, as text; checked before
    /// any work is done.
    fn problem_of_classes(&self, _classes: usize) -> Option<String> {
        None
    }

    /// The reason why the attack's numbers in balls of this radius should not be trusted, as text that is
    /// reported beside the numbers.
    fn warning(&self, _radius: f64) -> Option<String> {
        None
    }

    /// Like [`Self::warning`], for a network with this number of classes.
    fn warning_for_classes(&self, _classes: usize) -> Option<String> {
        None
    }

    /// Whether the result depends on the random numbers. If not, an evaluation runs the attack once, whatever
    /// its `restarts`.
    fn draws(&self) -> bool {
        true
    }

    /// The number of steps, if intermediate iterates can be judged: an evaluation may then request the results
    /// after fewer steps. The iterates are those of this attack, whose steps may depend on their total number.
    fn steps(&self) -> Option<usize> {
        None
    }

    /// The main parameters in the attack's label, after its name: "100x5" for 100 steps and 5 restarts. By
    /// default the number of steps.
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
    /// For minimum-norm attacks: the distance of each adversarial image from the clean one, in the attack's
    /// norm and regardless of the radius, `[n]`; infinite where the returned image is not adversarial.
    pub distances: Option<Vec<f64>>,
    /// Like `distances`, but in the norm of the ball: the smallest radius at which each sample is broken.
    pub needed: Option<Vec<f64>>,
}

/// Runs an attack and checks its result: shape, finite, in [0, 1], inside the ball to 1e-6 (then clamped to it
/// exactly), and for attacks without gradients no more queries for a sample than the budget. Returns an error that
/// names the attack if a check fails.
pub fn perturb(attack: &Chosen<dyn Attack>, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Perturbed> {
    let faulty = |what: String| Error::Faulty { attack: attack.name().into(), what };
    let before = attack.budget().map(|budget| (budget as u64, victim.passes().queries()));
    let granted = victim.granting(attack.needs());
    let found = profile::outside(Work::Attack, || attack.perturb(&granted, ball, rng));
    let pixels = found.map_err(|error| match error {
        Error::Denied { asked, granted } => {
            faulty(format!("no image: it asked for {asked}, but says that it needs {granted}"))
        }
        other => other,
    })?;
    if let Some((budget, before)) = before {
        for (position, after) in victim.passes().queries() {
            let queries = after - before.get(&position).copied().unwrap_or(0);
            if queries > budget {
                return Err(faulty(format!(
                    "{queries} queries for an image, more than its budget of {budget}"
                )));
            }
        }
    }
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
        // Projection rounds, and an adversarial image may lie so near the decision boundary that it would then
        // no longer be misclassified. Images inside the ball need no projection.
        let pixels = pixels.clamp(0.0, 1.0)?;
        let fitting = rows::choose(&within(TOLERANCE), &pixels, ball.center())?;
        let pixels = rows::choose(&within(0.0), &pixels, &ball.project(&fitting)?)?;
        return Ok(Perturbed { pixels, distances: Some(distances), needed: Some(needed) });
    }
    let distances = ball.distances(&pixels, ball.norm())?;
    // The rounding error of an l2 distance is proportional to its size.
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

#[cfg(test)]
#[allow(unreachable_pub)]
mod tests {
    use std::collections::BTreeMap;

    use temper_nn::{Classifier, Frozen, Network};

    use super::*;
    use crate::{Batch, Device, Goal, Passes, VictimNetwork};

    crate::plugin! { Attack "asking";
        /// Asks for logits, for tests.
        pub struct Asking {
            /// Queries of each sample.
            pub queries: usize = 1,
        }
    }

    impl Attack for Asking {
        fn needs(&self) -> Access {
            Access::Scores
        }
        fn budget(&self) -> Option<usize> {
            Some(3)
        }
        fn perturb(&self, victim: &Victim, ball: &Ball, _rng: &Rng) -> Result<Tensor> {
            for _ in 0..self.queries {
                victim.logits(victim.pixels())?;
            }
            Ok(ball.center().clone())
        }
    }

    #[test]
    fn an_attack_that_exceeds_its_budget_is_an_error() {
        let mut network = Network::new([1, 1, 2]);
        network.linear(network.input(), "fc", 2).unwrap();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let weights: BTreeMap<String, Tensor> =
            [("fc.weight".into(), zeros(&[2, 2])), ("fc.bias".into(), zeros(&[2]))].into();
        let frozen = Frozen::new(&Classifier::new(network, &weights).unwrap()).unwrap();
        let labels = Tensor::zeros(3, DType::U32, &Device::Cpu).unwrap();
        let batch = Batch { pixels: zeros(&[3, 1, 1, 2]), labels, ids: vec![0, 1, 2] };
        let passes = Passes::default();
        let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
        let ball = Ball::new(&batch.pixels, &[0.1; 3], Norm::Linf, &batch.ids).unwrap();
        let asking = |queries: usize| {
            let attack: Chosen<dyn Attack> = toml::from_str::<BTreeMap<String, Chosen<dyn Attack>>>(
                &format!("a.asking.queries = {queries}"),
            )
            .unwrap()
            .remove("a")
            .unwrap();
            perturb(&attack, &victim, &ball, &Rng::new(0, "a")).map(drop)
        };
        // Each call has the whole budget.
        assert!(asking(3).is_ok() && asking(3).is_ok());
        let error = asking(4).unwrap_err().to_string();
        assert!(error.contains("4 queries for an image, more than its budget of 3"), "{error}");
    }
}
