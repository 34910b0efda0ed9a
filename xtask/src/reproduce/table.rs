//! Table files, `configs/tables/*.toml`: the rows of a table of the paper, how each is trained and judged, what the paper
//! prints of it, and what it claims.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::fragment::Fragment;
use super::picture::Picture;

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
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Paper, Self::Cpu, Self::CpuFashion, Self::Smoke];

    /// As in the command and in files.
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
    /// Scales that it has; left out, all.
    #[serde(default = "all")]
    pub scales: Vec<Scale>,
    /// What all of its rows have in common.
    pub base: Fragment,
    /// What each scale changes beyond `configs/recipes/scales/SCALE.toml`.
    #[serde(default)]
    pub scale: BTreeMap<Scale, Fragment>,
    /// Columns, in the paper's order.
    pub column: Vec<Column>,
    /// Rows, in the paper's order.
    pub row: Vec<Row>,
    /// Claims of the paper.
    #[serde(default)]
    pub claim: Vec<Claim>,
    /// What is drawn of it.
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
    /// Its name, which is also that of its evaluation unless that is given.
    pub name: String,
    /// The evaluation.
    pub evaluation: Option<String>,
    /// Which number.
    #[serde(default)]
    pub value: What,
    /// Of a curve: the radius (a number or a quotient such as `"8/255"`) or the number of steps. Of a share of radii: the radius.
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
    /// The radius that 5 % of the training samples are below, in 1/255.
    RadiusP5,
    /// Their median.
    RadiusP50,
    /// The radius that 5 % of them are above.
    RadiusP95,
    /// Share of them whose radius is above that of `at`, in per cent.
    RadiiAbove,
    /// Share of them whose radius is below that of `at`.
    RadiiBelow,
}

impl What {
    /// Whether it is a share, in per cent, of which there can be no more than 100.
    pub fn is_share(self) -> bool {
        matches!(self, Self::Accuracy | Self::RadiiAbove | Self::RadiiBelow)
    }
}

impl Column {
    /// The evaluation that it needs, if it needs one.
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

    /// The place on a curve, as a number.
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
}

/// A row: a network, a recipe, and what is changed of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name, by which `--only` picks it; also its folder.
    pub name: String,
    /// A file of `configs/recipes/networks`.
    pub network: String,
    /// A file of `configs/recipes`.
    pub recipe: String,
    /// Changes to the pipeline, after all others.
    #[serde(default)]
    pub set: toml::Table,
    /// Changes at a scale, after these.
    #[serde(default)]
    pub scale: BTreeMap<Scale, toml::Table>,
    /// `TABLE:ROW` that trains the same networks: they are trained once.
    pub same_as: Option<String>,
    /// What the paper prints, by column.
    #[serde(default)]
    pub expected: BTreeMap<String, f64>,
}

impl Row {
    /// The table and the row that trains it, where that is another table's.
    pub fn elsewhere(&self) -> anyhow::Result<Option<(&str, &str)>> {
        let Some(same) = &self.same_as else { return Ok(None) };
        let found = same.split_once(':');
        found
            .with_context(|| format!("row `{}`: `same_as = \"{same}\"`: expected TABLE:ROW", self.name))
            .map(Some)
    }
}

impl TableFile {
    /// Reads `TABLES/NAME.toml`; an unknown name is told with the known ones, also where a row is the same as another table's.
    pub fn read(tables: &Path, name: &str) -> anyhow::Result<Self> {
        let table = Self::parsed(tables, name)?;
        let file = tables.join(format!("{name}.toml")).display().to_string();
        table.check().with_context(|| file.clone())?;
        for row in &table.row {
            let whose = format!("row `{}`, `same_as`", row.name);
            let Some((other, same)) = row.elsewhere().with_context(|| file.clone())? else { continue };
            let there = Self::parsed(tables, other).and_then(|other| other.known_row(same, &whose));
            there.with_context(|| format!("{file}: {whose}"))?;
        }
        Ok(table)
    }

