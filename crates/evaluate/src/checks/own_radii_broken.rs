//! Radii of adaptive training within which images do not stand: the attack that chose them was too weak.

use temper_results::{Cost, Warning};

use crate::checks::{Check, Evidence, Find, caution, share};

pub(super) const CHECK: Check = Check {
    id: "own-radii-broken",
    reads: "images broken within the radii that training gave them",
    find: Find::Evaluation(find),
};

/// If more than one in this many images does not survive its own radius, the radii are doubtful.
const FEW: usize = 5;

fn find(evidence: &Evidence) -> Vec<Warning> {
    let own = evidence.setting.radii.and_then(|_| broken_within(evidence.attacks));
    own.into_iter().collect()
}

fn broken_within(costs: &[Cost]) -> Option<Warning> {
    let attacked = costs.first()?.attacked;
    let broken: usize = costs.iter().map(|cost| cost.broken).sum();
    (broken * FEW > attacked).then(|| {
        let text = format!(
            "{broken} of {attacked} images that are right unperturbed do not survive their own radius: the attack that gave it was too \
             weak for it"
        );
        let advice = "train with a probe of more steps, or of steps that are shorter beside the radius";
        caution(text).with_figure(share(broken, attacked)).advising(advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_that_do_not_hold_are_warned_of() {
        let of = |broken: usize| {
            let cost = Cost { attacked: 100, broken, ..Cost::default() };
            broken_within(&[cost])
        };
        assert_eq!(of(20), None);
        let warning = of(21).unwrap();
        assert!(
            warning.text.starts_with("21 of 100 images that are right unperturbed do not survive"),
            "{warning}"
        );
    }
}
