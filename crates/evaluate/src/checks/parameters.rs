//! Parameters under which an attack is weaker than it could be, or runs less often than was asked for.

use temper_core::Member;

use crate::checks::Evidence;
use crate::entry::Entry;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let classes = evidence.setting.network.network().classes();
    let of_member = |member: &Member| -> Vec<String> {
        let of_classes = member.attack.warning_for_classes(classes);
        let all = of_member(evidence.entry, member).into_iter().chain(of_classes);
        all.map(|warning| format!("`{}`: {warning}", member.label)).collect()
    };
    evidence.members.iter().flat_map(of_member).collect()
}

fn of_member(entry: &Entry, member: &Member) -> Vec<String> {
    let attack = &member.attack;
    let radii = entry.radii();
    // Steps that fall short do so most at the largest radius, steps that are too long at the smallest.
    let mut warnings: Vec<String> = [radii.last(), radii.first()]
        .into_iter()
        .flatten()
        .filter_map(|radius| attack.warning(*radius))
        .take(1)
        .collect();
    let (restarts, norm) = (member.restarts.get(), entry.norm());
    match attack.min_norm() {
        Some(own) if own != norm => {
            let mend = match attack.params().contains_key("norm") {
                true => format!("give it `norm = \"{}\"`", norm.word()),
                false => format!("take an attack for {norm}, or radii of `norm = \"{}\"`", own.word()),
            };
            warnings.push(format!(
                "it makes {own} distances small, not {norm} ones, so fewer images are within the radius than could be: {mend}"
            ));
        }
        None if restarts > 1 && !attack.draws() => {
            warnings.push(format!("restarts = {restarts} of it draw nothing at random: it ran once"));
        }
        _ => {}
    }
    warnings
}
