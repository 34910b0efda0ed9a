//! Curves that do not reach 0 within a radius that can turn every image grey.

use temper_core::Norm;
use temper_results::{Over, Severity, Warning};

use crate::Setting;
use crate::checks::{Check, Evidence, Find, WRONG, caution, share};
use crate::seen::AttackFacts;

pub(super) const CHECK: Check = Check {
    id: "curve-not-zero",
    reads: "the last point of a curve over radii, or the accuracy at one radius",
    find: Find::Evaluation(find),
};

/// A radius in l-inf within which every image can become plain grey. Only images of the class that the network predicts
/// for grey can be classified correctly everywhere there.
const NOTHING_STANDS: f64 = 0.5;

fn find(evidence: &Evidence) -> Vec<Warning> {
    let curve = evidence.curve.filter(|curve| curve.over == Over::Radius);
    let swept = curve.and_then(|curve| curve.points.last()).map(|last| (last.at, last.accuracy));
    let accuracy = share(evidence.standing, evidence.n);
    let one = || evidence.entry.radii().last().map(|radius| (*radius, accuracy));
    // Images crafted on another network need not break this one.
    let Setting { radii, surrogate, .. } = evidence.setting;
    // Attacks that aim at one class of each image need not reach it.
    let any = evidence.members.iter().any(|member| !AttackFacts::of(member, 2).one_target);
    let judged = radii.is_none() && surrogate.is_none() && any;
    let Some((at, accuracy)) = swept.or_else(one).filter(|_| judged) else {
        return vec![];
    };
    let fails = evidence.entry.norm() == Norm::Linf && at >= NOTHING_STANDS && accuracy > 0.0;
    let others = if swept.is_some() { "all other points are in doubt" } else { "its number is too high" };
    let warning = fails.then(|| {
        let text = format!(
            "{:.1} % stand within {at}, where every image can become grey and images of one class at most can stand: the attack fails, and \
             {others}",
            accuracy * 100.0
        );
        let advice =
            "attack with more steps, restarts or another loss, and with `square`, until nothing stands";
        // What stands may be of the one class whose images can.
        let most = share(evidence.largest_class, evidence.n) + WRONG;
        caution(text).graded(Severity::severe_if(accuracy > most)).with_figure(accuracy).advising(advice)
    });
    warning.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::{Case, curve};

    #[test]
    fn what_stands_where_every_image_can_be_grey_speaks_against_the_attack() {
        let swept = |at: f64, accuracy: f64| {
            let curve = curve(Over::Radius, &[(0.1, 0.5), (at, accuracy)]);
            Case { attacks: &["fgsm = {}"], curve: Some(curve), n: 100, ..Case::default() }.with(find)
        };
        let told = swept(0.6, 0.25);
        assert!(
            told[0].is_severe() && told[0].text.starts_with("25.0 % stand within 0.6, where"),
            "{told:?}"
        );
        // No more than the largest class has.
        assert!(!swept(0.6, 0.2)[0].is_severe());
        assert_eq!((swept(0.6, 0.0), swept(0.49, 0.25)), (vec![], vec![]));
        let at = |radius: f64, standing: usize| {
            Case { attacks: &["fgsm = {}"], radius, standing, n: 10, ..Case::default() }.with(find)
        };
        assert_eq!((at(0.5, 3).len(), at(0.5, 0).len(), at(0.3, 3).len()), (1, 0, 0));
    }
}
