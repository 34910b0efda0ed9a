//! Compares the class names of a network with those of the images.

use temper_data::{Classes, class_difference};
use temper_results::Warning;

/// The hint how to ignore class names in a pipeline.
pub(crate) const IN_PIPELINE: &str =
    "if each label means the same in both, say `ignore_class_names = true` at the top of the pipeline";
/// The hint how to ignore class names in a command without a pipeline.
pub(crate) const IN_OPTIONS: &str = "if each label means the same in both, say --ignore-class-names";

/// Compares class names by position. If they differ: a warning if `ignored` is set and the numbers of classes are
/// equal, otherwise an error. If the numbers are equal, the error ends with `how`, the hint how to ignore the names.
pub(crate) fn compared(
    one: Classes,
    other: Classes,
    ignored: bool,
    how: &str,
) -> Result<Option<Warning>, String> {
    match class_difference(one, other) {
        None => Ok(None),
        Some(difference) if ignored && one.names.len() == other.names.len() => {
            Ok(Some(Warning::caution("other-class-names", difference)))
        }
        Some(difference) if one.names.len() == other.names.len() => Err(format!("{difference}\n  {how}")),
        Some(difference) => Err(difference),
    }
}
