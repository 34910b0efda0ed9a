//! A network whose output for an image depends on the other images of the batch.

use temper_results::Warning;

use crate::checks::random_output::ROUNDING;
use crate::checks::{Check, Find, severe};
use crate::inspection::Inspection;

pub(super) const CHECK: Check = Check {
    id: "depends-on-batch",
    reads: "logits of images alone and in a batch",
    find: Find::Inspection(find),
};

fn find(inspection: &Inspection) -> Option<Warning> {
    let Inspection { between_passes, between_batches, .. } = *inspection;
    // If the network draws random numbers, the comparison is no evidence about batches.
    (between_batches > ROUNDING && between_passes <= ROUNDING).then(|| {
        let text = format!(
            "an image has other logits alone than in a batch (scaled to length 1 they differ by up to {between_batches:.1e}), as if batch norm \
             used the statistics of the batch: numbers depend on the batch size and on which images are attacked together"
        );
        severe(text).with_figure(between_batches).advising("evaluate the network in evaluation mode")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_that_depend_on_the_batch_are_told() {
        let of = |between_passes: f64, between_batches: f64| {
            find(&Inspection { between_passes, between_batches, ..Inspection::default() })
        };
        assert!(of(0.0, 0.02).unwrap().text.contains("they differ by up to 2.0e-2"));
        assert_eq!((of(0.0, 9e-5), of(0.1, 0.1)), (None, None));
    }
}
