//! Attacks of one gradient step that break more than attacks of many: later gradients mislead.

use crate::checks::pairs::{NOTABLE, Pairs};
use crate::checks::{Check, Find, Found, severe};
use crate::seen::{Seen, Together};

pub(super) const CHECK: Check = Check {
    id: "single-step-beats-many",
    reads: "images broken by one step and by many, within the same radius",
    find: Find::Together(find),
};

fn find(together: &Together) -> Vec<Found> {
    let single = |seen: &Seen| {
        seen.surrogate.is_none()
            && !seen.attacks.is_empty()
            && seen.attacks.iter().all(|attack| attack.single)
    };
    let mut all = vec![];
    for (_, one) in together.those(single) {
        for (at, many) in together.those(|seen| seen.is_white_box() && seen.compares_with(one)) {
            all.extend(one.radii.iter().find_map(|radius| beaten(one, (at, many), *radius)));
        }
    }
    all
}

fn beaten(one: &Seen, (at, many): (usize, &Seen), radius: f64) -> Option<Found> {
    let pairs = Pairs::of((one, radius), (many, radius));
    let lead = pairs.lead(NOTABLE).filter(|_| many.knows(radius))?;
    let text = format!(
        "the single step of `{}` broke {} of {} images within {radius} that many steps did not, and missed {} that they broke",
        one.name, pairs.first, pairs.n, pairs.second
    );
    let advice = "the steps are too short, or gradients mislead the later ones";
    Some(Found { at, warning: severe(text).with_figure(lead).advising(advice) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::{found, pgd, query, seen};
    use crate::seen::AttackFacts;

    #[test]
    fn a_single_step_that_breaks_more_is_told() {
        let one = || seen("fgsm", pgd(1), 0.1, 0..400, 1000);
        let told = found(&[one(), seen("pgd", pgd(20), 0.1, 20..350, 1000)], find);
        assert_eq!((told.len(), told[0].at, told[0].warning.figure), (1, 1, Some(0.07)));
        assert!(told[0].warning.text.contains("broke 70 of 1000 images within 0.1"), "{}", told[0].warning);
        for quiet in [
            seen("pgd", pgd(20), 0.1, 0..450, 1000),
            seen("pgd", pgd(20), 0.1, 0..398, 1000),
            seen("pgd", pgd(20), 0.05, 0..300, 1000),
            seen("square", query(), 0.1, 0..300, 1000),
            seen("towards one class", AttackFacts { one_target: true, ..pgd(20) }, 0.1, 0..300, 1000),
        ] {
            assert!(found(&[one(), quiet], find).is_empty());
        }
    }
}
