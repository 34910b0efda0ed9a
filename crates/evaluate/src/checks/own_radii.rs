//! Radii of adaptive training that do not hold: the attack that gave them was too weak for them.

use temper_results::Cost;

use crate::checks::Evidence;

/// More than one in so many images that do not survive the radius they were given speaks against that radius.
const FEW: usize = 5;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let own = evidence.setting.radii.and_then(|_| broken_within(evidence.attacks));
    own.into_iter().collect()
}

fn broken_within(costs: &[Cost]) -> Option<String> {
    let attacked = costs.first()?.attacked;
    let broken: usize = costs.iter().map(|cost| cost.broken).sum();
    (broken * FEW > attacked).then(|| {
        format!(
            "{broken} of {attacked} images that are right unperturbed do not survive their own radius: the attack that gave it was too \
             weak for it"
        )
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
            warning.starts_with("21 of 100 images that are right unperturbed do not survive"),
            "{warning}"
        );
    }
}
