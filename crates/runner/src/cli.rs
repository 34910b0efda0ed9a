//! The command line.

use clap::{CommandFactory, Parser, Subcommand};
use temper_core::KINDS;

use crate::config::BadConfig;
use crate::output::answer;
use crate::reference::parts;
use crate::schema::schema;
use crate::{
    attack, catalogue, check, compare, explain, export, fetch, init, inspect, radii, report, reproduce, run,
    shells, show, sweep, transfer,
};

/// Adversarial training and robustness evaluation of image classifiers.
#[derive(Debug, Parser)]
#[command(name = "temper", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented pipeline to start from
    #[command(
        after_help = "Example: temper init my.toml --data cifar10 --model 'resnet = { depth = 18 }' --goal harden"
    )]
    Init(init::Options),
    /// Run a pipeline: train, evaluate, write the results
    #[command(
        after_help = "Exit codes: 0 success, 1 failed run, or --strict and a severe warning, 2 bad configuration or command; \
                      stopped by a signal: 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM."
    )]
    Run(run::Options),
    /// Run a pipeline with several values and seeds, and print one table of all results
    #[command(
        after_help = "Example: temper sweep my.toml --set train.epsilon.fixed.radius=4/255,8/255 --seeds 2"
    )]
    Sweep(sweep::Options),
    /// Check pipelines, tables of experiments and recipes without running them
    Check(check::Options),
    /// Attack a trained network: accuracy, records and adversarial images, without a pipeline
    #[command(after_help = ATTACK_HELP)]
    Attack(Box<attack::Options>),
    /// Craft images on each of several networks and judge them by all of them
    #[command(after_help = TRANSFER_HELP)]
    Transfer(Box<transfer::Options>),
    /// Show what a network's file holds: its layers or tensors, and how to begin with it
    #[command(after_help = "Example: temper inspect net.onnx")]
    Inspect(inspect::Options),
    /// Write a trained network as a file of other programs: ONNX, safetensors or a state dictionary
    #[command(after_help = "Example: temper export runs/quickstart --format onnx --out net.onnx")]
    Export(export::Options),
    /// Show all that is known of one image: what a run's evaluations saw of it, or its radius in training
    #[command(after_help = SHOW_HELP)]
    Show(show::Options),
    /// Show the radii that training gave to its images, and those with the smallest and largest
    #[command(after_help = RADII_HELP)]
    Radii(radii::Options),
    /// Write a page of runs, attacks or transfer matrices: verdict, warnings, curves, images
    #[command(after_help = "Example: temper report runs/adversarial runs/iaat --out report.html")]
    Report(report::Options),
    /// Compare the accuracies of runs on the same images, with intervals of their differences
    #[command(after_help = "Example: temper compare runs/adversarial runs/iaat")]
    Compare(compare::Options),
    /// Explain a warning: what was found, why it matters, and what to do
    #[command(after_help = "Example: temper explain random-output")]
    Explain(explain::Options),
    /// List the plugins of this binary
    List {
        #[arg(help = format!("Only this kind: {}", kinds()))]
        kind: Option<String>,
    },
    /// Describe a plugin or a table of a pipeline: what it does and all its keys, as TOML to copy
    #[command(after_help = DESCRIBE_HELP)]
    Describe {
        #[arg(help = format!("A plugin's kind ({}), a plugin, or a table ({})", kinds(), tables()))]
        what: String,
        /// Name of the plugin, if its kind comes first
        name: Option<String>,
    },
    /// Print the JSON Schema of pipelines, for editors that complete and check TOML
    Schema,
    /// Run a table or figure of the IAAT paper, or the quickstart, and judge it against what is expected
    #[command(after_help = REPRODUCE_HELP)]
    Reproduce(temper_experiments::Options),
    /// Data sets on this machine
    #[command(subcommand)]
    Data(fetch::Data),
    /// Print the script that completes temper's command line in a shell
    #[command(
        after_help = "Example, for bash: temper completions bash > ~/.local/share/bash-completion/completions/temper"
    )]
    Completions(shells::Completions),
    /// Print the manual page, or write the pages of all commands
    #[command(after_help = "Example: temper man --out ~/.local/share/man/man1")]
    Man(shells::Man),
}

