//! Minimum-norm attacks that break more images within a radius than attacks that are bounded by it.

use temper_results::Severity;

use crate::checks::pairs::{NOTABLE, Pairs};
use crate::checks::{Check, Find, Found, WRONG, caution};
use crate::seen::{Seen, Together};

pub(super) const CHECK: Check = Check {
    id: "minimum-norm-beats-bounded",
    reads: "images broken within a radius, distances of minimum-norm attacks",
    find: Find::Together(find),
};

fn find(together: &Together) -> Vec<Found> {
    let bounded = |seen: &Seen| {
        let own = seen.attacks.iter().all(|attack| attack.min_norm.is_none() && !attack.single);
        seen.is_white_box() && own
    };
    let mut all = vec![];
    for (_, search) in together.those(Seen::searches) {
        for (at, seen) in together.those(|seen| bounded(seen) && seen.compares_with(search)) {
            all.extend(seen.radii.iter().rev().find_map(|radius| beaten(search, (at, seen), *radius)));
        }
    }
    all
}

fn beaten(search: &Seen, (at, bounded): (usize, &Seen), radius: f64) -> Option<Found> {
    let pairs = Pairs::of((search, radius), (bounded, radius));
    let lead = pairs.lead(NOTABLE)?;
    let text = format!(
        "the minimum-norm attack of `{}` broke {} of {} images within {radius} that this one did not, and missed {} that it broke",
        search.name, pairs.first, pairs.n, pairs.second
    );
    let warning = caution(text).graded(Severity::severe_if(lead > WRONG)).with_figure(lead);
    Some(Found { at, warning: warning.advising("take more steps or restarts, or another loss") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::{found, nearest, pgd, seen};

    #[test]
    fn a_minimum_norm_attack_that_breaks_more_is_told() {
        let search = |broken: u64| seen("nearest", nearest(), 0.1, 0..broken, 1000);
        let told = found(&[search(450), seen("pgd", pgd(20), 0.1, 10..400, 1000)], find);
        assert_eq!((told.len(), told[0].at, told[0].warning.figure), (1, 1, Some(0.06)));
        assert!(
            told[0].warning.is_severe()
                && told[0].warning.text.contains("broke 60 of 1000 images within 0.1")
        );
        let little = found(&[search(409), seen("pgd", pgd(20), 0.1, 0..400, 1000)], find);
        assert!(little.len() == 1 && !little[0].warning.is_severe());
        for quiet in [(350, pgd(20)), (405, pgd(20)), (450, pgd(1))] {
            assert!(found(&[search(quiet.0), seen("pgd", quiet.1, 0.1, 0..400, 1000)], find).is_empty());
        }
    }
}
