//! Checks the parts of pipelines within tables and recipes. Each part is read as a pipeline whose other parts are
//! elsewhere.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::Pipeline;
use crate::reading::Fault;

/// The mistakes in the parts of pipelines that a table file contains.
pub(super) fn of_table(table: &DeTable<'_>) -> Vec<Fault> {
    let mut faults = vec![];
    if let Some(base) = table.get("base") {
        fragment(base.get_ref(), "base.", &mut faults);
    }
    for (scale, part) in children(table.get("scale")) {
        fragment(part.get_ref(), &format!("scale.{scale}."), &mut faults);
    }
    let rows = table.get("row").and_then(|rows| rows.get_ref().as_array());
    for (i, row) in rows.into_iter().flat_map(|rows| rows.iter().enumerate()) {
        let Some(row) = row.get_ref().as_table() else { continue };
        if let Some(set) = row.get("set") {
            pipeline(set, &format!("row[{i}].set"), &mut faults);
        }
        for (scale, part) in children(row.get("scale")) {
            pipeline(part, &format!("row[{i}].scale.{scale}"), &mut faults);
        }
    }
    faults
}

/// The mistakes in the parts of pipelines that a recipe contains.
pub(super) fn of_recipe(recipe: &DeTable<'_>) -> Vec<Fault> {
    let mut faults = vec![];
    parts(recipe, "", &mut faults);
    faults
}

fn fragment(value: &DeValue<'_>, before: &str, faults: &mut Vec<Fault>) {
    if let Some(table) = value.as_table() {
        parts(table, before, faults);
    }
}

/// Adds the mistakes in the parts of a fragment. `before` is the path to the fragment, with a dot at its end.
fn parts(table: &DeTable<'_>, before: &str, faults: &mut Vec<Fault>) {
    if let Some(part) = table.get("pipeline") {
        pipeline(part, &format!("{before}pipeline"), faults);
    }
    for kind in ["network", "recipe"] {
        for (name, part) in children(table.get(kind)) {
            pipeline(part, &format!("{before}{kind}.{name}"), faults);
        }
    }
    for (name, part) in children(table.get("evaluate")) {
        evaluation(part, &format!("{before}evaluate.{name}"), faults);
    }
    for (reading, part) in children(table.get("reading")) {
        fragment(part.get_ref(), &format!("{before}reading.{reading}."), faults);
    }
}

/// The keys and values of a value that is a table.
fn children<'t, 'd>(
    value: Option<&'t Spanned<DeValue<'d>>>,
) -> impl Iterator<Item = (&'t str, &'t Spanned<DeValue<'d>>)> {
    let table = value.and_then(|value| value.get_ref().as_table());
    table.into_iter().flat_map(|table| table.iter().map(|(key, value)| (key.get_ref().as_ref(), value)))
}

/// Adds the mistakes in a part of a pipeline at this path. A part that is not a table is skipped, because reading the
/// file as its own type reports it.
fn pipeline(part: &Spanned<DeValue<'_>>, path: &str, faults: &mut Vec<Fault>) {
    if let Some(table) = part.get_ref().as_table() {
        let document = Spanned::new(part.span(), table.clone());
        faults.extend(moved(Pipeline::faults_of_part(&document), "", path));
    }
}

/// Like [`pipeline`], for a part of an evaluation, which a pipeline contains in a list.
fn evaluation(part: &Spanned<DeValue<'_>>, path: &str, faults: &mut Vec<Fault>) {
    let Some(table) = part.get_ref().as_table() else { return };
    let (span, mut entry) = (part.span(), table.clone());
    if !entry.contains_key("name") {
        let name = DeValue::String("x".into());
        entry.insert(Spanned::new(span.clone(), "name".into()), Spanned::new(span.clone(), name));
    }
    let mut list = toml::de::DeArray::new();
    list.push(Spanned::new(span.clone(), DeValue::Table(entry)));
    let mut document = DeTable::new();
    let list = Spanned::new(span.clone(), DeValue::Array(list));
    document.insert(Spanned::new(span.clone(), "evaluate".into()), list);
    let document = Spanned::new(span, document);
    faults.extend(moved(Pipeline::faults_of_part(&document), "evaluate[0]", path));
}

/// Replaces the beginning `from` of the faults' paths by `to`.
fn moved(faults: Vec<Fault>, from: &str, to: &str) -> impl Iterator<Item = Fault> {
    faults.into_iter().map(move |fault| {
        let rest = fault.path.strip_prefix(from).unwrap_or(&fault.path);
        let dot = if rest.is_empty() || rest.starts_with(['.', '[']) { "" } else { "." };
        Fault { path: format!("{to}{dot}{rest}"), ..fault }
    })
}
