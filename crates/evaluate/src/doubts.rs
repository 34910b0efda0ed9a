//! When a number should not be believed, in words, as far as the evaluation itself can tell.

use temper_core::Norm;

use crate::entry::Entry;
use crate::evaluation::{Curve, Evaluation};
use crate::record::Cost;

/// A radius in l-inf within which every image can become plain grey: no classifier stands there.
const NOTHING_STANDS: f64 = 0.5;

/// More than one in so many images that do not survive the radius they were given speaks against that radius.
const FEW: usize = 5;

/// What speaks against an evaluation's numbers. `own`: each image has a radius of its own.
pub(crate) fn doubts(entry: &Entry, evaluation: &Evaluation, own: bool) -> Vec<String> {
    let mut doubts = vec![];
    let largest = entry.radii().last().copied().unwrap_or(0.0);
    for (attack, label) in entry.attacks().zip(entry.labels()) {
        doubts.extend(attack.doubt(largest).map(|doubt| format!("`{label}`: {doubt}")));
    }
    doubts.extend(evaluation.curve.as_ref().and_then(|curve| of_curve(entry, curve)));
    doubts.extend(own.then(|| of_own_radii(&evaluation.attacks)).flatten());
    doubts
}

/// Radii in another norm than those of training, which are not comparable with them.
pub(crate) fn of_norms(entry: &Entry, trained_in: Option<Norm>) -> Option<String> {
    entry.attacks().next()?;
    let (norm, trained) = (entry.norm(), trained_in?);
    (norm != trained).then(|| {
        format!("it judges within {norm} radii, but the network was trained against {trained} ones: add an evaluation in {trained}")
    })
}

/// Radii that do not hold: whatever attack gave them was too weak for them.
fn of_own_radii(costs: &[Cost]) -> Option<String> {
    let attacked = costs.first()?.attacked;
    let broken: usize = costs.iter().map(|cost| cost.broken).sum();
    (broken * FEW > attacked).then(|| {
        format!(
            "{broken} of {attacked} images that are right unperturbed do not survive their own radius: the attack that gave it was too \
             weak for it"
        )
    })
}

fn of_curve(entry: &Entry, curve: &Curve) -> Option<String> {
    let [.., before, last] = &curve.points[..] else { return None };
    let linf = entry.norm() == Norm::Linf;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_that_do_not_hold_are_doubted() {
        let of = |broken: usize| {
            let cost = Cost { attacked: 100, broken, ..Cost::default() };
            of_own_radii(&[cost])
        };
        assert_eq!(of(20), None);
        let doubt = of(21).unwrap();
        assert!(doubt.starts_with("21 of 100 images that are right unperturbed do not survive"), "{doubt}");
    }
}
