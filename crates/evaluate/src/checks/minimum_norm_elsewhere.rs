//! Minimum-norm attacks that minimise another norm than the one in which they are judged.

use temper_core::{Member, Norm};
use temper_results::Warning;

use crate::checks::{Check, Evidence, Find, caution};

pub(super) const CHECK: Check = Check {
    id: "minimum-norm-elsewhere",
    reads: "norms of the attacks and of the radius",
    find: Find::Evaluation(find),
};

fn find(evidence: &Evidence) -> Vec<Warning> {
    let norm = evidence.entry.norm();
    evidence.members.iter().filter_map(|member| of_member(member, norm)).collect()
}

fn of_member(member: &Member, norm: Norm) -> Option<Warning> {
    let own = member.attack.min_norm().filter(|own| *own != norm)?;
    let advice = match member.attack.params().contains_key("norm") {
        true => format!("give it `norm = \"{}\"`", norm.word()),
        false => format!("take an attack for {norm}, or radii of `norm = \"{}\"`", own.word()),
    };
    let text = format!(
        "it makes {own} distances small, not {norm} ones, so fewer images are within the radius than could be"
    );
    Some(caution(text).about(format!("`{}`", member.label)).advising(advice))
}
