//! Which arrays of an archive hold the images and the labels of a split.

use temper_core::prelude::*;

use crate::archive::listed;

/// A usual name, and the split that it implies, if any.
type Name = (&'static str, Option<Split>);

/// Usual names of images.
const IMAGES: [Name; 6] = [
    ("images", None),
    ("x", None),
    ("x_test", Some(Split::Test)),
    ("x_train", Some(Split::Train)),
    ("data", None),
    ("arr_0", None),
];

/// Usual names of labels.
const LABELS: [Name; 6] = [
    ("labels", None),
    ("y", None),
    ("y_test", Some(Split::Test)),
    ("y_train", Some(Split::Train)),
    ("targets", None),
    ("arr_1", None),
];

/// Whether these arrays contain images of both splits.
pub(crate) fn both(keys: &[&str]) -> bool {
    ["x_train", "x_test"].iter().all(|key| keys.contains(key))
}

/// The arrays of images and labels. `given` are those that the options `images_key` and `labels_key` name. An error
/// if no array has a usual name, or several have one.
pub(crate) fn choose(keys: &[&str], split: Split, given: [Option<&str>; 2]) -> Result<[String; 2], String> {
    let (images, tells) = one("images", &IMAGES, keys, split, given[0])?;
    // Labels of one split beside images of the other would be wrong, even if their numbers are equal.
    let (labels, _) = one("labels", &LABELS, keys, tells.unwrap_or(split), given[1])?;
    Ok([images, labels])
}

/// The array of images or of labels, and the split that its name implies.
fn one(
    what: &str,
    usual: &[Name],
    keys: &[&str],
    split: Split,
    given: Option<&str>,
) -> Result<(String, Option<Split>), String> {
    let there = listed(keys);
    if let Some(given) = given {
        return match keys.contains(&given) {
            true => Ok((
                given.into(),
                usual.iter().find(|(name, _)| *name == given).and_then(|(_, split)| *split),
            )),
            false => Err(format!("no array `{given}`, which `{what}_key` names; there are {there}")),
        };
    }
    let there_of = |asked: Option<Split>| -> Vec<Name> {
        usual.iter().filter(|(name, split)| *split == asked && keys.contains(name)).copied().collect()
    };
    let other = if split == Split::Train { Split::Test } else { Split::Train };
    let tries = [Some(split), None, Some(other)];
    let found = tries.into_iter().map(there_of).find(|found| !found.is_empty()).unwrap_or_default();
    match &found[..] {
        [(name, split)] => Ok(((*name).into(), *split)),
        [] => {
            let names: Vec<&str> = usual.iter().map(|(name, _)| *name).collect();
            Err(format!(
                "no array of {what} under a usual name ({}); name it by `{what}_key`; there are {there}",
                names.join(", ")
            ))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            Err(format!("several arrays may be the {what}: {}; name one by `{what}_key`", listed(&names)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(keys: &[&str], split: Split) -> Result<[String; 2], String> {
        choose(keys, split, [None, None])
    }

    #[test]
    fn usual_names_are_found_and_those_of_the_split_come_first() {
        use Split::{Test, Train};
        for (keys, split, want) in [
            (&["images", "labels"][..], Test, ["images", "labels"]),
            (&["x", "y"], Train, ["x", "y"]),
            (&["arr_0", "arr_1"], Test, ["arr_0", "arr_1"]),
            (&["data", "targets", "names"], Test, ["data", "targets"]),
            (&["x_test", "x_train", "y_test", "y_train"], Test, ["x_test", "y_test"]),
            (&["x_test", "x_train", "y_test", "y_train"], Train, ["x_train", "y_train"]),
            (&["x_test", "data", "y_test"], Test, ["x_test", "y_test"]),
            // An archive given for this split, with names of the other one: both arrays are of the other split.
            (&["x_train", "y_train"], Test, ["x_train", "y_train"]),
            (&["x_train", "y_train", "y_test"], Test, ["x_train", "y_train"]),
        ] {
            assert_eq!(chosen(keys, split).unwrap(), want, "{keys:?}");
        }
        let keys = ["a", "b", "x", "y"];
        assert_eq!(choose(&keys, Test, [Some("a"), Some("b")]).unwrap(), ["a", "b"]);
        assert_eq!(choose(&keys, Test, [Some("a"), None]).unwrap(), ["a", "y"]);
    }

    #[test]
    fn what_cannot_be_told_is_asked_for() {
        let said = |keys: &[&str], given| choose(keys, Split::Test, given).unwrap_err();
        assert_eq!(
            said(&["x", "images", "y"], [None, None]),
            "several arrays may be the images: `images`, `x`; name one by `images_key`"
        );
        assert_eq!(
            said(&["x"], [None, None]),
            "no array of labels under a usual name (labels, y, y_test, y_train, targets, arr_1); name it by `labels_key`; \
             there are `x`"
        );
        assert_eq!(said(&["x"], [Some("z"), None]), "no array `z`, which `images_key` names; there are `x`");
        assert!(said(&[], [None, None]).ends_with("there are no arrays"));
    }

    #[test]
    fn both_splits_need_both_names() {
        assert!(both(&["x_test", "x_train"]) && !both(&["x_test", "x"]) && !both(&["x_train"]));
    }
}
