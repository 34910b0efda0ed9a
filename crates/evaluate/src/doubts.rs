//! When a number should not be believed, in words, as far as the evaluation itself can tell.

use crate::entry::Entry;
use crate::evaluation::{Curve, Evaluation};

/// A radius in l-inf within which every image can become plain grey: no classifier stands there.
const NOTHING_STANDS: f64 = 0.5;

/// What speaks against an evaluation's numbers.
pub(crate) fn doubts(entry: &Entry, evaluation: &Evaluation) -> Vec<String> {
    let mut doubts = vec![];
    let largest = entry.radii().last().copied().unwrap_or(0.0);
    for (attack, label) in entry.attacks().zip(entry.labels()) {
        doubts.extend(attack.doubt(largest).map(|doubt| format!("`{label}`: {doubt}")));
    }
    doubts.extend(evaluation.curve.as_ref().and_then(|curve| of_curve(entry, curve)));
    doubts
}

fn of_curve(entry: &Entry, curve: &Curve) -> Option<String> {
    let [.., before, last] = &curve.points[..] else { return None };
    let linf = entry.norm() == temper_core::Norm::Linf;
    match curve.over {
        "radius" if linf && last.at >= NOTHING_STANDS && last.accuracy > 0.0 => Some(format!(
            "{:.1} % stand within {}, where every image can become grey: the attack fails, and all other points are in doubt",
            last.accuracy * 100.0,
            last.at
        )),
        "steps" if last.accuracy < before.accuracy => {
            Some(format!("it still falls from {} to {} steps: more may break more", before.at, last.at))
        }
        _ => None,
    }
}
