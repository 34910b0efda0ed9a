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
    /// Run an experiment and judge its results against what is expected
    Reproduce {
        /// Which
        experiment: xtask::reproduce::Experiment,
    },
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
        Command::Reproduce { experiment } => xtask::reproduce::run(root, experiment),
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
