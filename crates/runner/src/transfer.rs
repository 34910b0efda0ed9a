//! `temper transfer`: evaluates transfer attacks between several networks.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use temper_evaluate::{Compared, Entry, Outcome, compare};
use temper_report::{Table, percent};
use temper_results::{CommandName, Evaluation, Records, Results, Warning};

use crate::attacked::{self, AttackedNetwork, Opened};
use crate::config::BadConfig;
use crate::interrupt::Interrupt;
use crate::output::{Logging, event, inform, say_as_text};
use crate::progress::evaluated;
use crate::run_dir::{Lock, Mode, lock};
use crate::unfinished::Unfinished;
use crate::warnings::{strictly, told, warn, warn_of_results};

/// Options of `temper transfer`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Runs' folders, or files of weights (.safetensors, .pth, .pt): two or more
    #[arg(value_name = "RUN_OR_MODEL", num_args = 2.., required = true)]
    networks: Vec<PathBuf>,
    #[command(flatten)]
    attacked: attacked::Shared,
    /// Write all evaluations into this file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Continue the interrupted measurement for that file
    #[arg(long, requires = "save")]
    resume: bool,
    /// Replace what `temper transfer` wrote into that file before
    #[arg(long, requires = "save", conflicts_with = "resume")]
    force: bool,
    /// End with exit code 1 if a warning is severe: if a number is probably wrong
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    logging: Logging,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    options.logging.choose();
    let plan = options.attacked.plan()?;
    if !plan.entry.attacked() {
        return Err(
            BadConfig("--attack: `none` makes no images that another network could judge".into()).into()
        );
    }
    let names = names(&options.networks)?;
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let mode = Mode::of(options.resume, options.force);
    let mut kept = options.save.as_deref().map(|file| Kept::choose(file, mode)).transpose()?;
    let (mut opened, entry) = Opened::open(&options.networks, plan, &interrupt)?;
    for (target, name) in opened.targets.iter_mut().zip(&names) {
        target.name = Some(name.clone());
    }
    inform(&opened.heading(&entry));
    warn(&opened.warnings);
    let arguments = opened.words("transfer", &entry)?;
    let mut records = match &mut kept {
        Some(kept) => kept.begin(&opened, &entry, &arguments)?,
        None => Records::in_memory(),
    };
    let Some(mut matrix) = Matrix::measure(&opened, &entry, &mut records, &interrupt)? else {
        return Err(match kept.is_some() && records.lines().next().is_some() {
            true => interrupt.stopped("before the matrix was complete; all judged images are kept"),
            false => interrupt.ended("before the matrix was complete; with --save FILE it could be resumed"),
        });
    };
    let known = opened.warnings.len();
    for (i, natural) in matrix.natural.iter().enumerate() {
        opened.warn_of_normalisation(i, natural.accuracy, &interrupt)?;
    }
    opened.warnings.append(&mut matrix.warnings);
    say_as_text(&format!("\n{}{}", matrix.told(&names), matrix.warned(&names)));
    warn(&opened.warnings[known..]);
    let evaluations = matrix.natural.into_iter().chain(matrix.cells.into_iter().flatten()).collect();
    let results = opened.results(CommandName::Transfer, arguments, evaluations, &matrix.unreadable)?;
    if let (Some(file), Some(kept)) = (&options.save, &kept) {
        results.write(file)?;
        kept.unfinished.remove()?;
        inform(&format!("written to {}\n", file.display()));
    }
    warn_of_results(&results, &opened.warnings);
    event("results", &results);
    if options.strict { strictly(&results) } else { Ok(()) }
}

/// The state of a matrix that is written into a file, in the folder `FILE.unfinished` beside it.
struct Kept {
    file: PathBuf,
    mode: Mode,
    unfinished: Unfinished,
    lock: Option<Lock>,
}

impl Kept {
    /// Checks whether the file and the folder beside it may be used, without changing anything.
    fn choose(file: &Path, mode: Mode) -> anyhow::Result<Self> {
        let mut name = file.file_name().unwrap_or_default().to_os_string();
        name.push(".unfinished");
        let unfinished = Unfinished::at(file.with_file_name(name));
        let kept = Self { file: file.into(), mode, unfinished, lock: None };
        kept.check()?;
        Ok(kept)
    }

    fn check(&self) -> anyhow::Result<()> {
        may_write(&self.file, self.mode)?;
        if self.unfinished.is_foreign()? {
            bail!(
                "{} is needed, and holds other files; choose another place with --save FILE",
                self.unfinished.path().display()
            );
        }
        self.unfinished.allows(self.mode, &self.file)
    }

