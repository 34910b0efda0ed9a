//! Attacks that still break more images with more steps.

use crate::checks::pairs::Pairs;
use crate::checks::{Check, Find, Found, WRONG, caution};
use crate::seen::{AttackFacts, Seen, Together};

pub(super) const CHECK: Check = Check {
    id: "more-steps-still-help",
    reads: "images broken by two numbers of steps of the same attack",
    find: Find::Together(find),
};

/// Evaluations with fewer steps are expected to break fewer images, and are not compared.
const MANY: usize = 10;

fn find(together: &Together) -> Vec<Found> {
    let mut all = vec![];
    for (at, most) in together.those(|seen| only(seen).is_some()) {
        let Some((attack, steps)) = only(most) else { continue };
        // The comparison is with the most steps of the others; the warning is about the evaluation with the
        // most steps of all.
        let fewer = together.those(|seen| {
            let same = only(seen)
                .is_some_and(|(other, _)| other.name == attack.name && other.others == attack.others);
            same && seen.compares_with(most) && seen.surrogate == most.surrogate
        });
        let others: Vec<(usize, &Seen)> =
            fewer.filter_map(|(_, seen)| Some((only(seen)?.1, seen))).filter(|(n, _)| *n != steps).collect();
        if others.iter().any(|(n, _)| *n > steps) {
            continue;
        }
        let before = others.into_iter().filter(|(n, _)| *n >= MANY).max_by_key(|(n, _)| *n);
        all.extend(before.and_then(|before| helps(before, (at, steps, most))));
    }
    all
}

/// The attack and its number of steps, if the evaluation has only one attack and its steps are known.
fn only(seen: &Seen) -> Option<(&AttackFacts, usize)> {
    match &seen.attacks[..] {
        [attack] => Some((attack, attack.steps?)),
        _ => None,
    }
}

fn helps((fewer, before): (usize, &Seen), (at, steps, most): (usize, usize, &Seen)) -> Option<Found> {
    let radius = most.radii.iter().rev().find(|radius| before.knows(**radius))?;
    let pairs = Pairs::of((most, *radius), (before, *radius));
    let lead = pairs.lead(WRONG)?;
    let text = format!(
        "{steps} steps still break {:.1} % of {} images within {radius} more than the {fewer} steps of `{}`",
        lead * 100.0,
        pairs.n,
        before.name
    );
    Some(Found { at, warning: caution(text).with_figure(lead).advising("more steps may break more") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::{found, pgd, seen};

    #[test]
    fn steps_that_still_help_are_told_of_the_most_steps() {
        let of = |steps: usize, broken: u64| seen(&format!("pgd-{steps}"), pgd(steps), 0.1, 0..broken, 1000);
        let told = found(&[of(100, 450), of(20, 400), of(10, 300)], find);
        assert_eq!((told.len(), told[0].at, told[0].warning.figure), (1, 0, Some(0.05)));
        assert!(told[0].warning.text.starts_with("100 steps still break 5.0 % of 1000 images within 0.1"));
        // With another parameter it is another attack.
        let targeted = AttackFacts { others: vec![("target".into(), "all".into())], ..pgd(100) };
        let other = seen("targeted", targeted, 0.1, 0..450, 1000);
        for quiet in [
            vec![of(100, 405), of(20, 400)],
            vec![of(20, 400), of(1, 200)],
            vec![of(20, 400)],
            vec![other, of(20, 400)],
        ] {
            assert!(found(&quiet, find).is_empty());
        }
    }
}
