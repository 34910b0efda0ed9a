//! Fragments of pipelines: what a network, a recipe, a scale or a table changes, and how changes are merged.

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

/// A part of a pipeline, and what it is for some networks, methods and readings besides.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fragment {
    /// For every row.
    pub pipeline: Table,
    /// For rows with this network.
    pub network: BTreeMap<String, Table>,
    /// For rows with this recipe.
    pub recipe: BTreeMap<String, Table>,
    /// For this reading of the paper.
    pub reading: BTreeMap<Reading, Fragment>,
    /// Evaluations by name, or what is changed of them.
    pub evaluate: BTreeMap<String, Table>,
    /// Rows, networks and columns that are left out.
    pub without: Vec<String>,
}

/// For whom fragments are merged.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Name of the network.
    pub network: &'a str,
    /// Name of the recipe.
    pub recipe: &'a str,
    /// Which reading.
    pub reading: Reading,
}

impl Fragment {
    /// Reads a file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Merges into a pipeline what this says of `wanted`.
    pub fn apply(&self, pipeline: &mut Table, wanted: Wanted) {
        merge(pipeline, &self.pipeline);
        let parts = [self.network.get(wanted.network), self.recipe.get(wanted.recipe)];
        parts.into_iter().flatten().for_each(|part| merge(pipeline, part));
        if let Some(reading) = self.reading.get(&wanted.reading) {
            reading.apply(pipeline, wanted);
        }
    }

    /// Merges into an evaluation what this says of it.
    pub fn apply_to_evaluation(&self, name: &str, evaluation: &mut Table, reading: Reading) {
        if let Some(part) = self.evaluate.get(name) {
            merge(evaluation, part);
        }
        if let Some(fragment) = self.reading.get(&reading) {
            fragment.apply_to_evaluation(name, evaluation, reading);
        }
    }

    /// All names of networks, recipes and evaluations that it speaks of.
    pub fn names(&self) -> [Vec<&str>; 3] {
        let mut names = [&self.network, &self.recipe, &self.evaluate]
            .map(|part| part.keys().map(String::as_str).collect::<Vec<_>>());
        for inner in self.reading.values().map(Self::names) {
            names.iter_mut().zip(inner).for_each(|(names, inner)| names.extend(inner));
        }
        names
    }
}

/// A plugin as TOML names it, by its name alone or as a table's one key, and its parameters; `None` for anything else.
pub fn chosen(value: &Value) -> Option<(&str, Option<&Table>)> {
    match value {
        Value::String(name) => Some((name, None)),
        Value::Table(table) => {
            table.iter().next().map(|(name, parameters)| (name.as_str(), parameters.as_table()))
        }
        _ => None,
    }
}

/// Tables with one key, the name of a plugin: another plugin takes the place of the whole.
/// `attack` and `suite` are those of an evaluation, which is merged by itself.
const CHOICES: [&str; 7] =
    ["dataset", "model", "train.attack", "train.loss", "train.epsilon", "attack", "suite"];
/// Tables whose fields depend on each other: a new one takes the place of the old one.
const WHOLE: [&str; 3] = ["train.augment", "train.schedule", "corruptions"];

/// Merges `from` into `into`: tables are entered, everything else is replaced, and so are choices of another plugin.
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
