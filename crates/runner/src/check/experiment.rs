//! Checks tables and recipes: their own structure, the names that they refer to, the parts of pipelines in them, and
//! all pipelines that a table composes.

use std::collections::BTreeMap;
use std::path::Path;

use temper_experiments::compose::{Book, every_pipeline};
use temper_experiments::fragment::Fragment;
use temper_experiments::names::Names;
use temper_experiments::table::TableFile;
use temper_experiments::{Configs, Problem};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::parts;
use crate::config::{BadConfig, Pipeline};
use crate::reading::{Fault, Reading};
use crate::toml_file;
use crate::written::WrittenKeys;

/// Checks the file of a table and everything that it is composed of, without opening data.
pub(crate) fn table_file(file: &Path, configs: &Configs) -> Result<(), BadConfig> {
    table(file, &toml_file::pipeline(file)?, configs).map(drop)
}

/// Checks a table; returns a message about it if it is sound.
pub(super) fn table(file: &Path, text: &str, configs: &Configs) -> Result<String, BadConfig> {
    let name = file.display().to_string();
    let document = toml_file::document(&name, text)?;
    let written = WrittenKeys::new(&name, text, vec![], document.get_ref());
    let (table, mut reading) = Reading::of::<TableFile>(&document);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let table = table.map(|table| table.named(&stem));
    let names = Names::read(&configs.recipes()).map_err(|error| bad(&error))?;
    if let Some(table) = table.as_ref().filter(|_| reading.is_clean()) {
        let problems = table.problems(&configs.tables()).map_err(|error| bad(&error))?;
        note(problems.into_iter().chain(names.table_problems(table)), &document, &mut reading);
    }
    let faults = reading.into_faults().into_iter().chain(parts::of_table(document.get_ref()));
    told(faults, &written)?;
    let Some(table) = table else { return Err(BadConfig(format!("{name}: no table can be made of it"))) };

    let mut mistakes = vec![];
    for file in names.files(&table) {
        let checked = toml_file::pipeline(&file)
            .and_then(|text| recipe_named(&file.display().to_string(), &text, &names));
        mistakes.extend(checked.err().iter().flat_map(BadConfig::messages).map(String::from));
    }
    if !mistakes.is_empty() {
        return Err(BadConfig::of(mistakes));
    }
    let composed = composed(&table, configs, &written)?;
    let scales: Vec<&str> = table.scales.iter().map(|scale| scale.name()).collect();
    Ok(format!(
        "{name}: a sound table\n  rows: {}, claims: {}, pipelines composed of it: {composed}, at {}\n",
        table.row.len(),
        table.claim.len(),
        scales.join(", ")
    ))
}

/// Checks a recipe; returns a message about it if it is sound.
pub(super) fn recipe(name: &str, text: &str, configs: &Configs) -> Result<String, BadConfig> {
    recipe_named(name, text, &Names::read(&configs.recipes()).map_err(|error| bad(&error))?)?;
    Ok(format!("{name}: a sound recipe\n"))
}

fn recipe_named(name: &str, text: &str, names: &Names) -> Result<(), BadConfig> {
    let document = toml_file::document(name, text)?;
    let (fragment, mut reading) = Reading::of::<Fragment>(&document);
    if let Some(fragment) = fragment.filter(|_| reading.is_clean()) {
        note(names.problems(&fragment).into_iter(), &document, &mut reading);
    }
    let faults = reading.into_faults().into_iter().chain(parts::of_recipe(document.get_ref()));
    told(faults, &WrittenKeys::new(name, text, vec![], document.get_ref()))
}

/// Checks all pipelines that a table composes; returns their number. The error reports each mistake once, at the
/// first row that has it.
fn composed(table: &TableFile, configs: &Configs, written: &WrittenKeys) -> Result<usize, BadConfig> {
    let book = Book::read(&configs.recipes()).map_err(|error| bad(&error))?;
    let (mut n, mut mistakes) = (0, BTreeMap::<String, (String, usize)>::new());
    every_pipeline(&book, table, &mut |version, row, pipeline| {
        n += 1;
        for mistake in Pipeline::composed(pipeline).err().unwrap_or_default() {
            let first = || {
                let i = table.row.iter().position(|other| other.name == row.name).unwrap_or_default();
                let name = &row.name;
                let message =
                    format!("row `{name}`, scale {}: its composed pipeline: {mistake}", version.part());
                (written.told_at(&["row", &i.to_string()], &message), 0)
            };
            mistakes.entry(mistake.clone()).or_insert_with(first).1 += 1;
        }
    })
    .map_err(|error| bad(&error))?;
    if mistakes.is_empty() {
        return Ok(n);
    }
    Err(BadConfig::of(mistakes.into_values().map(|(told, times)| match times {
        1 => told,
        _ => format!("{told}\n  and the same in other pipelines of this table: {}", times - 1),
    })))
}

fn bad(error: &anyhow::Error) -> BadConfig {
    BadConfig(format!("{error:#}"))
}

/// An error that reports all faults with their positions, in the order of the file; `Ok` if there are no faults.
fn told(faults: impl Iterator<Item = Fault>, written: &WrittenKeys) -> Result<(), BadConfig> {
    let mut faults: Vec<Fault> = faults.collect();
    faults.sort_by_key(|fault| fault.offset);
    if faults.is_empty() {
        return Ok(());
    }
    Err(BadConfig::of(faults.iter().map(|fault| written.told(fault.offset, &fault.path, &fault.message))))
}

/// Adds problems to `reading`, each at its position.
fn note<'d>(
    problems: impl Iterator<Item = Problem>,
    document: &'d Spanned<DeTable<'d>>,
    reading: &mut Reading<'d>,
) {
    for Problem { mut keys, name, message } in problems {
        if let Some(name) = name {
            let whole = DeValue::Table(document.get_ref().clone());
            let part = keys.iter().try_fold(&whole, |value, key| child(value, key));
            keys.extend(part.and_then(|part| find(part, &name)).unwrap_or_default());
        }
        reading.add(&keys.iter().map(String::as_str).collect::<Vec<_>>(), message);
    }
}

fn child<'v, 'd>(value: &'v DeValue<'d>, key: &str) -> Option<&'v DeValue<'d>> {
    match value {
        DeValue::Table(table) => table.get(key).map(Spanned::get_ref),
        DeValue::Array(array) => array.get(key.parse::<usize>().ok()?).map(Spanned::get_ref),
        _ => None,
    }
}

/// The keys from a part to a name: to the first text or key that equals it.
fn find(part: &DeValue<'_>, name: &str) -> Option<Vec<String>> {
    let below = |key: String, value: &DeValue<'_>| {
        if key == name || value.as_str() == Some(name) {
            return Some(vec![key]);
        }
        find(value, name).map(|rest| [vec![key], rest].concat())
    };
    match part {
        DeValue::Table(table) => {
            table.iter().find_map(|(key, value)| below(key.get_ref().to_string(), value.get_ref()))
        }
        DeValue::Array(array) => {
            array.iter().enumerate().find_map(|(i, value)| below(i.to_string(), value.get_ref()))
        }
        _ => None,
    }
}
