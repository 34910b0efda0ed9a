//! A network whose output for an image differs from pass to pass.

use temper_results::{Severity, Warning};

use crate::checks::{Check, Find, caution};
use crate::inspection::Inspection;

pub(super) const CHECK: Check = Check {
    id: "random-output",
    reads: "logits of two passes over the same images",
    find: Find::Inspection(find),
};

/// Larger differences between scaled logits are not rounding (Croce and Hein 2020, `checks.py`).
pub(super) const ROUNDING: f64 = 1e-4;

fn find(inspection: &Inspection) -> Option<Warning> {
    let Inspection { between_passes, images, averaged, .. } = *inspection;
    (between_passes > ROUNDING).then(|| {
        let text = format!(
            "two passes over the same {images} images gave other logits (scaled to length 1 they differ by up to {between_passes:.1e}): the \
             network draws random numbers, and a single pass neither judges it nor leads an attack"
        );
        let advice = "attack the mean of many passes: `suite.autoattack = { version = \"rand\" }`";
        // Attacks that average over passes do what is possible, but a single pass still judges the images that
        // they return.
        let severity = Severity::severe_if(!averaged);
        caution(text).graded(severity).with_figure(between_passes).advising(advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_that_differ_between_passes_are_told_and_rounding_is_not() {
        let of =
            |between_passes: f64| find(&Inspection { between_passes, images: 16, ..Inspection::default() });
        assert!(of(2e-4).unwrap().text.contains(
            "the same 16 images gave other logits (scaled to length 1 they differ by up to 2.0e-4)"
        ));
        assert!(of(2e-4).unwrap().is_severe());
        let averaged = Inspection { between_passes: 1.0, averaged: true, ..Inspection::default() };
        assert!(!find(&averaged).unwrap().is_severe());
        assert_eq!(of(9e-5), None);
    }
}
