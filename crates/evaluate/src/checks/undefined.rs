//! Logits that are not numbers: such images count as errors, which says nothing of robustness.

use crate::checks::{Evidence, percent};

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let Evidence { undefined, n, .. } = *evidence;
    let warning = (undefined > 0).then(|| {
        format!(
            "the network's logits are not numbers for {undefined} of {n} images ({:.1} %) unperturbed: these count as errors, and the \
             network is broken",
            percent(undefined, n)
        )
    });
    warning.into_iter().collect()
}