    /// Locks the folder; returns the records in it.
    fn begin(&mut self, opened: &Opened, entry: &Entry, arguments: &[String]) -> anyhow::Result<Records> {
        self.lock = Some(lock(self.unfinished.path(), "--save FILE")?);
        // Another command may have used the place while networks were opened.
        self.check()?;
        self.unfinished.begin(self.mode, &opened.resolved(entry, arguments)?)?;
        let keys = cells(opened, entry).map(|cell| opened.key(&cell.entry, (cell.by, cell.on)));
        self.unfinished.records(&keys.collect::<anyhow::Result<Vec<_>>>()?, |_| true)
    }
}

impl Drop for Kept {
    /// Removes the folder of a command that has not judged anything.
    fn drop(&mut self) {
        if self.lock.is_some() && self.unfinished.is_empty() {
            // An error is ignored: a folder that cannot be removed does no harm.
            let _ = self.unfinished.remove();
        }
    }
}

/// An evaluation of the matrix.
struct MatrixCell<'a> {
    entry: Entry,
    /// The network that judges.
    by: &'a AttackedNetwork,
    /// The other network on which images are crafted, if there is one.
    on: Option<&'a AttackedNetwork>,
}

/// All evaluations, in the order of results: every network unperturbed, then the matrix by rows.
fn cells<'a>(opened: &'a Opened, entry: &'a Entry) -> impl Iterator<Item = MatrixCell<'a>> {
    let natural = Entry { name: "natural".into(), ..Entry::default() };
    let unperturbed =
        opened.targets.iter().map(move |by| MatrixCell { entry: natural.clone(), by, on: None });
    let matrix = opened.targets.iter().enumerate().flat_map(move |(i, on)| {
        opened.targets.iter().enumerate().map(move |(j, by)| {
            let on = Some(on).filter(|_| i != j);
            let entry = Entry { surrogate: on.map(|on| on.path.clone()), ..entry.clone() };
            MatrixCell { entry, by, on }
        })
    });
    unperturbed.chain(matrix)
}

/// Refuses to overwrite other files, and to overwrite a transfer matrix without `--force`.
fn may_write(file: &Path, mode: Mode) -> anyhow::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        bail!("cannot write {}: there is no folder {}", file.display(), folder.display());
    }
    if fs::symlink_metadata(file).is_err() {
        return Ok(());
    }
    match Results::command_of(file) == Some(CommandName::Transfer) {
        true if mode != Mode::New => Ok(()),
        true => bail!(
            "{} holds a matrix already\n  replace it with --force, or choose another place with --save FILE",
            file.display()
        ),
        false => bail!("{} is no matrix of temper; choose another place with --save FILE", file.display()),
    }
}

/// The transfer matrix: images of `cells[i][j]` are crafted on the i-th network and evaluated on the j-th.
struct Matrix {
    natural: Vec<Evaluation>,
    cells: Vec<Vec<Evaluation>>,
    /// Images that could not be decoded, by index in the whole data set, with the reason.
    unreadable: BTreeMap<u64, String>,
    /// Warnings about all numbers of a network.
    warnings: Vec<Warning>,
}

