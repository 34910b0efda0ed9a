//! Images whose gradient vanished: a gradient attack has no direction there.

use temper_results::{Cost, Severity, Warning};

use crate::checks::{Check, Evidence, Find, WRONG, caution, percent, share};

pub(super) const CHECK: Check = Check {
    id: "vanished-gradients",
    reads: "images with a gradient of exactly 0, per attack",
    find: Find::Evaluation(find),
};

fn find(evidence: &Evidence) -> Vec<Warning> {
    evidence.attacks.iter().filter_map(|cost| vanished(cost, evidence)).collect()
}

fn vanished(cost: &Cost, Evidence { right, n, .. }: &Evidence) -> Option<Warning> {
    let (attack, lost) = (&cost.attack, cost.vanished);
    (lost > 0).then(|| {
        let text = format!(
            "`{attack}`: {lost} of the {right} images that are right unperturbed ({:.1} %) have a gradient of exactly 0 where they are still \
             right: there it cannot see where to go, and its number is too high",
            percent(lost, *right)
        );
        // Other attacks, or other passes of this one, may have broken the same images.
        let severity = Severity::severe_if(share(cost.vanished_standing, *n) > WRONG);
        let advice = "judge the network by `square` too, and attack around the operations whose gradient is 0";
        caution(text).graded(severity).with_figure(share(lost, *right)).advising(advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::{Case, cost};

    #[test]
    fn vanished_gradients_are_told_with_their_share() {
        let lost =
            |standing: usize| Cost { vanished: 37, vanished_standing: standing, ..cost("pgd", 300, 0) };
        let found = |cost: &Cost| {
            let case = Case { n: 320, right: 300, standing: 200, ..Case::default() };
            case.with(|evidence| vanished(cost, evidence))
        };
        let warning = found(&lost(37)).unwrap();
        assert!(
            warning.text.starts_with(
                "`pgd`: 37 of the 300 images that are right unperturbed (12.3 %) have a gradient"
            ),
            "{warning}"
        );
        assert!(warning.is_severe());
        // Nearly all of these images were broken in the end, so the number is right.
        assert!(!found(&lost(3)).unwrap().is_severe());
        assert_eq!(found(&Cost::default()), None);
    }
}
