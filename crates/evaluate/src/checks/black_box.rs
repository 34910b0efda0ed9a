//! Attacks without gradients of the judged network that break images on which gradient attacks fail: gradients
//! mislead.

use temper_core::Access;
use temper_results::{Cost, Warning};

use crate::checks::pairs::{NOTABLE, exceeds};
use crate::checks::{Check, Evidence, Find, Found, percent, severe, share};
use crate::seen::{AttackFacts, Seen, Together};

const ID: &str = "black-box-beats-gradients";

pub(super) const WITHIN: Check = Check {
    id: ID,
    reads: "images that an attack without gradients broke after gradient attacks",
    find: Find::Evaluation(within),
};

pub(super) const BETWEEN: Check = Check { id: ID, reads: WITHIN.reads, find: Find::Together(between) };

const ADVICE: &str = "believe the worst case of both, and attack with another loss, more restarts, or around the operations that \
                      hide gradients";

/// Compares the attacks of one evaluation, each of which runs on the samples that the attacks before it left. What an
/// attack without gradients breaks before the last gradient attack says nothing: that one might have broken it, too.
fn within(evidence: &Evidence) -> Vec<Warning> {
    if evidence.setting.surrogate.is_some() {
        return vec![];
    }
    let (classes, norm) = (evidence.setting.network.network().classes(), evidence.entry.norm());
    let attacks: Vec<AttackFacts> =
        evidence.members.iter().map(|member| AttackFacts::of(member, classes)).collect();
    // Attacks of many steps that search in the norm of the radius.
    let strong = |attack: &AttackFacts| attack.iterates() && attack.min_norm.is_none_or(|own| own == norm);
    let Some(last) = attacks.iter().rposition(strong) else { return vec![] };
    let hidden = attacks.iter().zip(evidence.attacks).skip(last + 1);
    let hidden = hidden.filter(|(attack, _)| attack.access != Access::Gradients);
    hidden.filter_map(|(_, cost)| broke_more(cost, evidence.n)).collect()
}

fn broke_more(Cost { attack, broken, .. }: &Cost, n: usize) -> Option<Warning> {
    exceeds(*broken, n, NOTABLE).then(|| {
        let text = format!(
            "`{attack}`, which sees no gradients, broke {broken} of {n} images ({:.1} %) that the gradient attacks before it did not, \
             so gradients mislead them",
            percent(*broken, n)
        );
        severe(text).with_figure(share(*broken, n)).advising(ADVICE)
    })
}

/// Compares evaluations of the same network within the same radius.
fn between(together: &Together) -> Vec<Found> {
    let hidden = together.those(Seen::is_black_box);
    hidden
        .filter_map(|(_, hidden)| hidden.radii.iter().find_map(|radius| beaten(together, hidden, *radius)))
        .collect()
}

/// Counts the images that this evaluation breaks and all white-box evaluations together leave standing; the
/// warning is about the strongest of these.
fn beaten(together: &Together, hidden: &Seen, radius: f64) -> Option<Found> {
    let comparable = |seen: &Seen| seen.is_white_box() && seen.compares_with(hidden) && seen.knows(radius);
    let white: Vec<(usize, &Seen)> = together.those(comparable).collect();
    let (at, _) = white.iter().max_by_key(|(_, seen)| seen.broken(radius))?;
    let (mut n, mut alone) = (0, 0);
    for sample in hidden.broken_at.keys() {
        let judged: Vec<bool> = white.iter().filter_map(|(_, seen)| seen.breaks(*sample, radius)).collect();
        if !judged.is_empty() {
            n += 1;
            let broken = hidden.breaks(*sample, radius) == Some(true);
            alone += usize::from(broken && judged.iter().all(|broken| !broken));
        }
    }
    exceeds(alone, n, NOTABLE).then(|| {
        let how = match &hidden.surrogate {
            Some(surrogate) => format!("crafted on `{surrogate}`"),
            None => "without gradients".into(),
        };
        let text = format!(
            "`{}`, {how}, broke {alone} of {n} images ({:.1} %) within {radius} that no attack with gradients of this network broke, \
             so gradients mislead them",
            hidden.name,
            percent(alone, n)
        );
        Found { at: *at, warning: severe(text).with_figure(share(alone, n)).advising(ADVICE) }
    })
}

#[cfg(test)]
mod tests {
    use temper_core::Norm;

    use super::*;
    use crate::checks::tests_support::{Case, cost, found, pgd, query, seen};

    #[test]
    fn what_an_attack_without_gradients_broke_after_gradient_attacks_is_told() {
        let of = |attacks: &'static [&'static str], broken: usize| {
            let costs = vec![cost("a", 900, 300), cost("b", 600, broken)];
            Case { attacks, n: 1000, costs, ..Case::default() }.with(within)
        };
        let told = of(&["pgd = {}", "query = {}"], 25);
        assert!(
            told[0].is_severe() && told[0].text.starts_with("`b`, which sees no gradients, broke 25 of 1000")
        );
        assert_eq!(of(&["pgd = {}", "query = {}"], 2), []);
        // The attack without gradients ran before the last one with gradients; or both use gradients; or that with
        // gradients takes one step.
        for quiet in [&["query = {}", "pgd = {}"], &["pgd = {}", "pgd = {}"], &["fgsm = {}", "query = {}"]] {
            assert_eq!(of(quiet, 25), [], "{quiet:?}");
        }
        let between = Case {
            attacks: &["pgd = {}", "query = {}", "pgd = {}"],
            n: 1000,
            costs: vec![cost("a", 900, 300), cost("b", 600, 25), cost("c", 575, 30)],
            ..Case::default()
        };
        assert_eq!(between.with(within), []);
        // A minimum-norm attack counts in its own norm.
        let searched = |norm: Norm| {
            let costs = vec![cost("a", 900, 300), cost("b", 600, 25)];
            Case { attacks: &["deepfool = {}", "query = {}"], norm, n: 1000, costs, ..Case::default() }
                .with(within)
        };
        assert_eq!((searched(Norm::Linf).len(), searched(Norm::L2).len()), (1, 0));
    }

    #[test]
    fn evaluations_without_gradients_that_break_more_are_told() {
        // Of 1000 images gradients break the first 300, and the other evaluations break the given range.
        let white = || seen("pgd", pgd(20), 0.1, 0..300, 1000);
        let told = found(&[white(), seen("square", query(), 0.1, 280..330, 1000)], between);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].at, told[0].warning.figure), (0, Some(0.03)));
        assert!(
            told[0].warning.text.starts_with("`square`, without gradients, broke 30 of 1000 images (3.0 %)")
        );
        let surrogate = Seen { surrogate: Some("b".into()), ..seen("transfer", pgd(20), 0.1, 0..310, 1000) };
        let told = found(&[white(), surrogate.clone()], between);
        assert!(
            told[0].warning.text.starts_with("`transfer`, crafted on `b`, broke 10 of 1000"),
            "{}",
            told[0].warning
        );
        // Too few images, weaker attacks, other radii, and images that another gradient attack broke as well.
        for quiet in [
            vec![white(), seen("square", query(), 0.1, 0..302, 1000)],
            vec![white(), seen("square", query(), 0.1, 0..250, 1000)],
            vec![white(), seen("square", query(), 0.2, 0..900, 1000)],
            vec![white(), surrogate, seen("more", pgd(100), 0.1, 0..320, 1000)],
            vec![seen("fgsm", pgd(1), 0.1, 0..300, 1000), seen("square", query(), 0.1, 0..900, 1000)],
        ] {
            assert!(found(&quiet, between).is_empty());
        }
    }
}
