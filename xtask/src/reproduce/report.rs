//! What came out, as `TABLE.md` for people and `TABLE.json` for programs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value, json};
use temper_report::Table as Printed;

use super::claim::{Claim, Judged, Verdict};
use super::compose::Version;
use super::execute::{Finished, Place, finished, seen, write};
use super::plan::RowPlan;
use super::statistics::{Estimate, Seen, estimates};
use super::table::{Column, Row, Scale};

const CPU: &str = "
A smaller experiment: a small network in the place of the paper's, on a part of the data. Its numbers do not compare with the
paper's, its claims do.
";
const FASHION: &str = "
A smaller experiment: a small network in the place of the paper's, on a part of Fashion-MNIST in the place of CIFAR-10. Its
numbers do not compare with the paper's, its claims do.
";
const SMOKE: &str = "
A run of seconds on embedded images: it shows that everything works, and nothing of the paper.
";
const NUMBERS: &str = "
Accuracies in per cent, radii in 1/255. Each seed is judged on the same n images; an interval joins the images' (Wilson) and the
seeds' (Student's t, the spread pooled over the rows of a column). With one seed it knows nothing of the spread between seeds.
";
const CLAIMS: &str = "
## Claims

Differences, in the column's unit; of rows on the same images, image by image. A claim holds where the whole interval of the
difference does, fails where none of it does.
";
const APART: &str = "
Not image by image where a * stands: the rows were judged on different images, or what each gave is not at hand.
";
const COST: &str = "
## Cost

Passes of training are summed over epochs, an image of the training set; those of judging are counts over all images. A network
that was only trained to craft on took that training once more.
";
const COMMANDS: &str = "
## Commands

Each in the folder that `runs` lies in; `cargo xtask reproduce` wrote the pipelines.

