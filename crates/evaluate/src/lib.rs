//! Accuracy of a network, natural and under attack.
//!
//! Batch norm runs in evaluation mode. Natural errors count as broken, and only samples that are classified correctly
//! unperturbed are attacked: the same accuracy by definition. Labels are the true ones.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use temper_core::nn::Frozen;
use temper_core::{
    Attack, Ball, Batch, Chosen, Device, Error, Goal, Network, Norm, Passes, Pixels, Result, Source, Victim,
    perturb,
};
use temper_data::{Batches, Rng};

/// One `[[evaluate]]` table of a pipeline.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the result.
    pub name: String,
    /// What perturbs the images; without it the natural accuracy is taken.
    pub attack: Option<Chosen<dyn Attack>>,
    /// How the radius is measured; left out, l-inf.
    pub norm: Option<Norm>,
    /// Radius of every sample, in pixel values of [0, 1]; needed with an attack.
    pub radius: Option<Pixels>,
}

impl Entry {
    /// How the radius is measured.
    pub fn norm(&self) -> Norm {
        self.norm.unwrap_or(Norm::Linf)
    }

    /// What no single field shows: the field at fault and a message.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        match (&self.attack, self.radius) {
            (Some(attack), None) => Some((
                "attack",
                format!(
                    "attack `{}` needs a radius: add `radius = \"8/255\"` or another length",
                    attack.name()
                ),
            )),
            (None, Some(_)) => {
                Some(("radius", "a radius without an attack: add one, for example `attack = \"pgd\"`".into()))
            }
            (None, None) if self.norm.is_some() => Some(("norm", "a norm without an attack".into())),
            (Some(_), Some(radius)) if self.norm() == Norm::Linf && radius.get() > 1.0 => {
                let r = radius.get();
                Some((
                    "radius",
                    format!(
                        "an l-inf radius of {r} holds every image; lengths are in pixels of [0, 1]: \"{r}/255\"?"
                    ),
                ))
            }
            (Some(attack), Some(_)) => attack.problem(self.norm()).map(|problem| ("attack", problem)),
            (None, None) => None,
        }
    }
}

/// The result of one entry, as `results.json` holds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The entry's name.
    pub name: String,
    /// Share of samples that stand, 0 to 1.
    pub accuracy: f64,
    /// Samples judged.
    pub n: usize,
    /// Samples that should have been, but could not be decoded; absent if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: usize,
    /// Which these are, with the reason.
    #[serde(skip)]
    pub unreadable: BTreeMap<u64, String>,
    /// 95 % Wilson interval of the accuracy.
    pub interval: [f64; 2],
    /// Wall time.
    pub seconds: f64,
    /// Forward passes, counted a sample.
    pub forwards: u64,
    /// Backward passes, counted a sample.
    pub backwards: u64,
    /// The attack's name; absent for natural accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack: Option<String>,
    /// How the radius is measured; absent for natural accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Radius in pixel values of [0, 1]; absent for natural accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radius: Option<f64>,
    /// For minimum-norm attacks: median distance of the adversarial images found, whatever the radius, in the attack's
    /// norm. Samples on which it failed count as infinitely far; absent if the median is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_distance: Option<f64>,
}

/// Judges `network` on all of `source`. `seed` keys the attack's randomness; `watch` hears of (samples done, standing)
/// after each batch, and may break off: then there is no result.
pub fn evaluate(
    network: &Frozen,
    source: &Arc<dyn Source>,
    entry: &Entry,
    batch: usize,
    seed: u64,
    device: &Device,
    watch: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<Evaluation>> {
    let started = Instant::now();
    let passes = Passes::default();
    let rng = Rng::new(seed, "evaluate").named(&entry.name);
    let (mut n, mut standing, mut distances, mut unreadable) = (0, 0, vec![], BTreeMap::new());
    for raw in Batches::new(source.clone(), (0..source.len()).collect(), batch, None) {
        let mut raw = raw?;
        unreadable.extend(raw.skipped.drain(..));
        if raw.ids.is_empty() {
            continue;
        }
        let batch = Batch::new(raw, device)?;
        let victim = Victim::new(Network::Frozen(network), &batch, Goal::Mistake, &passes)?;
        let correct: Vec<bool> = victim.broken(&batch.pixels)?.iter().map(|b| !b).collect();
        n += batch.len();
        standing += match &entry.attack {
            None => correct.iter().filter(|c| **c).count(),
            Some(attack) => {
                let (left, found) = attacked(attack, entry, &victim, &correct, &rng)?;
                distances.extend(found);
                left
            }
        };
        if watch(n, standing).is_break() && n + unreadable.len() < source.len() {
            return Ok(None);
        }
    }
    if let (0, Some(first)) = (n, unreadable.values().next()) {
        let all = source.len();
        return Err(Error::refused(format!("none of the {all} images can be decoded; the first: {first}")));
    }
    Ok(Some(Evaluation {
        name: entry.name.clone(),
        accuracy: standing as f64 / n.max(1) as f64,
        n,
        skipped: unreadable.len(),
        unreadable,
        interval: wilson(standing, n),
        seconds: started.elapsed().as_secs_f64(),
        forwards: passes.forwards(),
        backwards: passes.backwards(),
        attack: entry.attack.as_ref().map(|attack| attack.name().into()),
        norm: entry.attack.as_ref().map(|_| entry.norm()),
        radius: entry.radius.map(Pixels::get),
        median_distance: median(distances),
    }))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Attacks the samples of `correct`: how many stand, and, for minimum-norm attacks, the distances at which each fell.
fn attacked(
    attack: &Chosen<dyn Attack>,
    entry: &Entry,
    victim: &Victim,
    correct: &[bool],
    rng: &Rng,
) -> Result<(usize, Vec<f64>)> {
    if !correct.contains(&true) {
        return Ok((0, vec![]));
    }
    let victim = victim.rows(correct)?;
    let radius = entry.radius.map_or(0.0, Pixels::get);
    let ball = Ball::new(victim.pixels(), &vec![radius; victim.len()], entry.norm(), victim.ids())?;
    let perturbed = perturb(attack, &victim, &ball, rng)?;
    let broken = victim.broken(&perturbed.pixels)?;
    Ok((broken.iter().filter(|b| !**b).count(), perturbed.distances.unwrap_or_default()))
}

/// The median, if it is finite.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    Some(f64::midpoint(values[middle], values[values.len() / 2])).filter(|m| m.is_finite())
}

/// The 95 % interval of Wilson (1927) for `hits` of `n`.
pub fn wilson(hits: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let (n, p, z) = (n as f64, hits as f64 / n as f64, 1.959_963_984_540_054_f64);
    let scale = 1.0 / (1.0 + z * z / n);
    let middle = scale * (p + z * z / (2.0 * n));
    let half = scale * z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_intervals_agree_with_statsmodels() {
        // statsmodels.stats.proportion.proportion_confint(hits, n, method="wilson")
        let cases = [
            (0, 10, [0.0, 0.277_532_799]),
            (10, 10, [0.722_467_201, 1.0]),
            (830, 1000, [0.805_465_935, 0.852_008_404]),
        ];
        for (hits, n, expected) in cases {
            let got = wilson(hits, n);
            assert!((got[0] - expected[0]).abs() < 1e-6 && (got[1] - expected[1]).abs() < 1e-6, "{got:?}");
        }
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
    }

    #[test]
    fn a_median_of_mostly_failures_is_none() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![1.0, f64::INFINITY, f64::INFINITY]), None);
        assert_eq!(median(vec![]), None);
    }
}
