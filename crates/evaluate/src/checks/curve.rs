//! Curves that do not end as they must: at 0 within a radius that makes every image grey, and level over many steps.

use temper_core::Norm;
use temper_results::Over;

use crate::checks::Evidence;

/// A radius in l-inf within which every image can become plain grey: no classifier stands there.
const NOTHING_STANDS: f64 = 0.5;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let Some(curve) = evidence.curve else { return vec![] };
    let [.., before, last] = &curve.points[..] else { return vec![] };
    let linf = evidence.entry.norm() == Norm::Linf;
    match curve.over {
        Over::Radius if linf && last.at >= NOTHING_STANDS && last.accuracy > 0.0 => vec![format!(
            "{:.1} % stand within {}, where every image can become grey: the attack fails, and all other points are in doubt",
            last.accuracy * 100.0,
            last.at
        )],
        Over::Steps if last.accuracy < before.accuracy => {
            vec![format!("it still falls from {} to {} steps: more may break more", before.at, last.at)]
        }
        _ => vec![],
    }
}
