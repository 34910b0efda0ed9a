//! Restarts of an attack that would all be the same.

use temper_results::Warning;

use crate::checks::{Check, Evidence, Find, caution};

pub(super) const CHECK: Check =
    Check { id: "restarts-without-draws", reads: "attacks, `restarts`", find: Find::Evaluation(find) };

fn find(evidence: &Evidence) -> Vec<Warning> {
    let same = evidence.members.iter().filter(|member| {
        member.restarts.get() > 1 && member.attack.min_norm().is_none() && !member.attack.draws()
    });
    let told = same.map(|member| {
        let text = format!("restarts = {} of it draw nothing at random: it ran once", member.restarts);
        caution(text).about(format!("`{}`", member.label))
    });
    told.collect()
}
