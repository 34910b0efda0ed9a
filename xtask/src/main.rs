//! Chores of the project, as `cargo xtask COMMAND`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use xtask::new_plugin::TEMPLATES;

/// Chores of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the shape of the workspace: who may depend on whom, plugins that the runner forgot, hollow places, wide
    /// comments
    Tidy,
    /// Write a plugin crate and enter it in the runner
    NewPlugin {
        #[arg(help = format!("Kind of plugin: {}", TEMPLATES.map(|(kind, _)| kind).join(", ")))]
        kind: String,
        /// Its name in TOML, in kebab-case
        name: String,
    },
    /// Build temper as users do and run `temper reproduce`, here in the workspace
    #[command(disable_help_flag = true)]
    Reproduce {
        /// Arguments of `temper reproduce`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure the engine, alone or in alternation with a peer; `cargo xtask bench --help` says how
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the bench
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Compare networks, gradients and attacks with `PyTorch`; `cargo xtask parity --help` says how
    #[command(disable_help_flag = true)]
    Parity {
        /// Python with `PyTorch`, and options
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
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command; returns the exit code.
fn run() -> anyhow::Result<u8> {
    let cli = Cli::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let ok = match cli.command {
        Command::Tidy => {
            let faults = xtask::tidy::faults(root)?;
            for fault in &faults {
                eprintln!("{fault}");
            }
            faults.is_empty()
        }
        Command::NewPlugin { kind, name } => {
            for line in xtask::new_plugin::create(root, &kind, &name)? {
                println!("{line}");
            }
            true
        }
        // Runs in the workspace's folder, whatever the current folder: runs and reports are stored there.
        Command::Reproduce { arguments } => {
            let arguments = std::iter::once("reproduce".into()).chain(arguments);
            return released(cargo(root, "temper-runner").current_dir(root).args(arguments));
        }
        Command::Bench { arguments } => return released(cargo(root, "temper-bench").args(arguments)),
        Command::Parity { arguments } => return released(cargo(root, "temper-parity").args(arguments)),
        Command::Torture { kills, seed } => xtask::torture::run(root, kills, seed)?,
    };
    Ok(u8::from(!ok))
}

/// A command that builds a package as users build temper, and runs its binary with the arguments that follow.
fn cargo(root: &Path, package: &str) -> std::process::Command {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--release", "--quiet", "--package", package, "--manifest-path"]);
    cargo.arg(root.join("Cargo.toml")).arg("--");
    cargo
}

/// Runs a command; returns its exit code, or 1 if a signal ended it.
fn released(command: &mut std::process::Command) -> anyhow::Result<u8> {
    let status = command.status().context("cannot start cargo")?;
    Ok(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1))
}
