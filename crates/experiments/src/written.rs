//! Written reports: `TABLE.json` for programs, `TABLE.md` for people, and a section of `report.html`. All are
//! made from the contents of the JSON file, so that a page shows the measurements even if the runs are stored
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use temper_report::Table as Printed;
use temper_results::{DatasetSummary, Machine, NetworkSummary, Versions, Warning};

use crate::execute::save;
use crate::fragment::Reading;
use crate::table::Scale;

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

Each in the folder that `runs` lies in; `temper reproduce` wrote the pipelines.

```sh
";

/// The results of a table or figure. Keys may be added but are never renamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrittenReport {
    /// Name of its file in `configs/tables`.
    pub table: String,
    /// What it shows.
    pub title: String,
    /// How much was run.
    pub scale: Scale,
    /// Reading of the paper.
    pub reading: Reading,
    /// The command that made it.
    pub command: String,
    /// Names of its columns, in the paper's order.
    pub columns: Vec<String>,
    /// Its rows, in the paper's order.
    pub rows: Vec<RowEntry>,
    /// The paper's claims.
    pub claims: Vec<ClaimEntry>,
    /// Its pictures.
    #[serde(default)]
    pub pictures: Vec<PictureEntry>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowEntry {
    /// Its name.
    pub name: String,
    /// The paper's network.
    pub network: String,
    /// The recipe.
    pub recipe: String,
    /// Folder of its runs, relative to the folder that temper ran in.
    pub folder: String,
    /// Its numbers, by column.
    pub cells: BTreeMap<String, CellEntry>,
    /// Its runs, one for each seed; empty if the row was not run.
    pub runs: Vec<RunEntry>,
}

/// A number: accuracies in per cent, radii in 1/255.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CellEntry {
    /// The paper's number.
    pub paper: Option<f64>,
    /// Our number, the mean over the seeds.
    pub ours: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<[f64; 2]>,
    /// Images that each seed was judged on.
    pub n: Option<usize>,
    /// Number of each seed.
    pub seeds: Vec<f64>,
    /// Whether our number agrees with the paper's.
    pub verdict: String,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEntry {
    /// Its seed.
    pub seed: u64,
    /// Versions of temper and candle.
    pub versions: Versions,
    /// The machine it ran on, if recorded.
    pub machine: Option<Machine>,
    /// Its data set.
    pub dataset: DatasetSummary,
    /// Its networks, one for each set of weights that was judged.
    pub networks: Vec<NetworkSummary>,
    /// Its cost.
    pub cost: CostEntry,
    /// The commands that make it.
    pub commands: Vec<String>,
    /// Reasons not to believe its numbers.
    pub warnings: Vec<Warned>,
}

/// The cost of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostEntry {
    /// Epochs of training.
    pub epochs: Option<u64>,
    /// Seconds of training.
    pub training_seconds: Option<f64>,
    /// Forward passes of training, per image of the training set.
    pub training_forwards_per_image: Option<f64>,
    /// Backward passes of training, per image of the training set.
    pub training_backwards_per_image: Option<f64>,
    /// Seconds of all evaluations.
    pub judging_seconds: f64,
    /// Forward passes of all evaluations, over all images.
    pub judging_forwards: u64,
    /// Backward passes of all evaluations.
    pub judging_backwards: u64,
    /// Bytes of the run's folder and of the files kept beside it.
    pub disk_bytes: u64,
}

/// Reasons not to believe an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warned {
    /// The evaluation.
    pub evaluation: String,
    /// The findings of its checks; earlier reports contain only their texts.
    pub warnings: Vec<Warning>,
}

/// A claim, judged by the paper's numbers and by ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimEntry {
    /// The claim in words.
    pub claim: String,
    /// The verdict by the paper's numbers.
    pub paper: VerdictEntry,
    /// The verdict by our numbers.
    pub ours: VerdictEntry,
}

/// The verdict on a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictEntry {
    /// The verdict in words.
    pub verdict: String,
    /// The difference, in the column's unit.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<[f64; 2]>,
    /// Whether two rows are compared, but not image by image.
    #[serde(default)]
    pub apart: bool,
}

/// A picture, stored beside the report as SVG and PNG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureEntry {
    /// Its file name without extension.
    pub name: String,
    /// What it shows.
    pub caption: String,
}

impl WrittenReport {
    /// Reads `TABLE.json`.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| {
            format!("{} is no report of this temper; `temper reproduce` writes it anew", file.display())
        })
    }

    /// Writes both files.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        save(&folder.join(format!("{}.md", self.table)), self.markdown().as_bytes())?;
        let json = serde_json::to_string_pretty(self).context("the report is no JSON")? + "\n";
        save(&folder.join(format!("{}.json", self.table)), json.as_bytes())
    }

    /// Its heading.
    pub fn heading(&self) -> String {
        let reading = match self.reading {
            Reading::Paper => "",
            Reading::AuthorsCode => "-authors-code",
        };
        format!("{}: {}, {}{reading} scale", self.table, self.title, self.scale.name())
    }

    /// A note that explains its scale.
    pub fn note(&self) -> &'static str {
        match self.scale {
            Scale::Paper => "",
            Scale::Cpu => CPU,
            Scale::CpuFashion => FASHION,
            Scale::Smoke => SMOKE,
        }
    }

    /// A note that explains the star beside an interval; empty if there is no star.
    pub fn apart(&self) -> &'static str {
        if self.claims.iter().any(|claim| claim.ours.apart) { APART } else { "" }
    }

    /// The table of its numbers.
    pub fn numbers(&self) -> Printed {
        let mut table =
            Printed::new(&["row", "column", "paper", "ours", "95 % interval", "n", "seeds", "verdict"]);
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.2}"));
        let none = CellEntry { verdict: "-".into(), ..CellEntry::default() };
        for row in &self.rows {
            for column in &self.columns {
                let cell = row.cells.get(column).unwrap_or(&none);
                table.row(vec![
                    row.name.clone(),
                    column.clone(),
                    number(cell.paper),
                    number(cell.ours),
                    range(cell.interval),
                    cell.n.map_or_else(|| "-".into(), |n| n.to_string()),
                    cell.seeds.len().to_string(),
                    cell.verdict.clone(),
                ]);
            }
        }
        table
    }

    /// The table of its claims.
    pub fn judged(&self) -> Printed {
        let mut table = Printed::new(&["claim", "paper", "ours", "95 % interval", "verdict"]);
        let signed = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:+.2}"));
        for ClaimEntry { claim, paper, ours } in &self.claims {
            let apart = if ours.apart { " *" } else { "" };
            table.row(vec![
                claim.clone(),
                signed(paper.difference),
                signed(ours.difference),
                range(ours.interval) + apart,
                ours.verdict.clone(),
            ]);
        }
        table
    }

    /// The table of the cost of each run.
    pub fn costs(&self) -> Printed {
        let mut table = Printed::new(&[
            "row",
            "seed",
            "training, s",
            "judging, s",
            "fwd/image",
            "bwd/image",
            "judging fwd",
            "judging bwd",
            "MiB",
        ]);
        let number =
            |value: Option<f64>, digits| value.map_or_else(|| "-".into(), |v| format!("{v:.digits$}"));
        for (row, run) in self.runs() {
            let cost = &run.cost;
            table.row(vec![
                row.name.clone(),
                run.seed.to_string(),
                number(cost.training_seconds, 0),
                number(Some(cost.judging_seconds), 0),
                number(cost.training_forwards_per_image, 1),
                number(cost.training_backwards_per_image, 1),
                cost.judging_forwards.to_string(),
                cost.judging_backwards.to_string(),
                number(Some(cost.disk_bytes as f64 / 1024.0 / 1024.0), 1),
            ]);
        }
        table
    }

    /// The machines of the runs, as far as recorded.
    pub fn machines(&self) -> String {
        let told = self.runs().filter_map(|(_, run)| {
            let machine = run.machine.as_ref()?;
            Some(format!("{} threads of {}", machine.threads, machine.processor))
        });
        let all: BTreeSet<String> = told.collect();
        match all.is_empty() {
            true => String::new(),
            false => format!("\nRun on {}.\n", all.into_iter().collect::<Vec<_>>().join("; ")),
        }
    }

    /// The warnings about its numbers, one line each.
    pub fn warnings(&self) -> Vec<String> {
        let all =
            self.runs().flat_map(|(row, run)| run.warnings.iter().map(move |warned| (row, run, warned)));
        all.flat_map(|(row, run, Warned { evaluation, warnings })| {
            warnings.iter().map(move |warning| {
                format!("{}, seed {}, `{evaluation}`: {}", row.name, run.seed, warning.marked())
            })
        })
        .collect()
    }

    fn runs(&self) -> impl Iterator<Item = (&RowEntry, &RunEntry)> {
        self.rows.iter().flat_map(|row| row.runs.iter().map(move |run| (row, run)))
    }

    /// The report as text for the terminal.
    pub fn text(&self) -> String {
        let claims = match self.claims.is_empty() {
            true => String::new(),
            false => format!("{}\n", self.judged()),
        };
        let mut text = format!("\n{}\n\n{}\n{claims}", self.heading(), self.numbers());
        for warning in self.warnings() {
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }

    /// The report in Markdown; its pictures lie beside it.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\nMade by `{}`.\n", self.heading(), self.command);
        text += self.note();
        text += NUMBERS;
        text += &markdown(&self.numbers());
        let warnings = self.warnings();
        if !warnings.is_empty() {
            let _ = write!(text, "\n## Warnings\n\n- {}\n", warnings.join("\n- "));
        }
        if !self.claims.is_empty() {
            text += CLAIMS;
            text += &markdown(&self.judged());
            text += self.apart();
        }
        for PictureEntry { name, caption } in &self.pictures {
            let _ = write!(text, "\n![{caption}]({name}.png)\n\n{caption}\n");
        }
        text += COST;
        text += &markdown(&self.costs());
        text += &self.machines();
        let missing = self.rows.iter().filter(|row| row.runs.is_empty());
        let missing: Vec<&str> = missing.map(|row| row.name.as_str()).collect();
        if !missing.is_empty() {
            let _ = write!(text, "\nNot run: {}.\n", missing.join(", "));
        }
        text += COMMANDS;
        for command in self.runs().flat_map(|(_, run)| &run.commands) {
            let _ = writeln!(text, "{command}");
        }
        text + "```\n"
    }
}

