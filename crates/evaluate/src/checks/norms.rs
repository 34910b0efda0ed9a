//! Radii in another norm than those of training, which are not comparable with them.

use crate::checks::Evidence;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let (norm, trained) = (evidence.entry.norm(), evidence.setting.trained_in);
    let other = trained.filter(|trained| *trained != norm && !evidence.members.is_empty());
    let warning = other.map(|trained| {
        format!("it judges within {norm} radii, but the network was trained against {trained} ones: add an evaluation in {trained}")
    });
    warning.into_iter().collect()
}
