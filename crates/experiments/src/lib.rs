//! Experiments: tables and figures of the IAAT paper (Balaji, Goldstein & Hoffman 2019,
//! <https://arxiv.org/abs/1910.08051>), run and judged. A table is a file in `configs/tables`, whose rows are
//! composed of the fragments in `configs/recipes`. The command is `temper reproduce`. This crate runs a given
//! binary and reads the files that its runs write.

pub mod claim;
pub mod compose;
pub mod configs;
pub mod cost;
pub mod dry_run;
pub mod execute;
pub mod fragment;
pub mod names;
pub mod outcomes;
pub mod page;
pub mod picture;
pub mod plan;
pub mod problem;
pub mod quickstart;
pub mod rates;
pub mod report;
pub mod samples;
pub mod statistics;
pub mod table;
pub mod written;

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::ensure;

pub use self::configs::Configs;
pub use self::cost::{DatasetSize, Engine, Rate};
pub use self::execute::Place;
pub use self::problem::Problem;

use self::compose::{Book, Version};
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
    /// Print what would be run, and what it costs at most, after a measurement of a minute at most; leave
    /// nothing behind
    #[arg(long)]
    pub dry_run: bool,
    /// The folder that holds `tables` and `recipes`; left out, `configs` here or in a folder above
    #[arg(long, value_name = "DIR")]
    pub configs: Option<PathBuf>,
}

/// The error for a command that cannot be executed, in words for people.
#[derive(Debug)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Marks an error as a mistake in the command, found before any work.
fn refused(error: &anyhow::Error) -> anyhow::Error {
    Refused(format!("{error:#}")).into()
}

/// Returns an error for an unknown experiment, and for options that the experiment does not accept.
pub fn check(configs: &Configs, options: &Options) -> anyhow::Result<()> {
    let Options { experiment, scale, reading, only, seeds, dry_run, configs: _ } = options;
    if experiment == "quickstart" {
        let given = !only.is_empty() || *dry_run || *seeds != NonZeroU32::MIN;
        let other = *scale != Scale::Cpu || *reading != Reading::Paper;
        let plain = || -> anyhow::Result<()> {
            ensure!(!given && !other, "the quickstart is one run: it takes no options");
            Ok(())
        };
        return plain().map_err(|error| refused(&error));
    }
    table::known(&configs.tables(), experiment).map_err(|error| refused(&error))
}

/// Runs an experiment of `configs` at `place`. `engine` knows plugins and times networks for a dry run; `say`
/// receives messages for the user. Returns `false` if a claim fails.
pub fn run(
    configs: &Configs,
    place: &Place,
    options: &Options,
    engine: &mut dyn Engine,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<bool> {
    check(configs, options)?;
    if options.experiment == "quickstart" {
        return quickstart::run(configs, place, say);
    }
    let table = TableFile::read(&configs.tables(), &options.experiment).map_err(|error| refused(&error))?;
    let book = Book::read(&configs.recipes()).map_err(|error| refused(&error))?;
    book.check_table(&table).map_err(|error| refused(&error))?;
    let version = Version { table: &table, scale: options.scale, reading: options.reading };
    let seeds = u64::from(options.seeds.get());
    let plans = plan::rows(&book, version, &options.only, seeds).map_err(|error| refused(&error))?;
    if options.dry_run {
        let text = dry_run::printed(version, &plans, place, engine, say)?;
        say(&text);
        return Ok(true);
    }
    // A report contains all rows and all existing seeds, not only the requested ones.
    let seeds = seeds.max(page::seeds(&book, version, place)?);
    let command = command(&table.name, version, seeds);
    let all = plan::rows(&book, version, &[], seeds)?;
    let reports = place.folder.join("reports").join(version.part());
    for plan in &plans {
        execute::row(place, plan, &table.name, say)?;
        // Written after each row, so that a table that takes days can be inspected in the meantime.
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

/// The command as a user types it. It omits `--only`, because a report contains all rows.
fn command(experiment: &str, version: Version, seeds: u64) -> String {
    let reading = match version.reading {
        Reading::Paper => "",
        Reading::AuthorsCode => " --reading authors-code",
    };
    let scale = version.scale.name();
    format!("temper reproduce {experiment} --scale {scale}{reading} --seeds {seeds}")
}