fn range(interval: Option<[f64; 2]>) -> String {
    interval.map_or_else(|| "-".into(), |[low, high]| format!("{low:.2} to {high:.2}"))
}

/// A table in markdown.
fn markdown(table: &Printed) -> String {
    let mut text = String::from("\n");
    for (i, cells) in table.rows().iter().enumerate() {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if i == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn warnings_and_pipes_are_in_the_markdown() {
        let severe = json!({ "id": "a", "severity": "severe", "text": "too high", "advice": "take another" });
        let cost = json!({ "judging_seconds": 1.0, "judging_forwards": 2, "judging_backwards": 3, "disk_bytes": 1_048_576 });
        let run = json!({
            "seed": 0, "versions": { "temper": "0", "candle": "0" }, "machine": { "threads": 2, "processor": "P" },
            "dataset": { "name": "d" }, "networks": [], "cost": cost,
            "commands": ["temper run a"], "warnings": [{ "evaluation": "pgd", "warnings": ["steps that do not reach the radius", severe] }],
        });
        let cell = json!({ "paper": 1.0, "ours": 2.0, "interval": [1.5, 2.5], "n": 10, "seeds": [2.0], "verdict": "above" });
        let row = json!({ "name": "a|b", "network": "n", "recipe": "r", "folder": "f", "cells": { "c": cell }, "runs": [run] });
        let report: WrittenReport = serde_json::from_value(json!({
            "table": "t", "title": "T", "scale": "paper", "reading": "authors-code", "command": "x", "columns": ["c", "d"],
            "rows": [row], "claims": [],
        }))
        .unwrap();
        let text = report.markdown();
        for line in [
            "# t: T, paper-authors-code scale",
            "| a\\|b | c | 1.00 | 2.00 | 1.50 to 2.50 | 10 | 1 | above |",
            "| a\\|b | d | - | - | - | - | 0 | - |",
            "- a|b, seed 0, `pgd`: steps that do not reach the radius",
            "- a|b, seed 0, `pgd`: severe: too high: take another",
            "| a\\|b | 0 | - | 1 | - | - | 2 | 3 | 1.0 |",
            "Run on 2 threads of P.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
