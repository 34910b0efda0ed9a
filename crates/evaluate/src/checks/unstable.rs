//! A loss that changes so much under small noise that gradients say little about its surroundings.

use temper_results::Warning;

use crate::checks::random_output::ROUNDING;
use crate::checks::{Check, Find, caution};
use crate::inspection::{ENOUGH, Inspection};

pub(super) const CHECK: Check =
    Check { id: "unstable-optimisation", reads: "scores beside a few images", find: Find::Inspection(find) };

/// The median change above which the warning is given. Pintor et al. (2022) give no such number.
const MOST: f64 = 0.5;

fn find(inspection: &Inspection) -> Option<Warning> {
    let mut changes = inspection.roughness.clone();
    changes.sort_by(f64::total_cmp);
    let median = *changes.get(changes.len() / 2)?;
    // Random scores change without noise, too: another check reports them.
    let random = inspection.between_passes > ROUNDING;
    (median > MOST && !random && changes.len() >= ENOUGH).then(|| {
        let text = format!(
            "noise of up to 4/255 changes the loss by {:.0} % of itself (median of {} images): it is so rough that \
             attacks along gradients may be too weak",
            median * 100.0,
            changes.len()
        );
        let advice = "average gradients over noise (`apgd` with `eot`), take more restarts, and judge the network by \
                      `square` too";
        caution(text).with_figure(median).advising(advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_noise_changes_by_more_than_half_is_told() {
        let of = |roughness: &[f64], between_passes| {
            find(&Inspection { roughness: roughness.to_vec(), between_passes, ..Inspection::default() })
        };
        let told = of(&[0.1, 0.2, 0.625, 0.9, 1.0], 0.0).unwrap();
        assert!(told.text.contains("by 62 % of itself (median of 5 images)"), "{told}");
        assert_eq!((told.figure, told.is_severe()), (Some(0.625), false));
        assert_eq!(
            (of(&[0.5; 5], 0.0), of(&[0.9; 3], 0.0), of(&[0.9; 5], 0.1), of(&[], 0.0)),
            (None, None, None, None)
        );
    }
}
