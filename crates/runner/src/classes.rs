//! Whether a network may judge images: their classes must be the same, or the user has said that names do not matter.

use temper_data::{Classes, class_difference};

/// How to have class names ignored in a pipeline.
pub(crate) const IN_PIPELINE: &str =
    "if each label means the same in both, say `ignore_class_names = true` at the top of the pipeline";
/// The same in a command without a pipeline.
pub(crate) const IN_OPTIONS: &str = "if each label means the same in both, say --ignore-class-names";

/// Compares classes by name and position. Where they differ: the warning, if `ignored` and if there are as many on both sides; else
/// the error, with `how` to have them ignored.
pub(crate) fn compared(
    one: Classes,
    other: Classes,
    ignored: bool,
    how: &str,
) -> Result<Option<String>, String> {
    match class_difference(one, other) {
        None => Ok(None),
        Some(difference) if ignored && one.names.len() == other.names.len() => Ok(Some(difference)),
        Some(difference) if one.names.len() == other.names.len() => Err(format!("{difference}\n  {how}")),
        Some(difference) => Err(difference),
    }
}
