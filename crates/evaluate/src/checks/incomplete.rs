//! Attacks whose loss was still rising when they ended.

use temper_results::{Cost, Warning};

use crate::checks::{Check, Evidence, Find, caution, percent, share};

pub(super) const CHECK: Check = Check {
    id: "incomplete-optimisation",
    reads: "scores of the iterates, per attack",
    find: Find::Evaluation(find),
};

/// If the loss still rises for more than this share of samples, the attack as a whole ended too early.
const MANY: f64 = 0.25;

/// With fewer samples the attack cannot be judged.
const ENOUGH: usize = 10;

fn find(evidence: &Evidence) -> Vec<Warning> {
    evidence.attacks.iter().filter_map(incomplete).collect()
}

fn incomplete(cost: &Cost) -> Option<Warning> {
    let Cost { attack, rising, .. } = cost;
    let left = cost.attacked.saturating_sub(cost.broken);
    (left >= ENOUGH && share(*rising, left) > MANY).then(|| {
        let text = format!(
            "`{attack}`: for {rising} of the {left} samples that it left standing ({:.1} %) the loss still rose by over 5 % of its range in \
             the last 10 steps",
            percent(*rising, left)
        );
        caution(text).with_figure(share(*rising, left)).advising("take more steps, or longer ones")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::cost;

    #[test]
    fn a_loss_that_rises_to_the_end_is_told() {
        let of = |rising: usize| incomplete(&Cost { rising, ..cost("pgd-20", 120, 20) });
        let told = of(26).unwrap();
        assert!(
            told.text.starts_with("`pgd-20`: for 26 of the 100 samples that it left standing (26.0 %)"),
            "{told}"
        );
        assert_eq!((told.figure, told.is_severe()), (Some(0.26), false));
        assert_eq!((of(25), incomplete(&Cost { rising: 9, ..cost("pgd-20", 9, 0) })), (None, None));
    }
}
