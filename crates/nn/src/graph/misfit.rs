//! What keeps tensors from being the weights of a network, as lists of names.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::parameter::Parameter;

/// Names that each list has at most.
const SHOWN: usize = 6;

/// Why `weights` are not those that `parameters` ask for; `None` if they are.
pub(crate) fn misfit(parameters: &[Parameter], weights: &BTreeMap<String, Tensor>) -> Option<String> {
    let wanted: BTreeSet<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let missing = parameters.iter().filter(|parameter| !weights.contains_key(&parameter.name));
    let missing: Vec<String> = missing.map(|p| format!("`{}` {:?}", p.name, p.shape)).collect();
    let unknown: Vec<&str> =
        weights.keys().map(String::as_str).filter(|name| !wanted.contains(name)).collect();
    let told: Vec<String> =
        unknown.iter().map(|name| format!("`{name}` {:?}", weights[*name].dims())).collect();
    let other = parameters.iter().filter_map(|parameter| {
        let got = weights.get(&parameter.name)?.dims();
        let differs = got != parameter.shape;
        differs.then(|| format!("`{}` {got:?}, expected {:?}", parameter.name, parameter.shape))
    });
    let other: Vec<String> = other.collect();
    let lists =
        [("missing", missing), ("in the file, but not in the network", told), ("of another shape", other)];
    let lists: Vec<String> =
        lists.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| list(what, names)).collect();
    (!lists.is_empty()).then(|| format!("{}{}", lists.concat(), prefix(&wanted, &unknown)))
}

/// A list of names under its heading.
fn list(what: &str, names: &[String]) -> String {
    let mut lines: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = format!("and {} more", names.len().saturating_sub(SHOWN));
    if names.len() > SHOWN {
        lines.push(&more);
    }
    format!("\n  {what} ({}):\n    {}", names.len(), lines.join("\n    "))
}

/// Says so if all names would be known without what they begin with.
fn prefix(wanted: &BTreeSet<&str>, unknown: &[&str]) -> String {
    let Some(first) = unknown.first() else { return String::new() };
    let stems = first.match_indices('.').map(|(dot, _)| &first[..=dot]);
    let fits = |stem: &&str| {
        unknown.iter().all(|name| name.strip_prefix(stem).is_some_and(|rest| wanted.contains(rest)))
    };
    match stems.into_iter().find(fits) {
        Some(stem) => format!("\n  without `{stem}` before each name they would be known: rename them"),
        None => String::new(),
    }
}
