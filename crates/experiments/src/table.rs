//! Table files, `configs/tables/*.toml`: the rows of a table of the paper, how each is trained and judged, the
//! numbers that the paper prints, and the claims that it makes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::fragment::Fragment;
use crate::picture::Picture;
use crate::problem::{Problem, unknown};

/// How much of an experiment is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// The real thing.
    Paper,
    /// A true smaller experiment: a small network on a part of the data, for two cores.
    Cpu,
    /// The same on Fashion-MNIST, where the small network is right far more often.
    CpuFashion,
    /// Seconds a row, on embedded images: shows that everything works, and nothing else.
    Smoke,
}

impl Scale {
    /// All scales.
    pub const ALL: [Self; 4] = [Self::Paper, Self::Cpu, Self::CpuFashion, Self::Smoke];

    /// The scale's name in the command and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Cpu => "cpu",
            Self::CpuFashion => "cpu-fashion",
            Self::Smoke => "smoke",
        }
    }
}

/// A table or a figure.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFile {
    /// Its name: that of the file.
    #[serde(skip)]
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Its scales; if left out, all.
    #[serde(default = "all")]
    pub scales: Vec<Scale>,
    /// Settings that all of its rows share.
    pub base: Fragment,
    /// Changes of each scale beyond `configs/recipes/scales/SCALE.toml`.
    #[serde(default)]
    pub scale: BTreeMap<Scale, Fragment>,
    /// Columns, in the paper's order.
    pub column: Vec<Column>,
    /// Rows, in the paper's order.
    pub row: Vec<Row>,
    /// Claims of the paper.
    #[serde(default)]
    pub claim: Vec<Claim>,
    /// Its pictures.
    #[serde(default)]
    pub picture: Vec<Picture>,
}

fn all() -> Vec<Scale> {
    Scale::ALL.into()
}

/// A column: a number of a run's results.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name, which is also the name of its evaluation unless `evaluation` is set.
    pub name: String,
    /// The evaluation.
    pub evaluation: Option<String>,
    /// The number that it shows.
    #[serde(default)]
    pub value: What,
    /// For a curve: the radius (a number or a quotient such as `"8/255"`) or the number of steps. For a share
    /// of radii: the radius.
    pub at: Option<toml::Value>,
}

/// Numbers that results hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// An evaluation's accuracy, in per cent.
    #[default]
    Accuracy,
    /// The mean corruption error, in per cent.
    MeanCorruptionError,
    /// The mean radius of the training samples after the last epoch, in 1/255.
    MeanRadius,
    /// The radius below which 5 % of the training samples lie, in 1/255.
    RadiusP5,
    /// The median radius of the training samples, in 1/255.
    RadiusP50,
    /// The radius above which 5 % of the training samples lie, in 1/255.
    RadiusP95,
    /// Share of the training samples whose radius is above `at`, in per cent.
    RadiiAbove,
    /// Share of the training samples whose radius is below `at`, in per cent.
    RadiiBelow,
}

impl What {
    /// Whether it is a share in per cent, which cannot exceed 100.
    pub fn is_share(self) -> bool {
        matches!(self, Self::Accuracy | Self::RadiiAbove | Self::RadiiBelow)
    }
}

impl Column {
    /// The evaluation that it needs, if any.
    pub fn evaluation(&self) -> Option<&str> {
        match self.value {
            What::Accuracy | What::MeanCorruptionError => {
                Some(self.evaluation.as_deref().unwrap_or(&self.name))
            }
            What::MeanRadius
            | What::RadiusP5
            | What::RadiusP50
            | What::RadiusP95
            | What::RadiiAbove
            | What::RadiiBelow => None,
        }
    }

    /// The value of `at`, as a number.
    pub fn place(&self) -> anyhow::Result<Option<f64>> {
        let Some(at) = &self.at else { return Ok(None) };
        let number = match at {
            toml::Value::Integer(steps) => Some(*steps as f64),
            toml::Value::Float(radius) => Some(*radius),
            toml::Value::String(text) => text
                .split_once('/')
                .and_then(|(a, b)| Some(a.trim().parse::<f64>().ok()? / b.trim().parse::<f64>().ok()?)),
            _ => None,
        };
        let expected = || {
            format!("column `{}`: `at = {at}`: expected a number or a quotient such as \"8/255\"", self.name)
        };
        number.with_context(expected).map(Some)
    }

