//! Chores of the project, as `cargo xtask COMMAND`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Chores of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the shape of the workspace: who may depend on whom, plugins that the runner forgot, hollow places
    Tidy,
    /// Write a plugin crate and enter it in the runner
    NewPlugin {
        /// Kind of plugin
        kind: xtask::new_plugin::Kind,
        /// Its name in TOML, in kebab-case
        name: String,
    },
    /// Run the quickstart, or a table or figure of the IAAT paper, and judge it against what is expected
    #[command(after_help = REPRODUCE_HELP)]
    Reproduce(xtask::reproduce::Options),
    /// Measure the engine, alone or in alternation with a peer; `cargo xtask bench --help` says how
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the bench
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill a run at random instants, continue it, and compare the end with that of an uninterrupted run
    Torture {
        /// How often to kill
        #[arg(long, default_value_t = 200)]
        kills: usize,
        /// Where the randomness of the instants begins
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

const REPRODUCE_HELP: &str = "\
Example: cargo xtask reproduce table1 --scale cpu --only resnet18/iaat --seeds 2

Runs lie in runs/reproduce/TABLE/SCALE/ROW/seed-N, reports in reports/SCALE. What is
finished is not run again; what was stopped goes on. Exit codes: 0 no claim fails,
1 one does, or a run failed.";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<bool> {
    let cli = Cli::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    match cli.command {
        Command::Tidy => {
            let faults = xtask::tidy::faults(root)?;
            for fault in &faults {
                eprintln!("{fault}");
            }
            Ok(faults.is_empty())
        }
        Command::NewPlugin { kind, name } => {
            for line in xtask::new_plugin::create(root, kind, &name)? {
                println!("{line}");
            }
            Ok(true)
        }
        Command::Reproduce(options) => xtask::reproduce::run(root, &options),
        Command::Bench { arguments } => bench(root, &arguments),
        Command::Torture { kills, seed } => xtask::torture::run(root, kills, seed),
    }
}

/// Builds the bench as users build temper, and runs it where the command was given.
fn bench(root: &Path, arguments: &[String]) -> anyhow::Result<bool> {
    let status = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--quiet", "--package", "temper-bench", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .arg("--")
        .args(arguments)
        .status()
        .context("cannot start cargo")?;
    Ok(status.success())
}
