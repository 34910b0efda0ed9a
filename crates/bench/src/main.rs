//! Measures the engine: `cargo xtask bench`, and with `--against-torch PYTHON` in alternation with `PyTorch`.
//!
//! Every contender is a separate process, so that its peak memory is measured separately, and runs one round on
//! command. Rounds alternate, so that noise of the machine affects all contenders.

mod child;
mod modes;
mod networks;
mod table;
mod works;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::child::{Child, serve};
use crate::modes::{Mode, Simd, has_bf16};
use crate::table::{Measured, Row};
use crate::works::{Part, Work};

/// Measure the engine, alone or in alternation with `PyTorch`.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    /// Works to measure; left out, all
    #[arg(value_enum)]
    works: Vec<Part>,
    /// Rounds of each contender [default: 7; of `autoattack` 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Threads of each contender
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Measure `PyTorch` too, by this Python (which needs torch and a C++ compiler, torchattacks for the
    /// restarts, and pyautoattack for `AutoAttack`): eager and compiled, in both memory layouts, steps in
    /// mixed precision (bf16) too if the processor has instructions for it
    #[arg(long, value_name = "PYTHON")]
    against_torch: Option<PathBuf>,
    /// Take convolutions' sums by the definition
    #[arg(long)]
    exact: bool,
    /// Registers of our kernels [default: the widest that the processor has]
    #[arg(long, value_enum)]
    simd: Option<Simd>,
    /// Write the measurements as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Be a contender: for the command itself
    #[arg(long, hide = true, value_name = "FOLDER")]
    serve: Option<PathBuf>,
    /// Batch of the work that a contender does
    #[arg(long, hide = true, default_value_t = 0)]
    batch: usize,
}

fn main() -> ExitCode {
    temper_core::nn::let_candle_rest();
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    anyhow::ensure!(cli.rounds != Some(0) && cli.threads > 0, "rounds and threads must be at least 1");
    cli.simd.map_or(Ok(()), Simd::force)?;
    if let (Some(folder), [part]) = (&cli.serve, &cli.works[..]) {
        return serve(Work { part: *part, batch: cli.batch }, cli.exact, folder);
    }
    let bf16 = cli.against_torch.is_some() && has_bf16();
    println!("{}", table::heading(cli.threads));
    let mut rows = vec![];
    for work in Work::all().into_iter().filter(|w| cli.works.is_empty() || cli.works.contains(&w.part)) {
        match measure(cli, work, bf16) {
            Ok(row) => {
                println!("{row}");
                rows.push(row);
            }
            Err(error) => println!("{}: not measured: {error:#}", work.name()),
        }
    }
    if let Some(file) = &cli.json {
        let all: Vec<_> = rows.iter().flat_map(Row::json).collect();
        let text = serde_json::to_string_pretty(&all)? + "\n";
        std::fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Measures one work in alternating rounds. `bf16`: also against mixed precision.
fn measure(cli: &Cli, work: Work, bf16: bool) -> anyhow::Result<Row> {
    let folder = tempfile::tempdir()?;
    let mut ours = Child::temper(work, cli.threads, (cli.exact, cli.simd), folder.path())?;
    let mut peers = vec![];
    if let Some(python) = &cli.against_torch {
        for mode in Mode::all(work, bf16) {
            match Child::torch(python, work, cli.threads, mode, folder.path()) {
                Ok(child) => peers.push(child),
                Err(error) => println!("{}: {error:#}: left out", work.name()),
            }
        }
    }
    let warming = usize::from(work.warms_up());
    for round in 0..warming + cli.rounds.unwrap_or_else(|| work.usual_rounds()) {
        ours.round(round >= warming)?;
        // A mode that fails, as compiling does without a compiler, is removed; the other modes keep their rows.
        peers.retain_mut(|peer| {
            let done = peer.round(round >= warming);
            done.inspect_err(|error| println!("{}: {error:#}: left out", work.name())).is_ok()
        });
    }
    let peers = peers.into_iter().map(Child::end).collect::<anyhow::Result<Vec<Measured>>>()?;
    Ok(Row { work, ours: ours.end()?, peers })
}
