//! `cargo xtask parity PYTHON`: makes networks in `PyTorch` and compares temper with it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Parser;
use temper_parity::{Manifest, compare, heading, section};

/// Train small networks in `PyTorch`, and compare what temper makes of their files with what `PyTorch`, ONNX Runtime,
/// torchattacks, foolbox and adv-lib do.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask parity", bin_name = "cargo xtask parity")]
struct Cli {
    /// Python with torch, numpy, safetensors, onnx, onnxscript, onnxruntime, torchattacks 3.5.1, foolbox 3.3.4 and
    /// adv-lib 0.2.8
    #[arg(required_unless_present = "made")]
    python: Option<PathBuf>,
    /// Test images of each network
    #[arg(long, default_value_t = 500)]
    images: usize,
    /// These networks only
    #[arg(long, value_name = "NETWORK", num_args = 1..)]
    only: Vec<String>,
    /// Keep the files in this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "made")]
    keep: Option<PathBuf>,
    /// Compare with the files of this folder, which the command made before, and make none
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["python", "images", "only"])]
    made: Option<PathBuf>,
}

fn main() -> ExitCode {
    temper_core::nn::let_candle_rest();
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all results are within their bounds.
fn run(cli: &Cli) -> anyhow::Result<bool> {
    let passing = tempfile::tempdir()?;
    let folder = match (&cli.made, &cli.keep) {
        (Some(folder), _) | (None, Some(folder)) => folder.as_path(),
        (None, None) => passing.path(),
    };
    if let Some(python) = &cli.python {
        make(python, cli, folder)?;
    }
    let manifest = Manifest::read(folder)?;
    println!("{}", heading(&manifest));
    let faults = compare(folder, &manifest, |entry, report| print!("{}", section(entry, report)))?;
    for fault in &faults {
        println!("beyond its bound: {fault}");
    }
    println!("\n{} networks, {} bounds broken", manifest.networks.len(), faults.len());
    Ok(faults.is_empty())
}

/// Runs the script that makes the files.
fn make(python: &Path, cli: &Cli, folder: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(cli.images > 0, "--images must be at least 1");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/make.py");
    let mut command = Command::new(python);
    command.arg(&script).arg(folder).args(["--images", &cli.images.to_string()]);
    if !cli.only.is_empty() {
        command.arg("--only").args(&cli.only);
    }
    let status = command.status().with_context(|| format!("cannot start {}", python.display()))?;
    anyhow::ensure!(status.success(), "{} ended with {status}", script.display());
    Ok(())
}
