//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{BadConfig, Pipeline};
use crate::output::answer;
use crate::{attack, catalogue, fetch, material, run, show, transfer};

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
        after_help = "Exit codes: 0 success, 1 failed run, 2 bad configuration or command; stopped by a signal: 129 SIGHUP, \
                      130 Ctrl-C, 143 SIGTERM."
    )]
    Run(run::Options),
    /// Check a pipeline without running it
    Check(Check),
    /// Attack a trained network: accuracy, records and adversarial images, without a pipeline
    #[command(after_help = ATTACK_HELP)]
    Attack(Box<attack::Options>),
    /// Craft images on each of several networks and judge them by all of them
    #[command(after_help = TRANSFER_HELP)]
    Transfer(Box<transfer::Options>),
    /// Show all that a run's evaluations saw of one test image
    #[command(after_help = "Example: temper show runs/quickstart --sample 17")]
    Show(show::Options),
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

const ATTACK_HELP: &str = "\
Examples:
  temper attack runs/quickstart --attack pgd --eps 8/255 --samples 500 --save out
  temper attack net.safetensors --model 'resnet = { depth = 18 }' --data cifar10
      --attack 'pgd = { steps = 100, restarts = 5 }' --attack deepfool --eps 8/255

--save holds all images in memory, six to seven times over: 500 of 3 x 224 x 224
pixels take about 2 GB. Exit codes: 0 success, 1 failed, 2 bad command, 130
stopped by Ctrl-C.";

const TRANSFER_HELP: &str = "\
Example:
  temper transfer runs/a runs/b --attack pgd --eps 8/255 --samples 500

On the diagonal images are crafted and judged by the same network, elsewhere they
are those of the highest loss on the network that they are crafted on. Exit codes:
0 success, 1 failed, 2 bad command, 130 stopped by Ctrl-C.";

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
        Command::Attack(options) => attack::run(&options),
        Command::Transfer(options) => transfer::run(&options),
        Command::Show(options) => show::run(&options),
        Command::Check(check) => {
            let pipeline = Pipeline::load(&check.file, &check.sets)?;
            answer(&format!("{}: a sound pipeline{}\n", check.file.display(), material::check(&pipeline)?))
        }
        Command::List { kind } => answer(&catalogue::list(kind.as_deref()).map_err(BadConfig)?),
        Command::Data(data) => fetch::run(&data),
        Command::Describe { kind, name } => answer(&catalogue::describe(&kind, &name).map_err(BadConfig)?),
    }
}
