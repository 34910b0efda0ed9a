//! Descriptions of the tables of a pipeline, from its JSON Schema: `temper describe train`, and the configuration
//! reference of the book.

use std::fmt::Write;

use serde_json::{Map, Value};
use temper_core::{KINDS, Summary, summaries};

use crate::catalogue::comment;
use crate::schema::schema;

/// The tables of a pipeline that are not plugins: the name for `temper describe`, the place in a pipeline, and the
/// definition in the schema.
const PARTS: [(&str, &str, &str); 13] = [
    ("pipeline", "", ""),
    ("subset", "subset", "Parts"),
    ("train", "train", "Plan"),
    ("augment", "train.augment", "Augment"),
    ("optimizer", "train.optimizer", "Optimizer"),
    ("schedule", "train.schedule", "Schedule"),
    ("cosine", "train.schedule.cosine", "Cosine"),
    ("one-cycle", "train.schedule.one-cycle", "OneCycle"),
    ("ema", "train.ema", "Ema"),
    ("select", "select", "Select"),
    ("evaluate", "evaluate", "Entry"),
    ("sweep", "evaluate.sweep", "Sweep"),
    ("corruptions", "evaluate.corruptions", "Corruptions"),
];

/// The names of the tables that [`part`] describes.
pub(crate) fn parts() -> impl Iterator<Item = &'static str> {
    PARTS.iter().map(|(name, ..)| *name)
}

/// A table of a pipeline with all its keys, as TOML to copy; `None` if there is no table of this name.
pub(crate) fn part(name: &str) -> Option<String> {
    let (_, place, definition) = PARTS.iter().find(|(part, ..)| *part == name)?;
    let schema = Schema(schema());
    let table = schema.definition(definition);
    let mut text = String::new();
    comment(&mut text, &flat(&table["description"]));
    let _ = match *place {
        "" => writeln!(text),
        "evaluate" => writeln!(text, "\n[[evaluate]]"),
        place => writeln!(text, "\n[{place}]"),
    };
    for (key, value) in keys(table) {
        comment(&mut text, &format!("{} ({})", flat(&value["description"]), schema.values(value)));
        let _ = match default_of(value) {
            Some(default) => writeln!(text, "{key} = {default}"),
            None => writeln!(text, "# {key} = .."),
        };
    }
    Some(text)
}

