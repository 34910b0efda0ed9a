//! What is to be run for a table: rows, seeds, pipelines, folders.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;
use toml::Table;

use crate::compose::{Book, Version};
use crate::table::Row;

/// The runs of one row.
#[derive(Debug)]
pub struct RowPlan<'a> {
    /// The row.
    pub row: &'a Row,
    /// Folder of its runs, relative to the folder that temper runs in; each run is in `seed-N` below it.
    pub folder: PathBuf,
    /// The runs that are judged, one for each seed.
    pub runs: Vec<Run>,
}

/// A run that is judged.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// The whole pipeline.
    pub pipeline: Table,
    /// The seed and the pipeline of the network on which its transfer attacks are crafted.
    pub second: Option<(u64, Table)>,
}

impl RowPlan<'_> {
    /// The run's folder.
    pub fn run(&self, seed: u64) -> PathBuf {
        self.folder.join(format!("seed-{seed}"))
    }

    /// A file of this table beside the run's folder: its pipeline (`toml`) or its results (`json`).
    pub fn beside(&self, seed: u64, table: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("seed-{seed}.{table}.{extension}"))
    }
}

/// The seed of the network that transfer attacks are crafted on. It does not depend on the number of seeds requested.
pub fn second(seed: u64) -> u64 {
    seed.checked_sub(1).unwrap_or(1)
}

/// Plans the rows named by `only` (all rows if it is empty). An error about an unknown name lists the known ones.
pub fn rows<'a>(
    book: &Book,
    version: Version<'a>,
    only: &[String],
    seeds: u64,
) -> anyhow::Result<Vec<RowPlan<'a>>> {
    let table = version.table;
    if !table.scales.contains(&version.scale) {
        let known: Vec<&str> = table.scales.iter().map(|scale| scale.name()).collect();
        bail!("{} has no scale `{}`; it has `{}`", table.name, version.scale.name(), known.join("`, `"));
    }
    let rows: Vec<&Row> = version.rows().collect();
    if let Some(unknown) = only.iter().find(|name| rows.iter().all(|row| row.name != **name)) {
        let known: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        bail!("{} has no row `{unknown}` at this scale; it has `{}`", table.name, known.join("`, `"));
    }
    let wanted = rows.into_iter().filter(|row| only.is_empty() || only.contains(&row.name));
    wanted.map(|row| plan(book, version, row, seeds)).collect()
}

/// The runs of a row.
pub fn plan<'a>(book: &Book, version: Version<'a>, row: &'a Row, seeds: u64) -> anyhow::Result<RowPlan<'a>> {
    let (owner, name) = row.elsewhere()?.unwrap_or((&version.table.name, &row.name));
    let folder = Path::new("runs/reproduce").join(owner).join(version.part()).join(name);
    let mut plan = RowPlan { row, folder, runs: vec![] };
    for seed in 0..seeds {
        let other = second(seed);
        let pipeline = book.pipeline(version, row, seed, &plan.run(other).display().to_string())?;
        let second = match book.needs_second(version) {
            true => Some((other, book.training(version, row, other)?)),
            false => None,
        };
        plan.runs.push(Run { seed, pipeline, second });
    }
    Ok(plan)
}

/// Size of all files of a folder.
pub fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes(&entry.path()),
            _ => entry.metadata().map_or(0, |data| data.len()),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_network_does_not_change_with_more_seeds() {
        assert_eq!([0, 1, 2, 3].map(second), [1, 0, 1, 2]);
    }
}
