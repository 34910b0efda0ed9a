//! `cargo xtask reproduce`: runs an experiment and judges it. `quickstart` is one run; a table or figure of the IAAT paper
//! (Balaji, Goldstein & Hoffman 2019, <https://arxiv.org/abs/1910.08051>) is a file in `configs/tables`, whose rows are
//! composed of the fragments in `configs/recipes`.

pub mod calibrate;
pub mod claim;
pub mod compose;
pub mod cost;
pub mod dry_run;
pub mod execute;
pub mod fragment;
pub mod made_up;
pub mod outcomes;
pub mod page;
pub mod picture;
pub mod plan;
pub mod probe;
pub mod quickstart;
pub mod report;
pub mod samples;
pub mod statistics;
pub mod table;
pub mod written;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use self::compose::{Book, Version};
use self::execute::Place;
use self::fragment::Reading;
use self::report::Report;
use self::table::{Scale, TableFile};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// `quickstart`, or a file of `configs/tables`: `table1` to `table9`, `figure3`, ...
    pub experiment: String,
    /// How much of it: the real thing, a smaller experiment for two cores, or seconds a row
    #[arg(long, value_enum, default_value_t = Scale::Cpu)]
    pub scale: Scale,
    /// Which reading of what the paper leaves open
    #[arg(long, value_enum, default_value_t = Reading::Paper)]
    pub reading: Reading,
    /// Only this row, for example `resnet18/iaat`; may be repeated
    #[arg(long, value_name = "ROW")]
    pub only: Vec<String>,
    /// Seeds of each row, from 0
    #[arg(long, default_value_t = NonZeroU32::MIN)]
    pub seeds: NonZeroU32,
    /// Print what would be run, and what it costs at most by a calibration of about a minute; leave nothing behind
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs the experiment with a release build; `false` if a claim fails.
pub fn run(root: &Path, options: &Options) -> anyhow::Result<bool> {
    if options.experiment == "quickstart" {
        let Options { scale, reading, only, seeds, dry_run, .. } = options;
        let given = !only.is_empty() || *dry_run || *seeds != NonZeroU32::MIN;
        let other = *scale != Scale::Cpu || *reading != Reading::Paper;
        ensure!(!given && !other, "the quickstart is one run: it takes no options");
        return quickstart::run(root);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let place = Place { binary: target.join("release/temper"), folder: root.into(), quiet: false };
    let work = || -> anyhow::Result<()> {
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(root)
            .args(["build", "--release", "--quiet", "--package", "temper-runner"])
            .status()
            .context("cannot start cargo")?;
        ensure!(status.success(), "the build failed: {status}");
        Ok(())
    };
    table(&root.join("configs"), &place, options, &work, &mut |line| println!("{line}"))
}

/// Runs a table of `configs` where `place` says, after `prepare`; what people should know goes to `say`. `false` if a claim
/// fails.
pub fn table(
    configs: &Path,
    place: &Place,
    options: &Options,
    prepare: &dyn Fn() -> anyhow::Result<()>,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<bool> {
    let table = TableFile::read(&configs.join("tables"), &options.experiment)?;
    let book = Book::read(&configs.join("recipes"))?;
    book.check_table(&table)?;
    let version = Version { table: &table, scale: options.scale, reading: options.reading };
    let seeds = u64::from(options.seeds.get());
    let plans = plan::rows(&book, version, &options.only, seeds)?;
    if options.dry_run {
        let text = dry_run::printed(version, &plans, place, prepare, say)?;
        say(&text);
        return Ok(true);
    }
    prepare()?;
    // A report has all rows, and all seeds that are there, whichever were asked for.
    let seeds = seeds.max(page::seeds(&book, version, place)?);
    let command = command(&table.name, version, seeds);
    let all = plan::rows(&book, version, &[], seeds)?;
    let reports = place.folder.join("reports").join(version.part());
    for plan in &plans {
        execute::row(place, plan, &table.name, say)?;
        // After each row, so that a table that takes days can be looked at.
        Report::of(place, version, &all, &command)?.written(vec![]).write(&reports)?;
    }
    let report = Report::of(place, version, &all, &command)?;
    let written = report.written(page::draw(&table, &report, place, &reports)?);
    written.write(&reports)?;
    page::page(&reports)?.write(&reports.join("report.html"))?;
    say(&written.text());
    for picture in &written.pictures {
        say(&format!("drawn to {}", reports.join(format!("{}.svg", picture.name)).display()));
    }
    let name = format!("{}.md", table.name);
    say(&format!("written to {} and report.html", reports.join(name).display()));
    Ok(!report.fails())
}

/// The command as people type it. `--only` does not matter: a report has all rows.
fn command(experiment: &str, version: Version, seeds: u64) -> String {
    let reading = match version.reading {
        Reading::Paper => "",
        Reading::AuthorsCode => " --reading authors-code",
    };
    let scale = version.scale.name();
    format!("cargo xtask reproduce {experiment} --scale {scale}{reading} --seeds {seeds}")
}
