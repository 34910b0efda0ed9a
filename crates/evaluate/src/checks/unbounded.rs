//! Images that gradients do not break even without a bound.

use temper_results::Warning;

use crate::checks::{Check, Find, percent, severe, share};
use crate::inspection::{ENOUGH, Inspection};

pub(super) const CHECK: Check = Check {
    id: "unbounded-attack-fails",
    reads: "images left standing by gradient steps through all of [0, 1]",
    find: Find::Inspection(find),
};

/// The share of images that may stand only because the attack has a single start and steps of one length.
const FEW: f64 = 0.1;

fn find(inspection: &Inspection) -> Option<Warning> {
    let [standing, attacked] = inspection.unbroken?;
    // A network that predicts one class for all images has no adversarial images; another check reports it.
    let tells_apart = inspection.classes > 1;
    (tells_apart && attacked >= ENOUGH && share(standing, attacked) > FEW).then(|| {
        let text = format!(
            "40 gradient steps through all of [0, 1] left {standing} of {attacked} images ({:.1} %) classified correctly, although every image can \
             be turned into any other: gradients do not lead to adversarial images",
            percent(standing, attacked)
        );
        let advice = "robust accuracies under gradient attacks are too high; judge the network by `square` too";
        severe(text).with_figure(share(standing, attacked)).advising(advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_stand_without_a_bound_are_told() {
        let of = |classes: usize, unbroken: Option<[usize; 2]>| {
            find(&Inspection { classes, unbroken, ..Inspection::default() })
        };
        let told = of(3, Some([4, 16])).unwrap();
        assert!(told.text.contains("left 4 of 16 images (25.0 %) classified correctly"), "{told}");
        assert_eq!(told.figure, Some(0.25));
        for quiet in [Some([1, 16]), Some([3, 3]), Some([0, 16]), None] {
            assert_eq!(of(3, quiet), None);
        }
        assert_eq!(of(1, Some([16, 16])), None);
    }
}