```sh
";

/// A table with all that is known of it.
#[derive(Debug)]
pub struct Report<'a> {
    version: Version<'a>,
    command: String,
    columns: Vec<&'a Column>,
    rows: Vec<Known<'a>>,
    claims: Vec<Told<'a>>,
}

/// A row with what was found.
#[derive(Debug)]
struct Known<'a> {
    row: &'a Row,
    folder: String,
    runs: Vec<Finished>,
    /// One a column.
    cells: Vec<Option<Estimate>>,
}

/// A claim, judged by the paper's numbers and by ours.
#[derive(Debug)]
struct Told<'a> {
    what: &'a str,
    paper: Judged,
    ours: Judged,
}

impl<'a> Report<'a> {
    /// Reads the runs of all rows that are there. `command` made them.
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
        for column in &columns {
            let all: Vec<Vec<Seen>> = rows
                .iter()
                .map(|row| row.runs.iter().map(|run| seen(run, column)).collect())
                .collect::<anyhow::Result<_>>()?;
            let found = estimates(&all, column.value.is_share());
            rows.iter_mut().zip(found).for_each(|(row, cell)| row.cells.push(cell));
        }
        let mut report = Self { version, command: command.into(), columns, rows, claims: vec![] };
        report.claims = report.judged();
        Ok(report)
    }

    /// The first seed of a row that was run.
    pub fn first(&self, row: &str) -> Option<&Finished> {
        self.rows.iter().find(|known| known.row.name == row)?.runs.first()
    }

    /// What is known of a row's column.
    pub fn cell(&self, row: &str, column: &str) -> Option<&Estimate> {
        let known = self.rows.iter().find(|known| known.row.name == row)?;
        known.cells.get(self.columns.iter().position(|c| c.name == column)?)?.as_ref()
    }

    /// Its columns.
    pub fn columns(&self) -> &[&'a Column] {
        &self.columns
    }

    /// Seeds of the row that has most of them.
    pub fn seeds(&self) -> usize {
        self.rows.iter().map(|known| known.runs.len()).max().unwrap_or(0)
    }

    fn judged(&self) -> Vec<Told<'a>> {
        let ours = |row: &str, column: &str| self.cell(row, column).cloned();
        let paper = |row: &str, column: &str| {
            self.version.table.row(row)?.expected.get(column).copied().map(Estimate::exact)
        };
        // Of what a scale leaves out nothing is claimed there.
        let there = |claim: &&Claim| {
            claim.rows().all(|row| self.rows.iter().any(|known| known.row.name == row))
                && claim.columns().all(|column| self.columns.iter().any(|c| c.name == column))
        };
        let claims = self.version.table.claim.iter().filter(there);
        claims
            .map(|claim| Told { what: &claim.what, paper: claim.judge(&paper), ours: claim.judge(&ours) })
            .collect()
    }

    /// Does a claim fail?
    pub fn fails(&self) -> bool {
        self.claims.iter().any(|told| told.ours.verdict == Verdict::Fails)
    }

    /// Does our number agree with the paper's? Only where it is the same experiment.
    fn verdict(&self, paper: Option<f64>, ours: Option<&Estimate>) -> &'static str {
        match (self.version.scale, paper, ours.and_then(|ours| ours.interval)) {
            (_, _, None) | (_, None, _) => "-",
            (Scale::Cpu | Scale::CpuFashion | Scale::Smoke, ..) => "other scale",
            (Scale::Paper, Some(paper), Some([_, high])) if high < paper => "below",
            (Scale::Paper, Some(paper), Some([low, _])) if low > paper => "above",
            (Scale::Paper, ..) => "agrees",
        }
    }

    /// The heads and lines of the table of numbers.
    pub(super) fn numbers(&self) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let mut lines = vec![];
        for known in &self.rows {
            for (column, cell) in self.columns.iter().zip(&known.cells) {
                let paper = known.row.expected.get(&column.name).copied();
                let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.2}"));
                let cell = cell.as_ref();
                lines.push(vec![
                    known.row.name.clone(),
                    column.name.clone(),
                    number(paper),
                    number(cell.map(|c| c.mean)),
                    cell.and_then(|c| c.interval).map_or_else(|| "-".into(), range),
                    cell.and_then(|c| c.n).map_or_else(|| "-".into(), |n| n.to_string()),
                    cell.map_or(0, |c| c.seeds.len()).to_string(),
                    self.verdict(paper, cell).into(),
                ]);
            }
        }
        (vec!["row", "column", "paper", "ours", "95 % interval", "n", "seeds", "verdict"], lines)
    }

    pub(super) fn claims(&self) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let signed = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:+.2}"));
        let line = |told: &Told| {
            let apart = if told.ours.apart { " *" } else { "" };
            vec![
                told.what.to_string(),
                signed(told.paper.difference),
                signed(told.ours.difference),
                told.ours.interval.map_or_else(|| "-".into(), |ends| range(ends) + apart),
                told.ours.verdict.to_string(),
            ]
        };
        let heads = vec!["claim", "paper", "ours", "95 % interval", "verdict"];
        (heads, self.claims.iter().map(line).collect())
    }

    /// What the star beside an interval means, if there is one.
    pub(super) fn apart(&self) -> &'static str {
        if self.claims.iter().any(|told| told.ours.apart) { APART } else { "" }
    }

    pub(super) fn costs(&self) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let mut lines = vec![];
        for known in &self.rows {
            for run in &known.runs {
                let cost = cost(run);
                let number =
                    |key: &str, digits| format!("{:.digits$}", cost[key].as_f64().unwrap_or(f64::NAN));
                lines.push(vec![
                    known.row.name.clone(),
                    run.seed.to_string(),
                    number("training_seconds", 0),
                    number("judging_seconds", 0),
                    number("training_forwards_per_image", 1),
                    number("training_backwards_per_image", 1),
                    cost["judging_forwards"].to_string(),
                    cost["judging_backwards"].to_string(),
                    format!("{:.1}", run.disk as f64 / 1024.0 / 1024.0),
                ]);
            }
        }
        let heads = vec![
            "row",
            "seed",
            "training, s",
            "judging, s",
            "fwd/image",
            "bwd/image",
            "judging fwd",
            "judging bwd",
            "MiB",
        ];
        (heads, lines)
    }

    /// What the runs were made on, as far as they say it.
    pub(super) fn machines(&self) -> String {
        let runs = self.rows.iter().flat_map(|known| &known.runs);
        let told = runs.filter_map(|run| {
            let machine = &run.json["machine"];
            Some(format!("{} threads of {}", machine["threads"].as_u64()?, machine["processor"].as_str()?))
        });
        let all: BTreeSet<String> = told.collect();
        match all.is_empty() {
            true => String::new(),
            false => format!("\nRun on {}.\n", all.into_iter().collect::<Vec<_>>().join("; ")),
        }
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let claims = match self.claims.is_empty() {
            true => String::new(),
            false => format!("{}\n", printed(self.claims())),
        };
        format!("\n{}\n\n{}\n{claims}", self.title(), printed(self.numbers()))
    }

    pub(super) fn title(&self) -> String {
        format!("{}: {}, {} scale", self.version.table.name, self.version.table.title, self.version.part())
    }

    /// What its scale means.
    pub fn note(&self) -> &'static str {
        match self.version.scale {
            Scale::Paper => "",
            Scale::Cpu => CPU,
            Scale::CpuFashion => FASHION,
            Scale::Smoke => SMOKE,
        }
    }

    /// What made it.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Markdown, with pictures that lie beside it: their names, and what they show.
    pub fn markdown(&self, pictures: &[(String, &str)]) -> String {
        let mut text = format!("# {}\n\nMade by `{}`.\n", self.title(), self.command);
        text += self.note();
        text += NUMBERS;
        text += &markdown(self.numbers());
        if !self.claims.is_empty() {
            text += CLAIMS;
            text += &markdown(self.claims());
            text += self.apart();
        }
        for (name, caption) in pictures {
            let _ = write!(text, "\n![{caption}]({name}.png)\n\n{caption}\n");
        }
        text += COST;
        text += &markdown(self.costs());
        text += &self.machines();
        let missing: Vec<&str> = self
            .rows
            .iter()
            .filter(|known| known.runs.is_empty())
            .map(|known| known.row.name.as_str())
            .collect();
        if !missing.is_empty() {
            let _ = write!(text, "\nNot run: {}.\n", missing.join(", "));
        }
        text += COMMANDS;
        for command in self.rows.iter().flat_map(|known| &known.runs).flat_map(|run| &run.commands) {
            let _ = writeln!(text, "{command}");
        }
        text + "```\n"
    }

    /// JSON: keys may be added, none is renamed.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|known| self.row_json(known)).collect();
        let judged = |judged: &Judged| json!({ "verdict": judged.verdict.to_string(), "difference": judged.difference, "interval": judged.interval, "apart": judged.apart });
        let claims: Vec<Value> = self
            .claims
            .iter()
            .map(|told| json!({ "claim": told.what, "paper": judged(&told.paper), "ours": judged(&told.ours) }))
            .collect();
        json!({
            "table": self.version.table.name,
            "title": self.version.table.title,
            "scale": self.version.scale.name(),
            "reading": if self.version.part().ends_with("authors-code") { "authors-code" } else { "paper" },
            "command": self.command,
            "columns": self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
            "rows": rows,
            "claims": claims,
        })
    }

    fn row_json(&self, known: &Known) -> Value {
        let mut cells = Map::new();
        for (column, cell) in self.columns.iter().zip(&known.cells) {
            let paper = known.row.expected.get(&column.name).copied();
            let cell = cell.as_ref();
            let value = json!({
                "paper": paper,
                "ours": cell.map(|c| c.mean),
                "interval": cell.and_then(|c| c.interval),
                "n": cell.and_then(|c| c.n),
                "seeds": cell.map(|c| c.seeds.clone()).unwrap_or_default(),
                "verdict": self.verdict(paper, cell),
            });
            cells.insert(column.name.clone(), value);
        }
        let runs: Vec<Value> = known
            .runs
            .iter()
            .map(|run| {
                let doubted = run.results.evaluations.iter().filter(|e| !e.doubts.is_empty());
                let doubts = doubted.map(|e| json!({ "evaluation": e.name, "doubts": e.doubts }));
                json!({
                    "seed": run.seed,
                    "versions": run.json["versions"],
                    "machine": run.json["machine"],
                    "dataset": dataset(&run.json["dataset"]),
                    "model": run.json["model"],
                    "cost": cost(run),
                    "commands": run.commands,
                    "doubts": doubts.collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "name": known.row.name,
            "network": known.row.network,
            "recipe": known.row.recipe,
            "folder": known.folder,
            "cells": cells,
            "runs": runs,
        })
    }

    /// Writes both files.
    pub fn write(&self, folder: &Path, pictures: &[(String, &str)]) -> anyhow::Result<()> {
        let name = &self.version.table.name;
        write(&folder.join(format!("{name}.md")), self.markdown(pictures).as_bytes())?;
        let json = serde_json::to_string_pretty(&self.json()).context("the report is no JSON")? + "\n";
        write(&folder.join(format!("{name}.json")), json.as_bytes())
    }
}

/// What a run took.
fn cost(run: &Finished) -> Value {
    let training = &run.json["training"];
    let evaluations = &run.results.evaluations;
    json!({
        "epochs": training["epochs"],
        "training_seconds": training["seconds"],
        "training_forwards_per_image": training["forwards_per_sample"],
        "training_backwards_per_image": training["backwards_per_sample"],
        "judging_seconds": evaluations.iter().map(|e| e.seconds).sum::<f64>(),
        "judging_forwards": evaluations.iter().map(|e| e.forwards).sum::<u64>(),
        "judging_backwards": evaluations.iter().map(|e| e.backwards).sum::<u64>(),
        "disk_bytes": run.disk,
    })
}

/// What a run says of its images, without where its machine keeps them: reports are for others.
fn dataset(told: &Value) -> Value {
    let mut told = told.clone();
    for split in ["train", "test"] {
        let Some(origin) = told[split]["origin"].as_str() else { continue };
        let end = origin.find([',', '(']).unwrap_or(origin.len());
        let (path, rest) = origin.split_at(end);
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        told[split]["origin"] = format!("{name}{rest}").into();
    }
    told
}

/// A table as text.
pub(super) fn printed((heads, lines): (Vec<&str>, Vec<Vec<String>>)) -> Printed {
    let mut table = Printed::new(&heads);
    for line in lines {
        table.row(line);
    }
    table
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{low:.2} to {high:.2}")
}

/// A table in markdown: numbers to the right but for the first two columns.
fn markdown((heads, lines): (Vec<&str>, Vec<Vec<String>>)) -> String {
    let mut text = format!("\n| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for line in lines {
        let cells: Vec<String> = line.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_folder_of_a_machine_is_in_a_report() {
        let told = json!({
            "name": "cifar10",
            "train": { "origin": "/home/me/my sets/cifar-10-batches-bin (binary version), 10000 of 50000", "n": 10000 },
            "test": { "origin": "data/fashion-mnist", "n": 5 },
        });
        let told = dataset(&told);
        assert_eq!(told["train"]["origin"], "cifar-10-batches-bin (binary version), 10000 of 50000");
        assert_eq!((&told["test"]["origin"], &told["name"]), (&json!("fashion-mnist"), &json!("cifar10")));
        assert_eq!(told["test"]["n"], 5);
    }
}