/// The kinds of plugins, for help texts.
fn kinds() -> String {
    KINDS.join(", ")
}

/// The tables of a pipeline, for help texts.
fn tables() -> String {
    parts().collect::<Vec<_>>().join(", ")
}

const DESCRIBE_HELP: &str = "\
Examples:
  temper describe pgd
  temper describe model resnet
  temper describe train";

const ATTACK_HELP: &str = "\
Examples:
  temper attack runs/quickstart --attack pgd --eps 8/255 --samples 500 --save out
  temper attack net.safetensors --model 'resnet = { depth = 18 }' --data cifar10
      --attack 'pgd = { steps = 100, restarts = 5 }' --attack deepfool --eps 8/255

--save holds all images in memory, six to seven times over: 500 of 3 x 224 x 224
pixels take about 2 GB. Exit codes: 0 success, 1 failed, or --strict and a severe
warning, 2 bad command, 130 stopped by Ctrl-C.";

const TRANSFER_HELP: &str = "\
Example:
  temper transfer runs/a runs/b --attack pgd --eps 8/255 --samples 500

On the diagonal images are crafted and judged by the same network, elsewhere they
are those of the highest loss on the network that they are crafted on. Exit codes:
0 success, 1 failed, or --strict and a severe warning, 2 bad command, 130 stopped
by Ctrl-C.";

const SHOW_HELP: &str = "\
Examples:
  temper show runs/quickstart --sample 17
  temper show runs/quickstart --sample 17 --split train";

const RADII_HELP: &str = "\
Examples:
  temper radii runs/quickstart
  temper radii runs/quickstart --smallest 20 --largest 20 --save radii

--save writes into an empty folder, or replaces what this command wrote there.";

const REPRODUCE_HELP: &str = "\
Example: temper reproduce table1 --scale cpu --only resnet18/iaat --seeds 2

Runs lie in runs/reproduce/TABLE/SCALE/ROW/seed-N, reports in reports/SCALE, beside
the folder `configs` that was found, or in the current folder with --configs. What is
finished is not run again; what was stopped goes on. Exit codes: 0 no claim fails,
1 one does, or a run failed, 2 bad command.";

/// Runs the command; returns `false` if no error occurred but a claim of an experiment fails.
pub(crate) fn run() -> anyhow::Result<bool> {
    let cli = Cli::parse();
    let duplicates = temper_core::duplicates();
    anyhow::ensure!(duplicates.is_empty(), "this binary is put together wrongly: {}", duplicates.join("; "));
    let done = match cli.command {
        Command::Reproduce(options) => return reproduce::run(&options),
        Command::Init(options) => init::run(&options),
        Command::Run(options) => run::run(&options),
        Command::Sweep(options) => sweep::run(&options),
        Command::Attack(options) => attack::run(&options),
        Command::Transfer(options) => transfer::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Export(options) => export::run(&options),
        Command::Show(options) => show::run(&options),
        Command::Radii(options) => radii::run(&options),
        Command::Report(options) => report::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Check(options) => check::run(&options),
        Command::List { kind } => answer(&catalogue::list(kind.as_deref()).map_err(BadConfig)?),
        Command::Data(data) => fetch::run(&data),
        Command::Completions(options) => shells::completions(&options, Cli::command()),
        Command::Man(options) => shells::man(&options, Cli::command()),
        Command::Describe { what, name: Some(name) } => {
            answer(&catalogue::describe(&what, &name).map_err(BadConfig)?)
        }
        Command::Describe { what, name: None } => {
            answer(&catalogue::describe_alone(&what).map_err(BadConfig)?)
        }
        Command::Schema => answer(&format!("{:#}\n", schema())),
    };
    done.map(|()| true)
}