    /// The mistake in its `at`, if any.
    fn problem(&self) -> Option<String> {
        let share = matches!(self.value, What::RadiiAbove | What::RadiiBelow);
        match self.place() {
            Err(error) => Some(format!("{error:#}")),
            Ok(None) if share => Some(format!(
                "column `{}` is a share of radii: say which radius, `at = \"8/255\"`",
                self.name
            )),
            Ok(_) => None,
        }
    }
}

/// A row: a network, a recipe, and the changes to them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name, by which `--only` selects it; also the name of its folder.
    pub name: String,
    /// A file of `configs/recipes/networks`.
    pub network: String,
    /// A file of `configs/recipes`.
    pub recipe: String,
    /// Changes to the pipeline, after all others.
    #[serde(default)]
    pub set: toml::Table,
    /// Changes at a scale, applied after `set`.
    #[serde(default)]
    pub scale: BTreeMap<Scale, toml::Table>,
    /// `TABLE:ROW` of a row that trains the same networks, which are then trained once.
    pub same_as: Option<String>,
    /// The numbers that the paper prints, by column.
    #[serde(default)]
    pub expected: BTreeMap<String, f64>,
}

impl Row {
    /// The table and the row that trains this row's networks, if they belong to another table.
    pub fn elsewhere(&self) -> anyhow::Result<Option<(&str, &str)>> {
        let there = self.same_as.as_deref().map(elsewhere).transpose();
        there.with_context(|| format!("row `{}`", self.name))
    }
}

fn elsewhere(same: &str) -> anyhow::Result<(&str, &str)> {
    same.split_once(':').with_context(|| format!("`same_as = \"{same}\"`: expected TABLE:ROW"))
}

impl TableFile {
    /// Reads `TABLES/NAME.toml`. An error about an unknown name lists the known ones, also in `same_as`.
    pub fn read(tables: &Path, name: &str) -> anyhow::Result<Self> {
        let table = Self::parsed(tables, name)?;
        if let Some(problem) = table.problems(tables)?.first() {
            bail!("{}: {problem}", tables.join(format!("{name}.toml")).display());
        }
        Ok(table)
    }

    fn parsed(tables: &Path, name: &str) -> anyhow::Result<Self> {
        known(tables, name)?;
        let file = tables.join(format!("{name}.toml"));
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let table: Self = toml::from_str(&text).with_context(|| file.display().to_string())?;
        Ok(table.named(name))
    }

    /// The same table with the name of its file.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The row of this name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.row.iter().find(|row| row.name == name)
    }

    /// The mistakes that names alone show, in this table and in the tables of the folder `tables` that it
    /// shares rows with.
    pub fn problems(&self, tables: &Path) -> anyhow::Result<Vec<Problem>> {
        let mut problems = vec![];
        for (i, column) in self.column.iter().enumerate() {
            problems
                .extend(column.problem().map(|message| Problem::at(&["column", &i.to_string()], message)));
        }
        for (i, row) in self.row.iter().enumerate() {
            let at = ["row", &i.to_string()];
            if self.row[..i].iter().any(|other| other.name == row.name) {
                problems.push(Problem::at(&[at[0], at[1], "name"], format!("a second row `{}`", row.name)));
            }
            let expected = row.expected.keys().map(String::as_str);
            self.know_columns(&[at[0], at[1], "expected"], expected, &mut problems);
            let same = row.same_as.as_deref().and_then(|same| not_the_same(same, tables));
            problems.extend(same.map(|message| Problem::at(&[at[0], at[1], "same_as"], message)));
        }
        for (i, claim) in self.claim.iter().enumerate() {
            let at = ["claim", &i.to_string()];
            self.know_columns(&at, claim.columns(), &mut problems);
            self.know_rows(&at, claim.rows(), &mut problems);
            problems.extend(claim.check().err().map(|error| Problem::at(&at, format!("{error:#}"))));
        }
        for (i, picture) in self.picture.iter().enumerate() {
            let at = ["picture", &i.to_string(), "draw"];
            self.know_columns(&at, picture.columns().into_iter(), &mut problems);
            self.know_rows(&at, picture.rows().into_iter(), &mut problems);
            problems.extend(picture.check(self).err().map(|error| Problem::at(&at, format!("{error:#}"))));
        }
        let of_scales = self.scale.iter().map(|(scale, fragment)| (vec!["scale", scale.name()], fragment));
        for (keys, fragment) in std::iter::once((vec!["base"], &self.base)).chain(of_scales) {
            problems.extend(self.nothing_without(fragment).map(|problem| problem.below(&keys)));
        }
        Ok(problems)
    }

    /// Unknown names in a fragment's `without`.
    fn nothing_without<'a>(&'a self, fragment: &'a Fragment) -> impl Iterator<Item = Problem> + 'a {
        let there = |name: &str| {
            self.column.iter().any(|column| column.name == name)
                || self.row.iter().any(|row| row.name == name || row.network == name)
        };
        fragment.without.iter().enumerate().filter(move |(_, name)| !there(name)).map(|(i, name)| {
            let message = format!(
                "without `{name}`: there is no such row, network or column; rows: `{}`; networks: `{}`; columns: `{}`",
                once(self.row.iter().map(|row| row.name.as_str())).join("`, `"),
                once(self.row.iter().map(|row| row.network.as_str())).join("`, `"),
                once(self.column.iter().map(|column| column.name.as_str())).join("`, `")
            );
            Problem::at(&["without", &i.to_string()], message)
        })
    }

    fn know_columns<'a>(
        &self,
        keys: &[&str],
        names: impl Iterator<Item = &'a str>,
        problems: &mut Vec<Problem>,
    ) {
        let known = once(self.column.iter().map(|column| column.name.as_str()));
        let unknown = names.filter(|name| !known.contains(name));
        problems.extend(unknown.map(|name| Problem::unknown(keys, "column", name, &known)));
    }

    fn know_rows<'a>(
        &self,
        keys: &[&str],
        names: impl Iterator<Item = &'a str>,
        problems: &mut Vec<Problem>,
    ) {
        let known = once(self.row.iter().map(|row| row.name.as_str()));
        let unknown = names.filter(|name| !known.contains(name));
        problems.extend(unknown.map(|name| Problem::unknown(keys, "row", name, &known)));
    }
}

