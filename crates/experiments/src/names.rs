//! The names that fragments and tables may mention: networks, recipes, evaluations.

use std::path::{Path, PathBuf};

use anyhow::Context;
use toml::{Table, Value};

use crate::fragment::Fragment;
use crate::problem::Problem;
use crate::table::{TableFile, names};

/// The file of the paper's evaluations, below `configs/recipes`.
pub const PROTOCOL: &str = "protocol/evaluations.toml";

/// The names that a folder of recipes defines. Files are only listed, except the protocol's evaluations, which
/// are read.
#[derive(Debug)]
pub struct Names {
    folder: PathBuf,
    networks: Vec<String>,
    recipes: Vec<String>,
    evaluations: Vec<String>,
}

impl Names {
    /// Lists the folder.
    pub fn read(recipes: &Path) -> anyhow::Result<Self> {
        let protocol = recipes.join(PROTOCOL);
        let text = std::fs::read_to_string(&protocol)
            .with_context(|| format!("cannot read {}", protocol.display()))?;
        let text: Table = text.parse().with_context(|| protocol.display().to_string())?;
        let readings = text.get("reading").and_then(Value::as_table);
        let parts = std::iter::once(&text)
            .chain(readings.into_iter().flat_map(|readings| readings.values().filter_map(Value::as_table)));
        let evaluations = parts.filter_map(|part| part.get("evaluate")?.as_table());
        let mut evaluations: Vec<String> = evaluations.flat_map(|part| part.keys().cloned()).collect();
        evaluations.sort_unstable();
        evaluations.dedup();
        let networks = names(&recipes.join("networks"))?;
        Ok(Self { folder: recipes.into(), networks, recipes: names(recipes)?, evaluations })
    }

    /// Unknown names in a fragment.
    pub fn problems(&self, fragment: &Fragment) -> Vec<Problem> {
        self.of(fragment, &strings(&self.evaluations))
    }

    /// Unknown names in a table. A table may add evaluations in its `base`.
    pub fn table_problems(&self, table: &TableFile) -> Vec<Problem> {
        let [.., own] = table.base.names();
        let mut evaluations = [strings(&self.evaluations), own].concat();
        evaluations.sort_unstable();
        evaluations.dedup();
        let below = |fragment: &Fragment, keys: &[&str]| -> Vec<Problem> {
            let problems = self.of(fragment, &evaluations);
            problems.into_iter().map(|problem| problem.below(keys)).collect()
        };
        let mut problems = below(&table.base, &["base"]);
        for (scale, fragment) in &table.scale {
            problems.extend(below(fragment, &["scale", scale.name()]));
        }
        for (i, row) in table.row.iter().enumerate() {
            let chosen = [("network", &row.network, &self.networks), ("recipe", &row.recipe, &self.recipes)];
            let unknown = chosen.into_iter().filter(|(_, name, known)| !known.contains(name));
            problems.extend(unknown.map(|(kind, name, known)| {
                Problem::unknown(&["row", &i.to_string(), kind], kind, name, &strings(known))
            }));
        }
        for (i, column) in table.column.iter().enumerate() {
            let key = if column.evaluation.is_some() { "evaluation" } else { "name" };
            let unknown = column.evaluation().filter(|name| !evaluations.contains(name));
            problems.extend(unknown.map(|name| {
                Problem::unknown(&["column", &i.to_string(), key], "evaluation", name, &evaluations)
            }));
        }
        problems
    }

    fn of(&self, fragment: &Fragment, evaluations: &[&str]) -> Vec<Problem> {
        let [networks, recipes, named] = fragment.names();
        let (all_networks, all_recipes) = (strings(&self.networks), strings(&self.recipes));
        let kinds = [
            ("network", networks, &*all_networks),
            ("recipe", recipes, &*all_recipes),
            ("evaluation", named, evaluations),
        ];
        let unknown = kinds.into_iter().flat_map(|(kind, names, known)| {
            let unknown = names.into_iter().filter(|name| !known.contains(name));
            unknown.map(move |name| Problem::unknown::<&str>(&[], kind, name, known))
        });
        unknown.collect()
    }

    /// The files of all fragments that a table's pipelines are composed of.
    pub fn files(&self, table: &TableFile) -> Vec<PathBuf> {
        let mut files = vec![self.folder.join(PROTOCOL)];
        let scales = table.scales.iter().map(|scale| format!("scales/{}.toml", scale.name()));
        let networks = table.row.iter().map(|row| format!("networks/{}.toml", row.network));
        let recipes = table.row.iter().map(|row| format!("{}.toml", row.recipe));
        for file in scales.chain(networks).chain(recipes).map(|file| self.folder.join(file)) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        files
    }
}

fn strings(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
