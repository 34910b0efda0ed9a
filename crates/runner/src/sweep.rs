//! `temper sweep`: a pipeline with several values and seeds, one table of all results.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use temper_experiments::statistics::{Estimate, Seen, estimates};
use temper_report::Table;
use temper_results::{Evaluation, Results};

use crate::config::{BadConfig, Pipeline};
use crate::interrupt::Interrupt;
use crate::output::{Logging, inform, say};
use crate::report::side_by_side;
use crate::run_dir::CONFIG;

/// Options of `temper sweep`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The pipeline
    file: PathBuf,
    /// A key with the values to try, separated by commas: --set train.epsilon.fixed.radius=4/255,8/255; several keys
    /// are combined
    #[arg(long = "set", value_name = "KEY=VALUES")]
    sets: Vec<String>,
    /// Number of seeds for each combination, from the pipeline's seed on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    #[command(flatten)]
    logging: Logging,
    /// Folder of the runs, instead of runs/NAME-OF-FILE-sweep
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    options.logging.choose();
    let combinations = combinations(&options.sets)?;
    different_folders(&combinations)?;
    // All combinations are checked before the first one runs.
    let mut first = None;
    for combination in &combinations {
        let seed = Pipeline::load(&options.file, combination)?.seed;
        first.get_or_insert(seed);
    }
    let first = first.unwrap_or(0);
    let last = first.checked_add(options.seeds);
    let last = last
        .ok_or_else(|| BadConfig(format!("--seeds {}: the last seed would be too large", options.seeds)))?;
    let name = options.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let out = options.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(format!("{name}-sweep")));
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let (mut rows, mut folders) = (vec![], vec![]);
    for combination in &combinations {
        let mut results = vec![];
        for seed in first..last {
            let folder = out.join(folder_of(combination)).join(format!("seed-{seed}"));
            inform(&format!("\n{}, seed {seed}\n", words(combination)));
            one(options, combination, seed, &folder, &interrupt)?;
            results.push(Results::read(&folder.join("results.json"))?);
            folders.push(folder);
        }
        rows.push((words(combination), results));
    }
    say(&format!("\n{}", table(&rows)));
    say("accuracy in per cent with 95 % intervals, which combine the errors of images and seeds\n");
    side_by_side(&folders, &out);
    Ok(())
}

/// Runs one seed of a combination in a process of its own, or continues it.
fn one(
    options: &Options,
    combination: &[String],
    seed: u64,
    folder: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let mut command = Command::new(std::env::current_exe().context("cannot tell where this binary lies")?);
    command.arg("run").arg(&options.file).arg("--out").arg(folder).args(options.logging.words());
    for set in combination.iter().cloned().chain([format!("seed={seed}")]) {
        command.args(["--set", &set]);
    }
    if folder.join(CONFIG).exists() {
        command.arg("--resume");
    }
    let status = command.status().context("cannot start a run")?;
    if interrupt.heard() {
        return Err(interrupt.ended(&format!("in {}; the same command goes on from there", folder.display())));
    }
    if !status.success() {
        bail!("the run in {} ended with {status}\n  the same command goes on from there", folder.display());
    }
    Ok(())
}

/// All combinations of values, each a list of `KEY=VALUE`.
fn combinations(sets: &[String]) -> Result<Vec<Vec<String>>, BadConfig> {
    let mut all = vec![vec![]];
    for set in sets {
        let Some((key, values)) = set.split_once('=') else {
            return Err(BadConfig(format!("--set {set}: expected KEY=VALUES")));
        };
        if key.trim() == "seed" {
            return Err(BadConfig(format!("--set {set}: `--seeds N` runs several seeds")));
        }
        let values = parts(values);
        all = all
            .iter()
            .flat_map(|before: &Vec<String>| {
                values.iter().map(move |value| [&before[..], &[format!("{}={value}", key.trim())]].concat())
            })
            .collect();
    }
    Ok(all)
}