/// The configuration reference, in Markdown.
pub fn reference() -> String {
    let schema = Schema(schema());
    let mut text = String::from(
        "# Configuration\n\n<!-- Generated from the registries by a test of crates/runner/src/reference.rs: UPDATE_EXPECT=1. -->\n\n",
    );
    let intro = "All keys of a pipeline and all plugins with their parameters. `temper describe` prints the same in a terminal, \
                 as TOML to copy. The first line `#:schema ../docs/pipeline.schema.json` of a pipeline makes editors with \
                 a TOML language server (taplo) complete and check its keys.";
    wrap_text(&mut text, intro);
    for (_, place, definition) in PARTS {
        let table = schema.definition(definition);
        let head = match place {
            "" => "Top level".to_string(),
            "evaluate" => "`[[evaluate]]`".to_string(),
            place => format!("`[{place}]`"),
        };
        let _ = writeln!(text, "## {head}\n");
        wrap_text(&mut text, &flat(&table["description"]));
        let rows = keys(table).map(|(key, value)| {
            let default = default_of(value).map_or_else(
                || if requires(table, key) { "required".into() } else { String::new() },
                |default| format!("`{default}`"),
            );
            [key.clone(), schema.values(value), default, flat(&value["description"])]
        });
        table_of(&mut text, rows);
    }
    for kind in KINDS {
        let plugins: Vec<Summary> = summaries().into_iter().filter(|plugin| plugin.kind == *kind).collect();
        let place = plugins.first().map_or("", |plugin| plugin.place);
        let _ = writeln!(text, "## Plugins of the kind {kind}\n\nWritten at `{place}`.\n");
        for plugin in plugins {
            plugin_of(&mut text, &plugin, &schema);
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The section of a plugin.
fn plugin_of(text: &mut String, plugin: &Summary, schema: &Schema) {
    let _ = writeln!(text, "### {} `{}`\n", plugin.kind, plugin.name);
    // Lines of documentation end where sentences or examples end.
    for line in plugin.doc {
        let _ = writeln!(text, "{}", line.trim());
    }
    text.push('\n');
    let pointer = format!("/$defs/{}/oneOf/1/properties/{}", plugin.kind, plugin.name);
    let Some(table) = schema.0.pointer(&pointer) else { return };
    let written: Vec<String> = plugin.params.iter().map(|param| (param.expects)()).collect();
    let names: Vec<&str> = plugin.params.iter().map(|param| param.name).collect();
    let rows = keys(table).map(|(key, value)| {
        let own = names.iter().position(|name| name == key).map(|at| written[at].clone());
        let default = plugin.defaults.get(key).map_or_else(String::new, |value| format!("`{value}`"));
        [key.clone(), own.unwrap_or_else(|| schema.values(value)), default, flat(&value["description"])]
    });
    table_of(text, rows);
}

/// A table of keys: name, values, default, description.
fn table_of(text: &mut String, rows: impl Iterator<Item = [String; 4]>) {
    let rows: Vec<[String; 4]> = rows.collect();
    if rows.is_empty() {
        text.push_str("It has no parameters.\n\n");
        return;
    }
    text.push_str("| key | values | default | meaning |\n|---|---|---|---|\n");
    for [key, values, default, meaning] in rows {
        let cell = |words: String| words.replace('|', "\\|");
        let _ = writeln!(text, "| `{key}` | {} | {} | {} |", cell(values), cell(default), cell(meaning));
    }
    text.push('\n');
}

/// Words as a paragraph of lines of at most 118 characters.
fn wrap_text(text: &mut String, words: &str) {
    let mut line = String::new();
    for word in words.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 118 {
            let _ = writeln!(text, "{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}\n");
}

/// A description on one line.
fn flat(description: &Value) -> String {
    description.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The default of a key, as TOML; `None` if it has none, or if the default is all defaults of a table.
fn default_of(value: &Value) -> Option<String> {
    // An empty list of tables beside a table of that name would be an error.
    let written = |default: &&Value| !default.is_object() && **default != serde_json::json!([]);
    let default = value.get("default").filter(written)?;
    toml::Value::try_from(default).ok().map(|value| value.to_string())
}

/// A JSON Schema.
struct Schema(Value);

impl Schema {
    /// A definition by its name; the root for an empty name.
    fn definition(&self, name: &str) -> &Value {
        if name.is_empty() { &self.0 } else { &self.0["$defs"][name] }
    }

    /// The schema that another one refers to, or itself.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let name = value["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
        name.map_or(value, |name| self.definition(name))
    }

    /// What a key may hold, in words.
    fn values(&self, value: &Value) -> String {
        let name = value["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")).unwrap_or_default();
        if let Some(kind) = KINDS.iter().find(|kind| **kind == name) {
            return format!("one {kind}, by name or as a table");
        }
        if let Some((part, ..)) =
            PARTS.iter().find(|(_, _, definition)| !name.is_empty() && *definition == name)
        {
            return format!("table, see `{part}`");
        }
        let value = self.resolve(value);
        if let Some(words) = words(value) {
            return words.join(" or ");
        }
        match value["type"].as_str() {
            Some("boolean") => "true or false".into(),
            Some("string") => "text".into(),
            Some("integer") => match value["minimum"].as_u64() {
                Some(least @ 1..) => format!("whole number of at least {least}"),
                _ => "whole number".into(),
            },
            Some("array") => format!("list, each: {}", self.values(&value["items"])),
            Some("number") if value.get("description").is_none() => "number".into(),
            Some("object") => "table".into(),
            _ if name == "attack-or-none" => "\"none\", or one attack, by name or as a table".into(),
            // Units describe their values.
            _ => flat(&value["description"]),
        }
    }
}

/// The keys of a table with their schemas.
fn keys(table: &Value) -> impl Iterator<Item = (&String, &Value)> {
    table["properties"].as_object().into_iter().flat_map(Map::iter)
}

fn requires(table: &Value, key: &str) -> bool {
    table["required"].as_array().is_some_and(|keys| keys.iter().any(|required| required == key))
}

/// The words of a closed set.
fn words(value: &Value) -> Option<Vec<String>> {
    let all = match value.get("enum") {
        Some(words) => words.as_array()?.clone(),
        None => value.get("oneOf")?.as_array()?.iter().filter_map(|one| one.get("const")).cloned().collect(),
    };
    let words: Vec<String> = all.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_in_the_docs_is_that_of_the_types_and_plugins() {
        expect_test::expect_file!["../../../docs/configuration.md"].assert_eq(&reference());
    }

    /// Keys that have a default are written with it, and every line is TOML or a comment.
    #[test]
    fn what_is_described_can_be_copied() {
        for name in parts() {
            let text = part(name).unwrap();
            let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(name == "pipeline" || !table.is_empty(), "{text}");
        }
        assert_eq!(part("trian"), None);
    }
}
