//! Names of tensors, and the prefixes that programs put before them: for a wrapper for several devices, a compiled
//! module, a network behind a normalisation layer.

use std::collections::BTreeSet;

/// Maximum number of names that a sentence lists.
const SHOWN: usize = 5;

/// Prefixes that wrappers put before names.
const PARTS: [&str; 10] = [
    "module.",
    "model.",
    "net.",
    "network.",
    "_orig_mod.",
    "_model.",
    "base_model.",
    "backbone.",
    "0.",
    "1.",
];

/// The first of these names, and the number of the others.
pub(crate) fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// The prefix that wrappers put before all of these names. A number counts as a wrapper's prefix only if the rest of
/// the name still has several parts: in `1.weight` the number belongs to the layer.
pub(crate) fn shared(names: &[&str]) -> String {
    let mut taken = 0;
    let rest = |name: &&str, part: &str, taken: usize| {
        let rest = name.get(taken..)?.strip_prefix(part)?;
        (!rest.is_empty() && (rest.contains('.') || !part.starts_with(['0', '1']))).then_some(())
    };
    while let Some(part) = PARTS
        .iter()
        .find(|part| !names.is_empty() && names.iter().all(|name| rest(name, part, taken).is_some()))
    {
        taken += part.len();
    }
    names.first().map_or_else(String::new, |name| name[..taken].to_string())
}

/// The prefix under which all wanted names occur; empty if they occur without one. Of several prefixes, that of a
/// wrapper is preferred.
pub(crate) fn fitting(names: &BTreeSet<&str>, wanted: &BTreeSet<&str>) -> Option<String> {
    let first = wanted.first()?;
    let stems = names.iter().filter_map(|name| name.strip_suffix(first));
    let stems = stems.filter(|stem| stem.is_empty() || stem.ends_with('.'));
    let fits = |stem: &&str| wanted.iter().all(|name| names.contains(format!("{stem}{name}").as_str()));
    let mut fitting: Vec<&str> = stems.filter(fits).collect();
    fitting.sort_by_key(|stem| stem.len());
    let usual = fitting.iter().find(|stem| shared(&[&format!("{stem}x.x")]) == **stem);
    match &fitting[..] {
        [only] => Some((*only).into()),
        _ => usual.map(|stem| (*stem).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_of_all_names_are_seen() {
        for (names, prefix) in [
            (&["module.a.weight", "module.b.weight"][..], "module."),
            (&["module._orig_mod.1.a.weight", "module._orig_mod.1.b.weight"], "module._orig_mod.1."),
            (&["module.a", "b"], ""),
            (&["1.weight", "1.bias"], ""),
            (&["1.a.weight", "1.weight"], ""),
            (&["model.weight"], "model."),
            (&["module."], ""),
            (&["modulé.weight", "m"], ""),
            (&[], ""),
        ] {
            assert_eq!(shared(names), prefix, "{names:?}");
        }
    }

    #[test]
    fn wanted_names_tell_wrappers_apart() {
        let fit = |names: &[&str], wanted: &[&str]| {
            fitting(&names.iter().copied().collect(), &wanted.iter().copied().collect())
        };
        let told = |prefix: &str| Some(prefix.to_string());
        assert_eq!(fit(&["a", "b"], &["a", "b"]), told(""));
        assert_eq!(fit(&["1.weight"], &["1.weight"]), told(""));
        assert_eq!(fit(&["0.mean", "1.a", "1.b"], &["a", "b"]), told("1."));
        assert_eq!(fit(&["net.a", "x.a", "x.b"], &["a", "b"]), told("x."));
        assert_eq!(fit(&["module.a", "ema.module.a"], &["a"]), told("module."));
        assert_eq!(fit(&["student.a", "teacher.a"], &["a"]), None);
        assert_eq!(fit(&["xa"], &["a"]), None);
        assert_eq!(fit(&["a"], &[]), None);
    }
}
