//! A network that predicts the same class for every image.

use temper_results::Warning;

use crate::checks::{Check, Find, percent, severe, share};
use crate::seen::Seen;

pub(super) const CHECK: Check = Check {
    id: "constant-predictions",
    reads: "labels, predictions for unperturbed images",
    find: Find::Network(find),
};

/// A network that distinguishes classes does not predict the same class for this many images of other classes.
const OTHERS: usize = 5;

fn find(seen: &Seen) -> Option<Warning> {
    let (clean, n) = (&seen.clean, seen.clean.n());
    let mut predicted = clean.predictions.keys();
    let (Some(Some(class)), None) = (predicted.next(), predicted.next()) else { return None };
    let of_class = clean.labels.get(class).copied().unwrap_or(0);
    (n - of_class >= OTHERS).then(|| {
        let text = format!(
            "the network takes all {n} unperturbed images for class {class}, so that its accuracy is the share of that class, {:.1} %",
            percent(of_class, n)
        );
        severe(text).with_figure(share(of_class, n)).advising("it tells no classes apart, and cannot be judged")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::clean;

    #[test]
    fn one_class_for_all_images_is_told() {
        let told = find(&clean(4, &[(0, 30), (1, 10)], &[(Some(0), 40)])).unwrap();
        assert!(
            told.is_severe() && told.text.contains("takes all 40 unperturbed images for class 0"),
            "{told}"
        );
        assert_eq!(told.figure, Some(0.75));
        for quiet in [
            clean(4, &[(0, 30), (1, 10)], &[(Some(0), 39), (Some(1), 1)]),
            clean(4, &[(0, 40)], &[(Some(0), 40)]),
            clean(4, &[(0, 3), (1, 4)], &[(Some(0), 7)]),
            clean(4, &[(0, 30), (1, 10)], &[(None, 40)]),
        ] {
            assert_eq!(find(&quiet), None);
        }
    }
}
