//! Radii in another norm than those of training, which are not comparable with them.

use temper_results::Warning;

use crate::checks::{Check, Evidence, Find, caution};

pub(super) const CHECK: Check = Check {
    id: "other-norm-than-training",
    reads: "norms of training and of the radius",
    find: Find::Evaluation(find),
};

fn find(evidence: &Evidence) -> Vec<Warning> {
    let (norm, trained) = (evidence.entry.norm(), evidence.setting.trained_in);
    let other = trained.filter(|trained| *trained != norm && !evidence.members.is_empty());
    let warning = other.map(|trained| {
        caution(format!("it judges within {norm} radii, but the network was trained against {trained} ones"))
            .advising(format!("add an evaluation in {trained}"))
    });
    warning.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use temper_core::Norm;

    use super::*;
    use crate::checks::tests_support::Case;

    #[test]
    fn only_attacks_in_another_norm_are_told() {
        let of = |attacks: &'static [&'static str], trained_in: Option<Norm>| {
            Case { attacks, trained_in, ..Case::default() }
                .with(find)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(&["fgsm = {}"], Some(Norm::L2)),
            [
                "it judges within l-inf radii, but the network was trained against l2 ones: add an evaluation in l2"
            ]
        );
        for quiet in [of(&["fgsm = {}"], Some(Norm::Linf)), of(&["fgsm = {}"], None), of(&[], Some(Norm::L2))]
        {
            assert_eq!(quiet, Vec::<String>::new());
        }
    }
}