impl Matrix {
    /// Measures all cells; `None` if interrupted.
    fn measure(
        opened: &Opened,
        entry: &Entry,
        records: &mut Records,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<Self>> {
        let mut inspections = vec![];
        for target in &opened.targets {
            inspections.extend(opened.inspect(target, entry, interrupt)?);
        }
        let mut outcomes: Vec<Outcome> = vec![];
        for MatrixCell { entry, by, on } in cells(opened, entry) {
            let judged = opened.judge(&entry, (by, on), records, interrupt, &mut |_| Ok(()))?;
            let Some(outcome) = judged else { return Ok(None) };
            evaluated(&outcome.evaluation);
            outcomes.push(outcome);
        }
        let unreadable = outcomes.first().map(|outcome| outcome.unreadable.clone()).unwrap_or_default();
        let Compared { evaluations: mut natural, warnings } = compare(outcomes, vec![], &inspections);
        let n = opened.targets.len();
        let cells = natural.split_off(n.min(natural.len()));
        let cells = cells.chunks(n.max(1)).map(<[_]>::to_vec).collect();
        Ok(Some(Self { natural, cells, unreadable, warnings }))
    }

    /// The tables for the terminal.
    fn told(&self, names: &[String]) -> String {
        let table = |first: &str, cell: fn(&Evaluation) -> String| {
            let heads: Vec<&str> = std::iter::once(first).chain(names.iter().map(String::as_str)).collect();
            let mut table = Table::new(&heads);
            let mut row = |name: String, cells: &[Evaluation]| {
                table.row(std::iter::once(name).chain(cells.iter().map(cell)).collect());
            };
            row("unperturbed".into(), &self.natural);
            for (name, cells) in names.iter().zip(&self.cells) {
                row(format!("on {name}"), cells);
            }
            table.to_string()
        };
        let interval = |e: &Evaluation| {
            let [low, high] = e.interval.map(|share| 100.0 * share);
            format!("{low:.1} to {high:.1}")
        };
        let n = self.natural.iter().map(|evaluation| evaluation.n).min().unwrap_or(0);
        format!(
            "accuracy of the network of a column on images crafted on that of a row, n = {n}\n{}\n{}",
            table("crafted", |e| percent(e.accuracy)),
            table("95 % interval, %", interval)
        )
    }

    /// The warnings of all cells; each sentence once, with its cells.
    fn warned(&self, names: &[String]) -> String {
        let mut all: BTreeMap<String, (&Warning, Vec<String>)> = BTreeMap::new();
        for (on, row) in names.iter().zip(&self.cells) {
            for (by, evaluation) in names.iter().zip(row) {
                for warning in &evaluation.warnings {
                    let (_, cells) = all.entry(warning.to_string()).or_insert_with(|| (warning, vec![]));
                    cells.push(format!("on {on}, judged by {by}"));
                }
            }
        }
        let lines = all.iter().map(|(words, (warning, cells))| {
            let text = format!("{words} ({})", cells.join("; "));
            Warning { text, advice: None, ..(*warning).clone() }
        });
        told(&lines.collect::<Vec<_>>())
    }
}

/// Maximum length of a column's head, in characters.
const LONG: usize = 24;

/// The shortest parts of paths that distinguish them: common beginnings and ends are removed.
fn names(paths: &[PathBuf]) -> Result<Vec<String>, BadConfig> {
    let part = |component: Component| component.as_os_str().to_string_lossy().into_owned();
    let mut parts: Vec<Vec<String>> = paths
        .iter()
        .map(|path| path.components().filter(|c| *c != Component::CurDir).map(part).collect())
        .collect();
    let mut seen = HashSet::new();
    if let Some(double) = paths.iter().zip(&parts).find(|(_, parts)| !seen.insert(*parts)) {
        return Err(BadConfig(format!("{} is named twice", double.0.display())));
    }
    while shared(&parts, |parts| parts.last()) {
        for parts in &mut parts {
            parts.pop();
        }
    }
    while shared(&parts, |parts| parts.first()) {
        for parts in &mut parts {
            parts.remove(0);
        }
    }
    let long = |parts: &Vec<String>| parts.iter().map(String::len).sum::<usize>() + parts.len() > LONG;
    if parts.iter().any(long) {
        // Of long paths, only as many trailing parts as necessary are kept.
        let last = |n: usize| parts.iter().map(move |parts| &parts[parts.len().saturating_sub(n)..]);
        let most = parts.iter().map(Vec::len).max().unwrap_or(1);
        let unlike = |n: &usize| last(*n).collect::<HashSet<_>>().len() == paths.len();
        let n = (1..=most).find(unlike).unwrap_or(most);
        return Ok(last(n).map(|parts| parts.join("/")).collect());
    }
    Ok(parts.into_iter().map(|parts| parts.join("/")).collect())
}

/// Whether all paths have the same part at this place, and at least one other part.
fn shared(all: &[Vec<String>], at: fn(&Vec<String>) -> Option<&String>) -> bool {
    all.iter().all(|parts| parts.len() > 1) && all.windows(2).all(|pair| at(&pair[0]) == at(&pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_tells_paths_apart() {
        let names = |paths: &[&str]| names(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(names(&["runs/a", "./runs/b/"]).unwrap(), ["a", "b"]);
        assert_eq!(names(&["runs/a/model.safetensors", "runs/b/model.safetensors"]).unwrap(), ["a", "b"]);
        assert_eq!(names(&["runs/a", "runs/a/best.safetensors"]).unwrap(), ["a", "a/best.safetensors"]);
        assert_eq!(names(&["x/1/m", "x/2/m", "x/2/n"]).unwrap(), ["1/m", "2/m", "2/n"]);
        assert_eq!(
            names(&["runs/a", "/home/some/where/far/away/b/net", "/home/some/where/far/away/c/net"]).unwrap(),
            ["runs/a", "b/net", "c/net"]
        );
        assert_eq!(names(&["a", "b", "./a"]).unwrap_err().to_string(), "./a is named twice");
    }
}
