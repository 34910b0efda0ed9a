//! Minimum-norm attacks that found no adversarial image for a sample, though there always is one far enough away.

use crate::checks::{Evidence, percent};

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let searches = evidence.members.iter().filter(|member| member.attack.min_norm().is_some());
    let names: Vec<String> = searches.map(|member| format!("`{}`", member.label)).collect();
    let failed = evidence.distances.filter(|distances| distances.found < distances.n);
    let warning = failed.map(|of| {
        let failed = of.n - of.found;
        format!(
            "{}: found nothing for {failed} of {} images ({:.1} %), whatever the distance: more steps may",
            names.join(", "),
            of.n,
            percent(failed, of.n)
        )
    });
    warning.into_iter().collect()
}
