//! Images whose gradient vanished: a gradient attack cannot see where to go.

use temper_results::Cost;

use crate::checks::{Evidence, percent};

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    evidence.attacks.iter().filter_map(|cost| vanished(cost, evidence.right)).collect()
}

fn vanished(cost: &Cost, right: usize) -> Option<String> {
    let (attack, lost) = (&cost.attack, cost.vanished);
    (lost > 0).then(|| {
        format!(
            "`{attack}`: {lost} of the {right} images that are right unperturbed ({:.1} %) have a gradient of exactly 0 where they are still \
             right: there it cannot see where to go, and its number is too high",
            percent(lost, right)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vanished_gradients_are_told_with_their_share() {
        let cost = Cost { attack: "pgd".into(), attacked: 1500, vanished: 37, ..Cost::default() };
        let warning = vanished(&cost, 300).unwrap();
        assert!(
            warning.starts_with(
                "`pgd`: 37 of the 300 images that are right unperturbed (12.3 %) have a gradient"
            ),
            "{warning}"
        );
        assert_eq!(vanished(&Cost::default(), 300), None);
    }
}
