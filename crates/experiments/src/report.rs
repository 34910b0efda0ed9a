//! The results of a table (its runs, numbers and claims), and their written form.

use temper_results::DatasetSummary;

use crate::claim::{Claim, Judgement, Verdict};
use crate::compose::Version;
use crate::execute::{Finished, Place, finished, seen};
use crate::plan::RowPlan;
use crate::statistics::{Estimate, Seen, estimates};
use crate::table::{Column, Row, Scale};
use crate::written::{self, CellEntry, CostEntry, PictureEntry, RunEntry, Warned, WrittenReport};

/// A table with all its results.
#[derive(Debug)]
pub struct Report<'a> {
    version: Version<'a>,
    command: String,
    columns: Vec<&'a Column>,
    rows: Vec<Known<'a>>,
    claims: Vec<Told<'a>>,
}

/// A row with its results.
#[derive(Debug)]
struct Known<'a> {
    row: &'a Row,
    folder: String,
    runs: Vec<Finished>,
    /// One estimate for each column.
    cells: Vec<Option<Estimate>>,
}

/// A claim, judged by the paper's numbers and by ours.
#[derive(Debug)]
struct Told<'a> {
    what: &'a str,
    paper: Judgement,
    ours: Judgement,
}

impl<'a> Report<'a> {
    /// Reads the existing runs of all rows. `command` is the command that made them.
    pub fn of(
        place: &Place,
        version: Version<'a>,
        plans: &[RowPlan<'a>],
        command: &str,
    ) -> anyhow::Result<Self> {
        let columns: Vec<&Column> = version.table.column.iter().filter(|c| !version.lacks(&c.name)).collect();
        let mut rows = vec![];
        for plan in plans {
            let runs = finished(place, plan, &version.table.name)?;
            rows.push(Known {
                row: plan.row,
                folder: plan.folder.display().to_string(),
                runs,
                cells: vec![],
            });
        }
        let seen = seen_of(&rows, &columns)?;
        for (column, all) in columns.iter().zip(seen) {
            let found = estimates(&all, column.value.is_share());
            rows.iter_mut().zip(found).for_each(|(row, cell)| row.cells.push(cell));
        }
        let mut report = Self { version, command: command.into(), columns, rows, claims: vec![] };
        report.claims = report.judged();
        Ok(report)
    }

    /// The first finished run of a row.
    pub fn first(&self, row: &str) -> Option<&Finished> {
        self.rows.iter().find(|known| known.row.name == row)?.runs.first()
    }

    /// The estimate of a row's column.
    pub fn cell(&self, row: &str, column: &str) -> Option<&Estimate> {
        let known = self.rows.iter().find(|known| known.row.name == row)?;
        known.cells.get(self.columns.iter().position(|c| c.name == column)?)?.as_ref()
    }

    /// The table's columns.
    pub fn columns(&self) -> &[&'a Column] {
        &self.columns
    }

    fn judged(&self) -> Vec<Told<'a>> {
        let ours = |row: &str, column: &str| self.cell(row, column).cloned();
        let paper = |row: &str, column: &str| {
            self.version.table.row(row)?.expected.get(column).copied().map(Estimate::exact)
        };
        // Claims about rows or columns that the scale leaves out are skipped.
        let there = |claim: &&Claim| {
            claim.rows().all(|row| self.rows.iter().any(|known| known.row.name == row))
                && claim.columns().all(|column| self.columns.iter().any(|c| c.name == column))
        };
        let claims = self.version.table.claim.iter().filter(there);
        claims
            .map(|claim| Told { what: &claim.what, paper: claim.judge(&paper), ours: claim.judge(&ours) })
            .collect()
    }

    /// Whether a claim fails.
    pub fn fails(&self) -> bool {
        self.claims.iter().any(|told| told.ours.verdict == Verdict::Fails)
    }

