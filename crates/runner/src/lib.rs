//! The binary `temper`: assembles the plugins and runs pipelines written in TOML.
//!
//! It is a library too, so that the tests see the registries that the binary sees.

mod attack;
mod attacked;
mod catalogue;
mod cells;
mod check;
mod classes;
mod cli;
mod config;
mod device;
mod fetch;
mod footprint;
mod images;
mod inline;
mod interrupt;
mod judge;
mod machine;
mod material;
mod output;
mod own_radii;
mod place;
mod plugins;
mod progress;
mod reading;
mod reproduce;
mod resume;
mod run;
mod run_dir;
mod select;
mod shell;
mod show;
mod stored;
mod summary;
mod timed;
mod toml_file;
mod transfer;
mod warnings;
mod written;

use std::process::ExitCode;

pub use catalogue::{describe, list};
pub use config::{BadConfig, Pipeline};
pub use select::{Select, Which};

/// Attacks allocate and free megabytes a step; glibc's allocator gives such blocks back to the system each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the command line: 0 for success, 1 for a failed run, 2 for a bad configuration or command, 129, 130 and 143 for a run
/// that was stopped by SIGHUP, Ctrl-C and SIGTERM.
pub fn main() -> ExitCode {
    temper_core::nn::let_candle_rest();
    match cli::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            if let Some(stopped) = error.downcast_ref::<interrupt::Stopped>() {
                output::remark(&stopped.to_string());
                return ExitCode::from(stopped.code);
            }
            let code = if error.is::<BadConfig>() { 2 } else { 1 };
            // The chain of causes. candle writes its backtrace into its messages where RUST_BACKTRACE is set.
            let text = chain(&error);
            let lines = text.lines().take_while(|line| !line.trim_start().starts_with("0: "));
            output::remark(&format!("error: {}", lines.collect::<Vec<_>>().join("\n")));
            ExitCode::from(code)
        }
    }
}

/// An error and its causes; some errors repeat their cause in their own words.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.ends_with(&cause) {
        _ if text.is_empty() => cause,
        true => text,
        false => format!("{text}: {cause}"),
    })
}
