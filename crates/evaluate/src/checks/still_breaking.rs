//! Attacks that still break images at their end: more steps or restarts would break more.

use temper_results::{Cost, Over, Warning};

use crate::checks::pairs::exceeds;
use crate::checks::{Check, Evidence, Find, caution, percent, share};

pub(super) const STEPS: Check = Check {
    id: "steps-still-help",
    reads: "the last two points of a curve over steps",
    find: Find::Evaluation(steps),
};

pub(super) const RESTARTS: Check = Check {
    id: "restarts-still-help",
    reads: "images that the last of several restarts broke",
    find: Find::Evaluation(restarts),
};

/// If the last restart breaks at most this share of the images, no further restart is needed.
const FEW: f64 = 0.01;

/// If the last steps of a curve break at most this share of the images, no further step is needed.
const LITTLE: f64 = 0.005;

fn steps(evidence: &Evidence) -> Vec<Warning> {
    let curve = evidence.curve.filter(|curve| curve.over == Over::Steps);
    let Some([.., before, last]) = curve.map(|curve| &curve.points[..]) else { return vec![] };
    let warning = (before.accuracy - last.accuracy > LITTLE).then(|| {
        let text = format!("it still falls from {} to {} steps: more may break more", before.at, last.at);
        caution(text).with_figure(before.accuracy - last.accuracy)
    });
    warning.into_iter().collect()
}

fn restarts(evidence: &Evidence) -> Vec<Warning> {
    let tried = evidence.n * evidence.entry.radii().len().max(1);
    let told = evidence.members.iter().zip(evidence.attacks).filter_map(|(member, cost)| {
        let Cost { attack, broken_last, .. } = cost;
        exceeds(*broken_last, tried, FEW).then(|| {
            let text = format!(
                "`{attack}`: the last of {} restarts still broke {broken_last} of {tried} images ({:.1} %)",
                member.restarts,
                percent(*broken_last, tried)
            );
            caution(text).with_figure(share(*broken_last, tried)).advising("more restarts may break more")
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::{Case, cost, curve};

    #[test]
    fn a_curve_that_falls_at_its_end_is_told_and_a_level_one_is_not() {
        let of = |over: Over, last: f64| {
            let curve = curve(over, &[(1.0, 0.75), (6.0, last)]);
            Case { attacks: &["pgd = {}"], curve: Some(curve), ..Case::default() }.with(steps)
        };
        let told = of(Over::Steps, 0.5);
        assert_eq!(told[0].to_string(), "it still falls from 1 to 6 steps: more may break more");
        assert_eq!((told[0].figure, told[0].is_severe()), (Some(0.25), false));
        assert_eq!((of(Over::Steps, 0.75), of(Over::Radius, 0.5)), (vec![], vec![]));
        assert_eq!(of(Over::Steps, 0.746), vec![]);
    }

    #[test]
    fn a_last_restart_that_breaks_many_is_told() {
        let of = |broken_last: usize| {
            let costs = vec![Cost { broken_last, ..cost("pgd-20x3", 900, 80) }];
            Case { attacks: &["pgd = {}"], restarts: 3, n: 1000, costs, ..Case::default() }.with(restarts)
        };
        let told = of(30);
        assert!(
            told[0]
                .text
                .starts_with("`pgd-20x3`: the last of 3 restarts still broke 30 of 1000 images (3.0 %)"),
            "{told:?}"
        );
        // 12 of 1000 is more than one in a hundred, but not by more than chance.
        assert_eq!((of(12), of(0)), (vec![], vec![]));
    }
}
