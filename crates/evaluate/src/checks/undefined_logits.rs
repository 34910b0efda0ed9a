//! Logits that are not numbers: such images count as errors, which shows nothing about robustness.

use temper_results::Warning;

use crate::checks::{Check, Evidence, Find, percent, severe, share};

pub(super) const CHECK: Check = Check {
    id: "undefined-logits",
    reads: "predictions for unperturbed images",
    find: Find::Evaluation(find),
};

fn find(evidence: &Evidence) -> Vec<Warning> {
    let Evidence { undefined, n, .. } = *evidence;
    let warning = (undefined > 0).then(|| {
        let text = format!(
            "the network's logits are not numbers for {undefined} of {n} images ({:.1} %) unperturbed: these count as errors, and the \
             network is broken",
            percent(undefined, n)
        );
        let advice = "look for weights that are not finite, and for divisions by 0 or logarithms of 0 in the network";
        severe(text).with_figure(share(undefined, n)).advising(advice)
    });
    warning.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::Case;

    #[test]
    fn one_image_without_a_class_is_told() {
        let of = |undefined: usize| Case { undefined, n: 8, ..Case::default() }.with(find);
        assert!(of(1)[0].is_severe() && of(1)[0].text.contains("for 1 of 8 images (12.5 %)"));
        assert_eq!(of(0), []);
    }
}
