//! Minimum-norm attacks that found no adversarial image for a sample, although one always exists at some
//! distance.

use temper_results::Warning;

use crate::checks::{Check, Evidence, Find, caution, percent, share};

pub(super) const CHECK: Check =
    Check { id: "nothing-found", reads: "distances of minimum-norm attacks", find: Find::Evaluation(find) };

fn find(evidence: &Evidence) -> Vec<Warning> {
    let searches = evidence.members.iter().filter(|member| member.attack.min_norm().is_some());
    let names: Vec<String> = searches.map(|member| format!("`{}`", member.label)).collect();
    let failed = evidence.distances.filter(|distances| distances.found < distances.n);
    let warning = failed.map(|of| {
        let failed = of.n - of.found;
        let text = format!(
            "{}: found nothing for {failed} of {} images ({:.1} %), whatever the distance: more steps may",
            names.join(", "),
            of.n,
            percent(failed, of.n)
        );
        caution(text).with_figure(share(failed, of.n))
    });
    warning.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use temper_results::Distances;

    use super::*;
    use crate::checks::tests_support::Case;

    #[test]
    fn failures_are_told_whatever_the_distance() {
        let of = |found: usize| {
            let distances = Distances { n: 40, found, p5: None, p25: None, p50: None, p75: None, p95: None };
            let case = Case { attacks: &["deepfool = {}"], distances: Some(distances), ..Case::default() };
            case.with(find)
        };
        assert_eq!(of(40), []);
        assert!(
            of(38)[0].text.starts_with("`deepfool`: found nothing for 2 of 40 images (5.0 %)"),
            "{:?}",
            of(38)
        );
    }
}