/// Splits at commas that are not within brackets, braces or quotation marks.
fn parts(values: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut start, mut parts) = (0usize, false, 0, vec![]);
    for (at, letter) in values.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                parts.push(values[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(values[start..].trim());
    parts
}

/// An error if two combinations would be run in the same folder.
fn different_folders(combinations: &[Vec<String>]) -> Result<(), BadConfig> {
    for (i, one) in combinations.iter().enumerate() {
        if let Some(other) = combinations[..i].iter().find(|other| folder_of(other) == folder_of(one)) {
            let (one, other, folder) = (words(one), words(other), folder_of(one));
            return Err(BadConfig(format!(
                "`{other}` and `{one}` would both be run in {folder}: write one differently"
            )));
        }
    }
    Ok(())
}

/// A combination in words.
fn words(combination: &[String]) -> String {
    if combination.is_empty() { "as written".into() } else { combination.join(" ") }
}

/// The name of a combination's folder.
fn folder_of(combination: &[String]) -> String {
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || "._=-".contains(letter) { letter } else { '-' };
    words(combination).chars().map(plain).collect()
}

/// One row for each combination, one column for each evaluation.
fn table(rows: &[(String, Vec<Results>)]) -> Table {
    let names: Vec<(&str, Option<&str>)> = rows
        .first()
        .and_then(|(_, results)| results.first())
        .map(|results| results.evaluations.iter().map(named).collect())
        .unwrap_or_default();
    let columns: Vec<Vec<Option<Estimate>>> = names.iter().map(|name| column(rows, *name)).collect();
    let several = names.iter().any(|(_, weights)| names.iter().any(|(_, other)| weights != other));
    let heads = names.iter().map(|(name, weights)| match weights {
        Some(weights) if several => format!("{name} ({weights})"),
        _ => name.to_string(),
    });
    let heads: Vec<String> = std::iter::once("values".to_string()).chain(heads).collect();
    let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    for (i, (words, _)) in rows.iter().enumerate() {
        let cells = columns.iter().map(|column| column[i].as_ref().map_or_else(|| "-".into(), told));
        table.row(std::iter::once(words.clone()).chain(cells).collect());
    }
    table
}

/// The name of an evaluation and of the weights that it judged.
fn named(evaluation: &Evaluation) -> (&str, Option<&str>) {
    (&evaluation.name, evaluation.weights.as_deref())
}

/// The estimates of one evaluation, one for each combination.
fn column(rows: &[(String, Vec<Results>)], name: (&str, Option<&str>)) -> Vec<Option<Estimate>> {
    let seen = |results: &Results| {
        let evaluation = results.evaluations.iter().find(|evaluation| named(evaluation) == name)?;
        Some(Seen {
            value: evaluation.accuracy * 100.0,
            interval: Some(evaluation.interval.map(|end| end * 100.0)),
            n: Some(evaluation.n),
            images: None,
        })
    };
    let rows: Vec<Vec<Seen>> =
        rows.iter().map(|(_, results)| results.iter().filter_map(seen).collect()).collect();
    estimates(&rows, true)
}

fn told(estimate: &Estimate) -> String {
    match estimate.interval {
        Some([low, high]) => format!("{:.1} [{low:.1}, {high:.1}]", estimate.mean),
        None => format!("{:.1}", estimate.mean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_combined_in_their_order() {
        let all = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
            combinations(&sets).unwrap().iter().map(|combination| words(combination)).collect::<Vec<_>>()
        };
        assert_eq!(all(&[]), ["as written"]);
        assert_eq!(all(&["a=1,2", " b = x"]), ["a=1 b=x", "a=2 b=x"]);
        assert_eq!(
            all(&["a=[1,2],[3]", "b={ c = \"x,y\" }"]),
            ["a=[1,2] b={ c = \"x,y\" }", "a=[3] b={ c = \"x,y\" }"]
        );
        assert!(combinations(&["a".into()]).is_err());
        assert_eq!(folder_of(&["r=4/255".into(), "s=\"a b\"".into()]), "r=4-255-s=-a-b-");
    }
}
