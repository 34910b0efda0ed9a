//! Classes of the network that are never predicted, or that have no image.

use temper_results::Warning;

use crate::checks::{Check, Find, caution, share};
use crate::seen::Seen;

pub(super) const NEVER_PREDICTED: Check = Check {
    id: "classes-never-predicted",
    reads: "labels, predictions for unperturbed images",
    find: Find::Network(never_predicted),
};

pub(super) const WITHOUT_IMAGES: Check = Check {
    id: "classes-without-images",
    reads: "labels, number of classes",
    find: Find::Network(without_images),
};

/// A network that knows a class predicts it for at least one of this many images of the class.
const ENOUGH: usize = 10;
/// The largest number of classes that a warning names.
const NAMED: usize = 5;

fn never_predicted(seen: &Seen) -> Option<Warning> {
    let clean = &seen.clean;
    let some = clean.predictions.keys().flatten().count() > 1;
    let never = clean
        .labels
        .iter()
        .filter(|(class, n)| some && **n >= ENOUGH && !clean.predictions.contains_key(&Some(**class)));
    let (classes, images): (Vec<u32>, Vec<usize>) = never.unzip();
    let (images, n) = (images.iter().sum::<usize>(), clean.n());
    (!classes.is_empty()).then(|| {
        let text =
            format!("no image is taken for {}, though {images} of {n} are of these classes", named(&classes));
        let advice = "see whether labels and training images have these classes";
        caution(text).with_figure(share(images, n)).advising(advice)
    })
}

fn without_images(seen: &Seen) -> Option<Warning> {
    let (clean, n) = (&seen.clean, seen.clean.n());
    let classes = clean.classes;
    // With this many images of equally frequent classes, some class has no image in fewer than one of twenty
    // draws.
    let expected = classes as f64 * (20.0 * classes as f64).ln();
    let all = 0..u32::try_from(classes).unwrap_or(u32::MAX);
    let without: Vec<u32> = all.filter(|class| !clean.labels.contains_key(class)).collect();
    (!without.is_empty() && n as f64 >= expected).then(|| {
        let text = format!(
            "none of the {n} images is of {}: accuracies say nothing of these classes",
            named(&without)
        );
        caution(text).with_figure(share(without.len(), classes))
    })
}

/// Lists classes by their numbers, at most [`NAMED`] of them.
fn named(classes: &[u32]) -> String {
    let first: Vec<String> = classes.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match classes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {}{more}", if classes.len() == 1 { "class" } else { "classes" }, first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::clean;

    #[test]
    fn classes_that_are_never_predicted_are_told() {
        let labels = [(0, 30), (1, 30), (2, 30), (3, 9)];
        let told = never_predicted(&clean(4, &labels, &[(Some(0), 60), (Some(2), 39)])).unwrap();
        assert!(told.text.starts_with("no image is taken for class 1, though 30 of 99 are"), "{told}");
        assert!(!told.is_severe());
        for quiet in [
            // Class 3 has too few images; constant predictions have a check of their own.
            clean(4, &labels, &[(Some(0), 40), (Some(1), 20), (Some(2), 39)]),
            clean(4, &labels, &[(Some(0), 99)]),
        ] {
            assert_eq!(never_predicted(&quiet), None);
        }
    }

    #[test]
    fn classes_without_images_are_told_where_images_suffice_for_all() {
        let told = without_images(&clean(10, &[(0, 50), (1, 50)], &[])).unwrap();
        assert!(told.text.contains("classes 2, 3, 4, 5, 6 and 3 more"), "{told}");
        assert_eq!(without_images(&clean(10, &[(0, 20), (1, 20)], &[])), None);
        assert_eq!(without_images(&clean(2, &[(0, 50), (1, 50)], &[])), None);
    }
}
