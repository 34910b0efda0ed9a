//! More images that stand within a larger radius than within a smaller one. The larger ball contains the
//! smaller one, so the attack fails there.

use crate::checks::pairs::{NOTABLE, Pairs};
use crate::checks::{Check, Find, Found, severe};
use crate::seen::{AttackFacts, Seen, Together};

pub(super) const CHECK: Check = Check {
    id: "larger-radius-stands",
    reads: "images broken by the same attacks within two radii",
    find: Find::Together(find),
};

fn find(together: &Together) -> Vec<Found> {
    let attacked = |seen: &Seen| !seen.attacks.is_empty() && !seen.searches();
    let mut all = vec![];
    for (_, small) in together.those(attacked) {
        let same = |seen: &Seen| {
            // Lengths of steps may differ, as they grow with the radius.
            let alike = |(a, b): (&AttackFacts, &AttackFacts)| {
                (a.name, a.steps, &a.others) == (b.name, b.steps, &b.others)
            };
            seen.compares_with(small)
                && !std::ptr::eq(seen, small)
                && seen.surrogate == small.surrogate
                && seen.attacks.len() == small.attacks.len()
                && seen.attacks.iter().zip(&small.attacks).all(alike)
        };
        for (at, large) in together.those(|seen| attacked(seen) && same(seen)) {
            all.extend(fails(small, (at, large)));
        }
    }
    all
}

/// The largest radius at which fewer images are broken than within a smaller one.
fn fails(small: &Seen, (at, large): (usize, &Seen)) -> Option<Found> {
    let radii =
        large.radii.iter().rev().flat_map(|to| small.radii.iter().rev().map(move |from| (*from, *to)));
    radii.filter(|(from, to)| from < to).find_map(|(from, to)| {
        let pairs = Pairs::of((small, from), (large, to));
        let lead = pairs.lead(NOTABLE)?;
        let text = format!(
            "{} of {} images stand within {to} that `{}` broke within {from}, and {} the other way round, so the attack fails within the \
             larger radius",
            pairs.first, pairs.n, small.name, pairs.second
        );
        let advice = "give it steps in proportion to the radius, or more of them";
        Some(Found { at, warning: severe(text).with_figure(lead).advising(advice) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::{found, pgd, seen};

    #[test]
    fn an_attack_that_breaks_less_within_a_larger_radius_is_told() {
        let small = || seen("small", pgd(20), 0.1, 0..400, 1000);
        let told = found(&[seen("large", pgd(20), 0.2, 0..350, 1000), small()], find);
        assert_eq!((told.len(), told[0].at, told[0].warning.figure), (1, 0, Some(0.05)));
        assert!(told[0].warning.text.starts_with("50 of 1000 images stand within 0.2 that `small` broke"));
        for quiet in [
            seen("large", pgd(20), 0.2, 0..500, 1000),
            seen("large", pgd(20), 0.2, 2..400, 1000),
            seen("large", pgd(5), 0.2, 0..350, 1000),
            Seen { surrogate: Some("b".into()), ..seen("large", pgd(20), 0.2, 0..350, 1000) },
        ] {
            assert!(found(&[small(), quiet], find).is_empty());
        }
    }
}