/// Each name once, in order.
fn once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

/// The reason why no row of another table matches this `same_as`; `None` if one does.
fn not_the_same(same: &str, tables: &Path) -> Option<String> {
    let there = || -> anyhow::Result<()> {
        let (table, row) = elsewhere(same)?;
        let table = TableFile::parsed(tables, table)?;
        let known = once(table.row.iter().map(|row| row.name.as_str()));
        ensure!(known.contains(&row), "{}: {}", table.name, unknown("row", row, &known));
        Ok(())
    };
    there().err().map(|error| format!("{error:#}"))
}

/// Returns an error for an unknown experiment.
pub fn known(tables: &Path, name: &str) -> anyhow::Result<()> {
    let known = names(tables)?;
    ensure!(
        known.iter().any(|known| known == name),
        "{}",
        unknown(
            "experiment",
            name,
            &std::iter::once("quickstart").chain(known.iter().map(String::as_str)).collect::<Vec<_>>()
        )
    );
    Ok(())
}

/// Names of the table files, sorted.
pub fn names(tables: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = vec![];
    for entry in std::fs::read_dir(tables).with_context(|| format!("cannot read {}", tables.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error for a table of one column and one row, with these extra lines in the column, in the row and at
    /// the end.
    fn fault(column: &str, row: &str, more: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "title = \"x\"\n[base]\n[[column]]\nname = \"c\"\n{column}\n[[row]]\nname = \"a\"\nnetwork = \"n\"\nrecipe = \"r\"\n{row}\n{more}"
        );
        std::fs::write(folder.path().join("t.toml"), text).unwrap();
        match TableFile::read(folder.path(), "t") {
            Ok(_) => "none".into(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn names_that_there_are_not_are_told_with_those_that_there_are() {
        let has = |fault: String, part: &str| assert!(fault.contains(part), "{fault}");
        has(fault("", "", ""), "none");
        has(fault("", "same_as = \"t:a\"", ""), "none");
        has(fault("", "same_as = \"t\"", ""), "`same_as = \"t\"`: expected TABLE:ROW\n  at row.0.same_as");
        has(
            fault("", "same_as = \"u:a\"", ""),
            "unknown experiment `u`; did you mean `t`? known: `quickstart`, `t`",
        );
        has(fault("", "same_as = \"t:b\"", ""), "t: unknown row `b`; did you mean `a`? known: `a`");
        has(
            fault("", "", "[scale.cpu]\nwithout = [\"b\"]"),
            "there is no such row, network or column; rows: `a`; networks: `n`; columns: `c`\n  at scale.cpu.without.0",
        );
        has(fault("value = \"radii-above\"", "", ""), "say which radius, `at = \"8/255\"`");
    }
}
