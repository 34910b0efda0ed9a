//! `temper report`: one page of what runs, attacks and transfer matrices left. Runs and saved attacks have theirs
//! written when they end.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use temper_experiments::page;
use temper_report::{Measured, MeasuredError, Page, report_of};

use crate::config::BadConfig;
use crate::output::{answer, inform, say};
use crate::run_dir::remove;

/// The name of the page in a folder.
pub(crate) const REPORT: &str = "report.html";

/// Options of `temper report`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folders of runs, or of attacks that were saved, or files of transfer matrices, several side by side; or a folder
    /// of reports of `temper reproduce`
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The page; by default report.html in the folder of the run, or in the current folder for several
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let out = options.out.clone().unwrap_or_else(|| default_place(&options.runs));
    may_be_replaced(&out)?;
    write(&options.runs, &out)?;
    answer(&format!("written to {}\n", out.display()))
}

/// Where a page is written unless `--out` says so.
fn default_place(runs: &[PathBuf]) -> PathBuf {
    match runs {
        [one] if one.is_dir() => one.join(REPORT),
        [one] => one.with_extension("html"),
        _ => REPORT.into(),
    }
}

/// An error if the file exists and is no page of temper.
fn may_be_replaced(file: &Path) -> anyhow::Result<()> {
    if !file.exists() {
        return Ok(());
    }
    let mut start = vec![];
    if file.is_file() {
        let reading = || format!("cannot read {}", file.display());
        File::open(file).with_context(reading)?.take(1000).read_to_end(&mut start).with_context(reading)?;
    }
    if !Page::is_ours(&start) {
        bail!("{} is there and is no report of temper; choose another place with --out FILE", file.display());
    }
    Ok(())
}

/// Removes the page of a folder, unless somebody else wrote it.
pub(crate) fn remove_own(folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(REPORT);
    if may_be_replaced(&file).is_ok() { remove(&file) } else { Ok(()) }
}

/// Writes the page of these runs, or of one folder of reports of `temper reproduce`.
fn write(runs: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    if let [folder] = runs
        && holds_tables(folder)
    {
        return Ok(page::page(folder)?.write(out)?);
    }
    let read = |run: &PathBuf| match Measured::read(run) {
        Err(error @ MeasuredError::Missing(_)) => Err(BadConfig(error.to_string()).into()),
        read => read.map_err(anyhow::Error::from),
    };
    let all = runs.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(report_of(&all).write(out)?)
}

/// Whether a folder holds reports of `temper reproduce`: `TABLE.md` beside `TABLE.json`, and no results.
fn holds_tables(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    let table = |file: PathBuf| {
        file.extension().is_some_and(|end| end == "json") && file.with_extension("md").is_file()
    };
    !folder.join("results.json").exists() && entries.flatten().any(|entry| table(entry.path()))
}

/// Writes the page of a folder into it, and says so. All numbers are already on disk, so that an error is only noted.
pub(crate) fn beside(folder: &Path) {
    side_by_side(&[folder.into()], folder);
}

/// Writes the page of these runs into a folder, in the same way.
pub(crate) fn side_by_side(runs: &[PathBuf], folder: &Path) {
    let out = folder.join(REPORT);
    match may_be_replaced(&out).and_then(|()| write(runs, &out)) {
        Ok(()) => inform(&format!("report  {}\n", out.display())),
        Err(error) => say(&format!("note    there is no report of this: {error:#}\n")),
    }
}
