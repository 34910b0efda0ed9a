//! Gradients that are not those of the loss.

use temper_results::Warning;

use crate::checks::random_output::ROUNDING;
use crate::checks::{Check, Find, severe};
use crate::inspection::{ENOUGH, Inspection};

pub(super) const CHECK: Check = Check {
    id: "gradients-differ-from-differences",
    reads: "gradients, and scores beside a few images",
    find: Find::Inspection(find),
};

/// The median ratio of slopes must lie within this factor of 1. Networks of rectifiers are linear enough for
/// that over a quarter of an 8-bit level.
const FACTOR: f64 = 2.0;

fn find(inspection: &Inspection) -> Option<Warning> {
    let mut slopes = inspection.slopes.clone();
    slopes.sort_by(f64::total_cmp);
    let median = *slopes.get(slopes.len() / 2)?;
    let right = (1.0 / FACTOR..=FACTOR).contains(&median);
    // Differences of random scores show nothing about gradients.
    let random = inspection.between_passes > ROUNDING;
    (!right && !random && slopes.len() >= ENOUGH).then(|| {
        let text = format!(
            "a small step along the gradient's signs changes the loss by {median:.2} times what the gradient says (median of {} images): gradients \
             are not those of the loss, and attacks that follow them are too weak",
            slopes.len()
        );
        let advice = "look for steps, rounding or a gradient that was replaced; judge the network by `square` too";
        severe(text).with_figure(median).advising(advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_far_from_1_is_told() {
        let of = |slopes: &[f64]| find(&Inspection { slopes: slopes.to_vec(), ..Inspection::default() });
        let told = of(&[0.0, 0.1, 0.3, 5.0]).unwrap();
        assert!(told.text.contains("by 0.30 times what the gradient says (median of 4 images)"), "{told}");
        assert!(of(&[3.0; 4]).is_some() && of(&[-1.0; 4]).is_some());
        let random = Inspection { slopes: vec![3.0; 4], between_passes: 0.1, ..Inspection::default() };
        assert_eq!(find(&random), None);
        assert_eq!((of(&[]), of(&[0.0; 3]), of(&[0.0, 0.9, 1.1, 4.0])), (None, None, None));
    }
}