    fn parsed(tables: &Path, name: &str) -> anyhow::Result<Self> {
        let file = tables.join(format!("{name}.toml"));
        let known = names(tables)?;
        ensure!(
            known.iter().any(|known| known == name),
            "unknown experiment `{name}`; known: `quickstart`, `{}`",
            known.join("`, `")
        );
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut table: Self = toml::from_str(&text).with_context(|| file.display().to_string())?;
        table.name = name.into();
        Ok(table)
    }

    /// The row of this name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.row.iter().find(|row| row.name == name)
    }

    /// What names alone show to be wrong.
    fn check(&self) -> anyhow::Result<()> {
        let columns: Vec<&str> = self.column.iter().map(|column| column.name.as_str()).collect();
        let column = |name: &str, whose: &str| -> anyhow::Result<()> {
            ensure!(
                columns.contains(&name),
                "{whose}: unknown column `{name}`; known: `{}`",
                columns.join("`, `")
            );
            Ok(())
        };
        for (i, row) in self.row.iter().enumerate() {
            let whose = format!("row `{}`", row.name);
            ensure!(self.row[..i].iter().all(|other| other.name != row.name), "{whose} stands there twice");
            row.expected.keys().try_for_each(|name| column(name, &whose))?;
        }
        for claim in &self.claim {
            let whose = format!("claim \"{}\"", claim.what);
            claim.columns().try_for_each(|name| column(name, &whose))?;
            for row in claim.rows() {
                self.known_row(row, &whose)?;
            }
            claim.check().with_context(|| whose.clone())?;
        }
        for picture in &self.picture {
            let whose = format!("picture \"{}\"", picture.caption);
            picture.columns().into_iter().try_for_each(|name| column(name, &whose))?;
            for row in picture.rows() {
                self.known_row(row, &whose)?;
            }
            picture.check(self).with_context(|| whose.clone())?;
        }
        for column in &self.column {
            let place = column.place()?;
            let share = matches!(column.value, What::RadiiAbove | What::RadiiBelow);
            ensure!(
                place.is_some() || !share,
                "column `{}` is a share of radii: say which radius, `at = \"8/255\"`",
                column.name
            );
        }
        let fragments = std::iter::once(&self.base).chain(self.scale.values());
        for name in fragments.flat_map(|fragment| &fragment.without) {
            let known = columns.contains(&name.as_str())
                || self.row.iter().any(|row| row.name == *name || row.network == *name);
            ensure!(
                known,
                "without `{name}`: there is no such row, network or column; rows: `{}`; networks: `{}`; columns: `{}`",
                self.names(|row| &row.name),
                self.names(|row| &row.network),
                columns.join("`, `")
            );
        }
        Ok(())
    }

    fn known_row(&self, name: &str, whose: &str) -> anyhow::Result<()> {
        let known = || self.names(|row| &row.name);
        ensure!(self.row(name).is_some(), "{whose}: unknown row `{name}`; known: `{}`", known());
        Ok(())
    }

    /// A name of each row, each once.
    fn names(&self, of: impl Fn(&Row) -> &String) -> String {
        let mut names: Vec<&str> = self.row.iter().map(|row| of(row).as_str()).collect();
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        names.join("`, `")
    }
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

    /// What is wrong with a table of one column and one row, with these lines more in the column and in the row.
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
        let ends = |fault: String, end: &str| assert!(fault.ends_with(end), "{fault}");
        ends(fault("", "", ""), "none");
        ends(fault("", "same_as = \"t:a\"", ""), "none");
        ends(fault("", "same_as = \"t\"", ""), "row `a`: `same_as = \"t\"`: expected TABLE:ROW");
        ends(fault("", "same_as = \"u:a\"", ""), "unknown experiment `u`; known: `quickstart`, `t`");
        ends(fault("", "same_as = \"t:b\"", ""), "row `a`, `same_as`: unknown row `b`; known: `a`");
        ends(
            fault("", "", "[scale.cpu]\nwithout = [\"b\"]"),
            "there is no such row, network or column; rows: `a`; networks: `n`; columns: `c`",
        );
        ends(fault("value = \"radii-above\"", "", ""), "say which radius, `at = \"8/255\"`");
    }
}