    /// Whether our number agrees with the paper's; only reported if both are from the same experiment.
    fn verdict(&self, paper: Option<f64>, ours: Option<&Estimate>) -> &'static str {
        match (self.version.scale, paper, ours.and_then(|ours| ours.interval)) {
            (_, _, None) | (_, None, _) => "-",
            (Scale::Cpu | Scale::CpuFashion | Scale::Smoke, ..) => "other scale",
            (Scale::Paper, Some(paper), Some([_, high])) if high < paper => "below",
            (Scale::Paper, Some(paper), Some([low, _])) if low > paper => "above",
            (Scale::Paper, ..) => "agrees",
        }
    }

    /// The written report, with pictures that lie beside it.
    pub fn written(&self, pictures: Vec<PictureEntry>) -> WrittenReport {
        let judged = |judged: &Judgement| written::VerdictEntry {
            verdict: judged.verdict.to_string(),
            difference: judged.difference,
            interval: judged.interval,
            apart: judged.apart,
        };
        let claim = |told: &Told| written::ClaimEntry {
            claim: told.what.into(),
            paper: judged(&told.paper),
            ours: judged(&told.ours),
        };
        WrittenReport {
            table: self.version.table.name.clone(),
            title: self.version.table.title.clone(),
            scale: self.version.scale,
            reading: self.version.reading,
            command: self.command.clone(),
            columns: self.columns.iter().map(|column| column.name.clone()).collect(),
            rows: self.rows.iter().map(|known| self.row(known)).collect(),
            claims: self.claims.iter().map(claim).collect(),
            pictures,
        }
    }

    fn row(&self, known: &Known) -> written::RowEntry {
        let cell = |(column, cell): (&&Column, &Option<Estimate>)| {
            let (paper, cell) = (known.row.expected.get(&column.name).copied(), cell.as_ref());
            let written = CellEntry {
                paper,
                ours: cell.map(|c| c.mean),
                interval: cell.and_then(|c| c.interval),
                n: cell.and_then(|c| c.n),
                seeds: cell.map(|c| c.seeds.clone()).unwrap_or_default(),
                verdict: self.verdict(paper, cell).into(),
            };
            (column.name.clone(), written)
        };
        written::RowEntry {
            name: known.row.name.clone(),
            network: known.row.network.clone(),
            recipe: known.row.recipe.clone(),
            folder: known.folder.clone(),
            cells: self.columns.iter().zip(&known.cells).map(cell).collect(),
            runs: known.runs.iter().map(run).collect(),
        }
    }
}

/// The values of every run for every column: by column, then by row, then by seed. A run's records are read once.
fn seen_of(rows: &[Known], columns: &[&Column]) -> anyhow::Result<Vec<Vec<Vec<Seen>>>> {
    let mut all = vec![vec![vec![]; rows.len()]; columns.len()];
    for (i, row) in rows.iter().enumerate() {
        for run in &row.runs {
            let records = temper_results::Records::read(&run.records)?;
            for (column, all) in columns.iter().zip(&mut all) {
                all[i].push(seen(run, column, &records)?);
            }
        }
    }
    Ok(all)
}

/// A run in its written form.
fn run(run: &Finished) -> RunEntry {
    let results = &run.results;
    let each = results.evaluations.iter().map(|evaluation| (&*evaluation.name, &evaluation.warnings));
    let all = std::iter::once(("every evaluation", &results.warnings)).chain(each);
    let warnings = all.filter(|(_, warnings)| !warnings.is_empty());
    RunEntry {
        seed: run.seed,
        versions: results.versions.clone(),
        machine: Some(results.machine.clone()),
        dataset: dataset(&results.dataset),
        networks: results.networks.clone(),
        cost: cost(run),
        commands: run.commands.clone(),
        warnings: warnings
            .map(|(evaluation, warnings)| Warned {
                evaluation: evaluation.into(),
                warnings: warnings.clone(),
            })
            .collect(),
    }
}

/// The cost of a run.
fn cost(run: &Finished) -> CostEntry {
    let training = run.results.training.as_ref();
    let evaluations = &run.results.evaluations;
    CostEntry {
        epochs: training.map(|of| of.epochs as u64),
        training_seconds: training.map(|of| of.seconds),
        training_forwards_per_image: training.map(|of| of.forwards_per_sample),
        training_backwards_per_image: training.map(|of| of.backwards_per_sample),
        judging_seconds: evaluations.iter().map(|e| e.seconds).sum(),
        judging_forwards: evaluations.iter().map(|e| e.forwards).sum(),
        judging_backwards: evaluations.iter().map(|e| e.backwards).sum(),
        disk_bytes: run.disk,
    }
}

/// The data set of a run, without the folder in which the machine stores it, because reports are made for others.
fn dataset(of: &DatasetSummary) -> DatasetSummary {
    let mut of = of.clone();
    for split in [&mut of.train, &mut of.held_out, &mut of.test].into_iter().flatten() {
        let end = split.origin.find([',', '(']).unwrap_or(split.origin.len());
        let (path, rest) = split.origin.split_at(end);
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        split.origin = format!("{name}{rest}");
    }
    of
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_folder_of_a_machine_is_in_a_report() {
        let of = json!({
            "name": "cifar10",
            "train": { "origin": "/home/me/my sets/cifar-10-batches-bin (binary version), 10000 of 50000", "n": 10000 },
            "test": { "origin": "data/fashion-mnist", "n": 5 },
        });
        let of = dataset(&serde_json::from_value(of).unwrap());
        let (train, test) = (of.train.unwrap(), of.test.unwrap());
        assert_eq!(train.origin, "cifar-10-batches-bin (binary version), 10000 of 50000");
        assert_eq!((&*test.origin, &*of.name, test.n), ("fashion-mnist", "cifar10", 5));
    }
}
