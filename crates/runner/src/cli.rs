//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{BadConfig, Pipeline};
use crate::{catalogue, fetch, material, run, say};

/// Adversarial training and robustness evaluation of image classifiers.
#[derive(Debug, Parser)]
#[command(name = "temper", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline: train, evaluate, write the results
    #[command(
        after_help = "Exit codes: 0 success, 1 failed run, 2 bad configuration or command, 130 stopped by Ctrl-C."
    )]
    Run(run::Options),
    /// Check a pipeline without running it
    Check(Check),
    /// List the plugins of this binary
    List {
        /// Only this kind: dataset, model, attack, loss, or epsilon
        kind: Option<String>,
    },
    /// Describe a plugin: what it does and all its parameters, as TOML to copy
    Describe {
        /// dataset, model, attack, loss, or epsilon
        kind: String,
        /// Name of the plugin
        name: String,
    },
    /// Data sets on this machine
    #[command(subcommand)]
    Data(fetch::Data),
}

#[derive(Debug, Args)]
struct Check {
    /// The pipeline
    file: PathBuf,
    /// Change a value of the pipeline, for example `--set train.epochs=2`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

pub(crate) fn run() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let duplicates = temper_core::duplicates();
    anyhow::ensure!(duplicates.is_empty(), "this binary is put together wrongly: {}", duplicates.join("; "));
    match cli.command {
        Command::Run(options) => run::run(&options),
        Command::Check(check) => {
            let pipeline = Pipeline::load(&check.file, &check.sets)?;
            say(&format!("{}: a sound pipeline{}\n", check.file.display(), material::check(&pipeline)?))
        }
        Command::List { kind } => say(&catalogue::list(kind.as_deref()).map_err(BadConfig)?),
        Command::Data(data) => fetch::run(&data),
        Command::Describe { kind, name } => say(&catalogue::describe(&kind, &name).map_err(BadConfig)?),
    }
}
