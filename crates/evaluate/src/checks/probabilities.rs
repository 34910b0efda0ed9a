//! Networks that return probabilities where logits are expected.

use temper_results::Warning;

use crate::checks::{Check, Find, severe};
use crate::seen::Seen;

pub(super) const CHECK: Check = Check {
    id: "probabilities-for-logits",
    reads: "logits of unperturbed images",
    find: Find::Network(find),
};

fn find(seen: &Seen) -> Option<Warning> {
    seen.clean.probabilities.then(|| {
        let text = format!(
            "the network's logits look like probabilities (in [0, 1], with a sum of 1, for all {} images), so that losses take a second \
             softmax, whose small gradients mislead attacks",
            seen.clean.n()
        );
        severe(text).advising("remove the softmax at the end of the network")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::clean;

    #[test]
    fn probabilities_are_told() {
        let mut seen = clean(2, &[(0, 4), (1, 4)], &[(Some(0), 8)]);
        assert_eq!(find(&seen), None);
        seen.clean.probabilities = true;
        assert!(find(&seen).unwrap().is_severe());
    }
}
