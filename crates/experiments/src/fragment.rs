//! Fragments of pipelines: the settings that a network, recipe, scale or table changes, and how changes are merged.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The two readings of what the paper leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// The text's.
    Paper,
    /// That of the code that its authors released.
    AuthorsCode,
}

/// A part of a pipeline, with further changes for single networks, recipes and readings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fragment {
    /// Settings for every row.
    pub pipeline: Table,
    /// Settings for rows with this network.
    pub network: BTreeMap<String, Table>,
    /// Settings for rows with this recipe.
    pub recipe: BTreeMap<String, Table>,
    /// Settings for this reading of the paper.
    pub reading: BTreeMap<Reading, Fragment>,
    /// Evaluations, or changes to them, by name.
    pub evaluate: BTreeMap<String, Table>,
    /// Rows, networks and columns that are left out.
    pub without: Vec<String>,
}

/// The row and the reading for which fragments are merged.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Name of the network.
    pub network: &'a str,
    /// Name of the recipe.
    pub recipe: &'a str,
    /// Reading of the paper.
    pub reading: Reading,
}

impl Fragment {
    /// Reads a file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Merges this fragment's settings for `wanted` into a pipeline.
    pub fn apply(&self, pipeline: &mut Table, wanted: Wanted) {
        merge(pipeline, &self.pipeline);
        let parts = [self.network.get(wanted.network), self.recipe.get(wanted.recipe)];
        parts.into_iter().flatten().for_each(|part| merge(pipeline, part));
        if let Some(reading) = self.reading.get(&wanted.reading) {
            reading.apply(pipeline, wanted);
        }
    }

    /// Merges this fragment's settings for an evaluation into it.
    pub fn apply_to_evaluation(&self, name: &str, evaluation: &mut Table, reading: Reading) {
        if let Some(part) = self.evaluate.get(name) {
            merge(evaluation, part);
        }
        if let Some(fragment) = self.reading.get(&reading) {
            fragment.apply_to_evaluation(name, evaluation, reading);
        }
    }

    /// Names of all networks, recipes and evaluations that the fragment mentions.
    pub fn names(&self) -> [Vec<&str>; 3] {
        let mut names = [&self.network, &self.recipe, &self.evaluate]
            .map(|part| part.keys().map(String::as_str).collect::<Vec<_>>());
        for inner in self.reading.values().map(Self::names) {
            names.iter_mut().zip(inner).for_each(|(names, inner)| names.extend(inner));
        }
        names
    }
}

/// The plugin that a TOML value names, and its parameters. The value is the plugin's name, or a table with the
/// name as its one key; `None` for anything else.
pub fn chosen(value: &Value) -> Option<(&str, Option<&Table>)> {
    match value {
        Value::String(name) => Some((name, None)),
        Value::Table(table) => {
            table.iter().next().map(|(name, parameters)| (name.as_str(), parameters.as_table()))
        }
        _ => None,
    }
}

/// Tables whose one key is the name of a plugin: another plugin replaces the whole table. `attack` and `suite`
/// belong to an evaluation, which is merged separately.
const CHOICES: [&str; 7] =
    ["dataset", "model", "train.attack", "train.loss", "train.epsilon", "attack", "suite"];
/// Tables whose fields depend on each other: a new table replaces the old one.
const WHOLE: [&str; 3] = ["train.augment", "train.schedule", "corruptions"];

/// Merges `from` into `into`: tables are merged recursively; everything else is replaced, as is the choice of
/// another plugin.
pub fn merge(into: &mut Table, from: &Table) {
    merge_at("", into, from);
}

fn merge_at(path: &str, into: &mut Table, from: &Table) {
    for (key, new) in from {
        let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (into.get_mut(key), new) {
            (Some(Value::Table(old)), Value::Table(new))
                if !WHOLE.contains(&at.as_str())
                    && (!CHOICES.contains(&at.as_str()) || new.keys().all(|name| old.contains_key(name))) =>
            {
                merge_at(&at, old, new);
            }
            _ => {
                into.insert(key.clone(), new.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(into: &str, from: &str) -> Table {
        let mut into: Table = into.parse().unwrap();
        merge(&mut into, &from.parse().unwrap());
        into
    }

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn parameters_are_merged_and_plugins_are_replaced() {
        let base = "train.attack.pgd = { steps = 10, step = 0.1 }\ntrain.epochs = 3";
        let steps = merged(base, "train.attack.pgd.steps = 5");
        assert_eq!(steps, table("train.attack.pgd = { steps = 5, step = 0.1 }\ntrain.epochs = 3"));
        let other = merged(base, "train.attack.fgsm.step = 1.0");
        assert_eq!(other, table("train.attack.fgsm = { step = 1.0 }\ntrain.epochs = 3"));
        let named = merged(base, "train.attack = \"none\"");
        assert_eq!(named, table("train.attack = \"none\"\ntrain.epochs = 3"));
        assert_eq!(merged("dataset = \"cifar10\"", "dataset.mnist = {}"), table("dataset.mnist = {}"));
        for choice in CHOICES {
            let [one, other] = ["one", "other"].map(|name| format!("{choice}.{name}.n = 1"));
            assert_eq!(merged(&one, &other), table(&other), "{choice}");
        }
        let schedule =
            merged("train.schedule = { steps = [3], warmup = 5 }", "train.schedule = { steps = [1] }");
        assert_eq!(schedule, table("train.schedule = { steps = [1] }"));
    }

    #[test]
    fn readings_networks_and_recipes_come_after_what_holds_for_all() {
        let text = "pipeline.a = 1\npipeline.b = 1\npipeline.c = 1\nnetwork.n.b = 2\nrecipe.r.c = 3\n\
                    reading.authors-code.pipeline.a = 4\nreading.authors-code.network.other.b = 9";
        let fragment: Fragment = toml::from_str(text).unwrap();
        let read = |reading| {
            let mut pipeline = Table::new();
            fragment.apply(&mut pipeline, Wanted { network: "n", recipe: "r", reading });
            pipeline
        };
        assert_eq!(read(Reading::Paper), table("a = 1\nb = 2\nc = 3"));
        assert_eq!(read(Reading::AuthorsCode), table("a = 4\nb = 2\nc = 3"));
    }
}
