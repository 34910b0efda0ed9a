//! Composes the pipeline that `temper run` reads from table, recipe, network, scale and row.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use toml::{Table, Value};

use crate::fragment::{Fragment, Reading, Wanted, merge};
use crate::names::{Names, PROTOCOL};
use crate::plan::rows;
use crate::problem::Problem;
use crate::table::{Row, Scale, TableFile};

/// Placeholder in a protocol for the network of the row's second seed.
pub const SECOND_SEED: &str = "second seed";

/// The files below `configs/recipes`.
#[derive(Debug)]
pub struct Book {
    names: Names,
    networks: BTreeMap<String, Fragment>,
    recipes: BTreeMap<String, Fragment>,
    scales: BTreeMap<Scale, Fragment>,
    protocol: Fragment,
}

/// A table at a scale in a reading.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    /// The table.
    pub table: &'a TableFile,
    /// Its scale.
    pub scale: Scale,
    /// Its reading of the paper.
    pub reading: Reading,
}

impl<'a> Version<'a> {
    /// Scale and reading, as folder names contain them.
    pub fn part(&self) -> String {
        match self.reading {
            Reading::Paper => self.scale.name().into(),
            Reading::AuthorsCode => format!("{}-authors-code", self.scale.name()),
        }
    }

    /// Whether this row, network or column is left out.
    pub fn lacks(&self, name: &str) -> bool {
        let fragments = std::iter::once(&self.table.base).chain(self.table.scale.get(&self.scale));
        fragments.flat_map(|fragment| &fragment.without).any(|without| without == name)
    }

    /// Its rows.
    pub fn rows(&self) -> impl Iterator<Item = &'a Row> {
        self.table.row.iter().filter(|row| !self.lacks(&row.name) && !self.lacks(&row.network))
    }

    /// The evaluations that its columns need, each once, in their order.
    pub fn evaluations(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = vec![];
        for column in self.table.column.iter().filter(|column| !self.lacks(&column.name)) {
            names.extend(column.evaluation().filter(|name| !names.contains(name)));
        }
        names
    }
}

impl Book {
    /// Reads the folder. Every name that a file mentions must be known.
    pub fn read(recipes: &Path) -> anyhow::Result<Self> {
        let mut scales = BTreeMap::new();
        for scale in Scale::ALL {
            scales.insert(scale, Fragment::read(&recipes.join(format!("scales/{}.toml", scale.name())))?);
        }
        let book = Self {
            names: Names::read(recipes)?,
            networks: fragments(&recipes.join("networks"))?,
            recipes: fragments(recipes)?,
            scales,
            protocol: Fragment::read(&recipes.join(PROTOCOL))?,
        };
        let of = |kind: &str, name: &str| format!("{} {kind} `{name}`", recipes.display());
        let networks = book.networks.iter().map(|(name, fragment)| (of("network", name), fragment));
        let methods = book.recipes.iter().map(|(name, fragment)| (of("recipe", name), fragment));
        let scales = book.scales.iter().map(|(scale, fragment)| (of("scale", scale.name()), fragment));
        for (whose, fragment) in networks.chain(methods).chain(scales) {
            none(&book.names.problems(fragment)).context(whose)?;
        }
        Ok(book)
    }

    /// Returns an error if a table mentions an unknown network, recipe or evaluation.
    pub fn check_table(&self, table: &TableFile) -> anyhow::Result<()> {
        none(&self.names.table_problems(table)).with_context(|| table.name.clone())
    }

    /// The pipeline that trains a row with a seed, without evaluations.
    pub fn training(&self, version: Version, row: &Row, seed: u64) -> anyhow::Result<Table> {
        let wanted = Wanted { network: &row.network, recipe: &row.recipe, reading: version.reading };
        let mut pipeline = Table::new();
        pipeline.insert("seed".into(), Value::Integer(i64::try_from(seed)?));
        let network = self.networks.get(&row.network);
        let recipe = self.recipes.get(&row.recipe);
        let fragments = [
            Some(network.with_context(|| format!("there is no network `{}`", row.network))?),
            Some(recipe.with_context(|| format!("there is no recipe `{}`", row.recipe))?),
            Some(&version.table.base),
            self.scales.get(&version.scale),
            version.table.scale.get(&version.scale),
        ];
        fragments.into_iter().flatten().for_each(|fragment| fragment.apply(&mut pipeline, wanted));
        merge(&mut pipeline, &row.set);
        if let Some(set) = row.scale.get(&version.scale) {
            merge(&mut pipeline, set);
        }
        Ok(pipeline)
    }

    /// The `[[evaluate]]` tables of a version; `second` replaces the placeholder [`SECOND_SEED`].
    pub fn evaluations(&self, version: Version, second: &str) -> Vec<Table> {
        let evaluation = |name: &str| {
            let mut evaluation = Table::from_iter([("name".to_string(), Value::from(name))]);
            let fragments = [
                Some(&self.protocol),
                Some(&version.table.base),
                self.scales.get(&version.scale),
                version.table.scale.get(&version.scale),
            ];
            for fragment in fragments.into_iter().flatten() {
                fragment.apply_to_evaluation(name, &mut evaluation, version.reading);
            }
            if crafts_on_second(&evaluation) {
                evaluation.insert("surrogate".into(), second.into());
            }
            evaluation
        };
        version.evaluations().into_iter().map(evaluation).collect()
    }

    /// Whether an evaluation of this version needs a second seed.
    pub fn needs_second(&self, version: Version) -> bool {
        self.evaluations(version, SECOND_SEED).iter().any(crafts_on_second)
    }

    /// The whole pipeline.
    pub fn pipeline(&self, version: Version, row: &Row, seed: u64, second: &str) -> anyhow::Result<Table> {
        let mut pipeline = self.training(version, row, seed)?;
        let evaluations = self.evaluations(version, second).into_iter().map(Value::Table).collect();
        pipeline.insert("evaluate".into(), Value::Array(evaluations));
        Ok(pipeline)
    }
}

/// Passes every pipeline that a table composes for its first seed to `see`: each row, at each scale of the
/// table, in both readings.
pub fn every_pipeline(
    book: &Book,
    table: &TableFile,
    see: &mut dyn FnMut(Version, &Row, &Table),
) -> anyhow::Result<()> {
    for scale in &table.scales {
        for reading in [Reading::Paper, Reading::AuthorsCode] {
            let version = Version { table, scale: *scale, reading };
            for plan in rows(book, version, &[], 1)? {
                for run in &plan.runs {
                    let second = run.second.iter().map(|(_, pipeline)| pipeline);
                    std::iter::once(&run.pipeline).chain(second).for_each(|it| see(version, plan.row, it));
                }
            }
        }
    }
    Ok(())
}

fn crafts_on_second(evaluation: &Table) -> bool {
    evaluation.get("surrogate").and_then(Value::as_str) == Some(SECOND_SEED)
}

fn none(problems: &[Problem]) -> anyhow::Result<()> {
    problems.first().map_or(Ok(()), |problem| bail!("{problem}"))
}

/// All files of a folder, by name.
fn fragments(folder: &Path) -> anyhow::Result<BTreeMap<String, Fragment>> {
    let names = crate::table::names(folder)?;
    names
        .into_iter()
        .map(|name| {
            let fragment = Fragment::read(&folder.join(format!("{name}.toml")))?;
            Ok((name, fragment))
        })
        .collect()
}
