//! When a number should not be believed, in words, as far as the evaluation itself can tell.

use temper_core::{Member, Norm};
use temper_results::{Cost, Curve, Distances, Over};

use crate::Setting;
use crate::entry::Entry;

/// A radius in l-inf within which every image can become plain grey: no classifier stands there.
const NOTHING_STANDS: f64 = 0.5;

/// More than one in so many images that do not survive the radius they were given speaks against that radius.
const FEW: usize = 5;

/// What an evaluation's records add up to, as far as warnings follow from it.
pub(crate) struct Evidence<'a> {
    /// Images judged.
    pub(crate) n: usize,
    /// Images that are right unperturbed.
    pub(crate) right: usize,
    /// Images whose logits are not numbers unperturbed.
    pub(crate) undefined: usize,
    pub(crate) attacks: &'a [Cost],
    pub(crate) distances: Option<&'a Distances>,
    pub(crate) curve: Option<&'a Curve>,
}

/// All reasons not to believe an evaluation's numbers.
pub(crate) fn all(
    setting: &Setting,
    (entry, members): (&Entry, &[Member]),
    evidence: &Evidence,
) -> Vec<String> {
    let mut warnings = vec![];
    for member in members {
        let all = of_parameters(entry, member);
        warnings.extend(all.into_iter().map(|warning| format!("`{}`: {warning}", member.label)));
    }
    warnings.extend(evidence.attacks.iter().filter_map(|cost| of_vanished(cost, evidence.right)));
    warnings.extend(evidence.distances.and_then(|distances| of_failures(members, distances)));
    warnings.extend(evidence.curve.and_then(|curve| of_curve(entry, curve)));
    warnings.extend(setting.radii.and_then(|_| of_own_radii(evidence.attacks)));
    warnings.extend(members.first().and_then(|_| of_norms(entry, setting.trained_in)));
    warnings.extend(of_undefined(evidence.undefined, evidence.n));
    warnings
}

/// Images of which the network gives no numbers: they count as errors, and say nothing of robustness.
fn of_undefined(undefined: usize, n: usize) -> Option<String> {
    (undefined > 0).then(|| {
        format!(
            "the network's logits are not numbers for {undefined} of {n} images ({:.1} %) unperturbed: these count as errors, and the \
             network is broken",
            percent(undefined, n)
        )
    })
}

/// Radii in another norm than those of training, which are not comparable with them.
fn of_norms(entry: &Entry, trained_in: Option<Norm>) -> Option<String> {
    let (norm, trained) = (entry.norm(), trained_in?);
    (norm != trained).then(|| {
        format!("it judges within {norm} radii, but the network was trained against {trained} ones: add an evaluation in {trained}")
    })
}

/// What an attack's parameters say.
fn of_parameters(entry: &Entry, member: &Member) -> Vec<String> {
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
            let word = |norm: Norm| if norm == Norm::L2 { "l2" } else { "linf" };
            let mend = match attack.params().contains_key("norm") {
                true => format!("give it `norm = \"{}\"`", word(norm)),
                false => format!("take an attack for {norm}, or radii of `norm = \"{}\"`", word(own)),
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

/// Images at which the attack did not see where to go.
fn of_vanished(cost: &Cost, right: usize) -> Option<String> {
    let (attack, lost) = (&cost.attack, cost.vanished);
    (lost > 0).then(|| {
        format!(
            "`{attack}`: {lost} of the {right} images that are right unperturbed ({:.1} %) have a gradient of exactly 0 where they are still \
             right: there it cannot see where to go, and its number is too high",
            percent(lost, right)
        )
    })
}

/// Images from which minimum-norm attacks found no way at all, though far enough away there always is one.
fn of_failures(members: &[Member], of: &Distances) -> Option<String> {
    let searches = members.iter().filter(|member| member.attack.min_norm().is_some());
    let names: Vec<String> = searches.map(|member| format!("`{}`", member.label)).collect();
    (of.found < of.n).then(|| {
        let failed = of.n - of.found;
        format!(
            "{}: found nothing for {failed} of {} images ({:.1} %), whatever the distance: more steps may",
            names.join(", "),
            of.n,
            percent(failed, of.n)
        )
    })
}

fn percent(some: usize, all: usize) -> f64 {
    some as f64 * 100.0 / all.max(1) as f64
}

/// Radii that do not hold: whatever attack gave them was too weak for them.
fn of_own_radii(costs: &[Cost]) -> Option<String> {
    let attacked = costs.first()?.attacked;
    let broken: usize = costs.iter().map(|cost| cost.broken).sum();
    (broken * FEW > attacked).then(|| {
        format!(
            "{broken} of {attacked} images that are right unperturbed do not survive their own radius: the attack that gave it was too \
             weak for it"
        )
    })
}

fn of_curve(entry: &Entry, curve: &Curve) -> Option<String> {
    let [.., before, last] = &curve.points[..] else { return None };
    let linf = entry.norm() == Norm::Linf;
    match curve.over {
        Over::Radius if linf && last.at >= NOTHING_STANDS && last.accuracy > 0.0 => Some(format!(
            "{:.1} % stand within {}, where every image can become grey: the attack fails, and all other points are in doubt",
            last.accuracy * 100.0,
            last.at
        )),
        Over::Steps if last.accuracy < before.accuracy => {
            Some(format!("it still falls from {} to {} steps: more may break more", before.at, last.at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vanished_gradients_are_told_with_their_share() {
        let cost = Cost { attack: "pgd".into(), attacked: 1500, vanished: 37, ..Cost::default() };
        let warning = of_vanished(&cost, 300).unwrap();
        assert!(
            warning.starts_with(
                "`pgd`: 37 of the 300 images that are right unperturbed (12.3 %) have a gradient"
            ),
            "{warning}"
        );
        assert_eq!(of_vanished(&Cost::default(), 300), None);
    }

    #[test]
    fn radii_that_do_not_hold_are_doubted() {
        let of = |broken: usize| {
            let cost = Cost { attacked: 100, broken, ..Cost::default() };
            of_own_radii(&[cost])
        };
        assert_eq!(of(20), None);
        let warning = of(21).unwrap();
        assert!(
            warning.starts_with("21 of 100 images that are right unperturbed do not survive"),
            "{warning}"
        );
    }
}
