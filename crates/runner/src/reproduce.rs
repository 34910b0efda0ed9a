//! `temper reproduce`: runs tables and figures of papers with this binary.

use anyhow::Context;
use temper_experiments::{Configs, Options, Place, Refused, check as check_command, run as experiment};

use crate::check;
use crate::config::BadConfig;
use crate::output::say;
use crate::timed::Clock;

/// Runs an experiment; `false` if a claim fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let configs =
        Configs::find(options.configs.as_deref()).map_err(|error| BadConfig(format!("{error:#}")))?;
    check_command(&configs, options).map_err(in_words)?;
    if options.experiment != "quickstart" {
        check::table_file(&configs.tables().join(format!("{}.toml", options.experiment)), &configs)?;
    }
    let binary = std::env::current_exe().context("cannot tell where this binary lies")?;
    let place = Place { binary, folder: configs.home.clone() };
    let mut clock = Clock::default();
    let done = experiment(&configs, &place, options, &mut clock, &mut |line| say(&format!("{line}\n")));
    done.map_err(in_words)
}

/// Converts a [`Refused`] error to a [`BadConfig`], which is reported like that of any other command.
fn in_words(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Refused>() {
        Ok(refused) => BadConfig(refused.to_string()).into(),
        Err(other) => other,
    }
}
