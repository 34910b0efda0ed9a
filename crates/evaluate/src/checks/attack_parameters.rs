//! Parameters under which an attack is weaker than it could be.

use temper_core::Member;
use temper_results::Warning;

use crate::checks::{Check, Evidence, Find, caution};

pub(super) const CHECK: Check = Check {
    id: "attack-parameters",
    reads: "parameters of the attacks, radii, number of classes",
    find: Find::Evaluation(find),
};

fn find(evidence: &Evidence) -> Vec<Warning> {
    let radii = evidence.entry.radii();
    let classes = evidence.setting.network.network().classes();
    let of_member = |member: &Member| -> Vec<Warning> {
        // Too short steps fall short most at the largest radius; too long steps overshoot most at the smallest.
        let mut extremes = [radii.last(), radii.first()].into_iter().flatten();
        let of_radii = extremes.find_map(|radius| member.attack.warning(*radius));
        let texts = of_radii.into_iter().chain(member.attack.warning_for_classes(classes));
        texts.map(|text| caution(text).about(format!("`{}`", member.label))).collect()
    };
    evidence.members.iter().flat_map(of_member).collect()
}
