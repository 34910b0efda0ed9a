//! Images that stand although an iterate of an attack was misclassified.

use temper_results::{Cost, Severity, Warning};

use crate::checks::{Check, Evidence, Find, WRONG, caution, percent, share};

pub(super) const CHECK: Check = Check {
    id: "silent-success",
    reads: "predictions at the iterates of each attack",
    find: Find::Evaluation(find),
};

/// Smaller shares lie within the error of any accuracy.
const FEW: f64 = 0.005;

fn find(evidence: &Evidence) -> Vec<Warning> {
    evidence.attacks.iter().filter_map(|cost| silent(cost, evidence.n)).collect()
}

fn silent(cost: &Cost, n: usize) -> Option<Warning> {
    let Cost { attack, silent, .. } = cost;
    (share(*silent, n) > FEW).then(|| {
        let text = format!(
            "`{attack}`: {silent} of {n} images ({:.1} %) stand although one of its iterates was misclassified",
            percent(*silent, n)
        );
        let advice = "evaluate with `success = \"any\"`, which counts every iterate";
        let severity = Severity::severe_if(share(*silent, n) > WRONG);
        caution(text).graded(severity).with_figure(share(*silent, n)).advising(advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::cost;

    #[test]
    fn images_that_were_misclassified_on_the_way_are_told() {
        let of = |count: usize| silent(&Cost { silent: count, ..cost("pgd-20", 900, 80) }, 1000);
        let told = of(11).unwrap();
        assert!(
            told.is_severe() && told.text.starts_with("`pgd-20`: 11 of 1000 images (1.1 %) stand"),
            "{told}"
        );
        assert!(!of(10).unwrap().is_severe());
        assert_eq!((of(5), of(0)), (None, None));
    }
}
