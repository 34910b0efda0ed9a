//! Images that gradients do not break even without a bound.

use temper_results::Warning;

use crate::checks::{Check, Find, percent, severe, share};
use crate::inspection::Inspection;

pub(super) const CHECK: Check = Check {
    id: "unbounded-attack-fails",
    reads: "images left standing by gradient steps through all of [0, 1]",
    find: Find::Inspection(find),
};

fn find(inspection: &Inspection) -> Option<Warning> {
    let [standing, attacked] = inspection.unbroken?;
    (standing > 0).then(|| {
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
        let of = |unbroken: Option<[usize; 2]>| find(&Inspection { unbroken, ..Inspection::default() });
        let told = of(Some([4, 16])).unwrap();
        assert!(told.text.contains("left 4 of 16 images (25.0 %) classified correctly"), "{told}");
        assert_eq!((told.figure, of(Some([0, 16])), of(None)), (Some(0.25), None, None));
    }
}
