//! The program `temper`: links the plugins and runs pipelines written in TOML.
//!
//! It is also a library, so that tests use the same registries.

mod attack;
mod attacked;
mod catalogue;
mod cells;
mod check;
mod classes;
mod cli;
mod compare;
mod config;
mod device;
mod explain;
mod export;
mod fetch;
mod footprint;
mod images;
mod init;
mod init_radii;
mod inline;
mod inspect;
mod interrupt;
mod judge;
mod machine;
mod material;
mod model_weights;
mod normalisation;
mod other_epochs;
mod output;
mod own_radii;
mod place;
mod plugins;
mod png;
mod profiled;
mod progress;
mod radii;
mod reading;
mod reference;
mod report;
mod reproduce;
mod resume;
mod run;
mod run_dir;
mod schema;
mod select;
mod shells;
mod show;
mod stored;
mod summary;
mod sweep;
mod tensorboard;
mod timed;
mod toml_file;
mod trained;
mod transfer;
mod unfinished;
mod warnings;
mod written;

use std::process::ExitCode;

pub use catalogue::{describe, list};
pub use config::{BadConfig, Pipeline};
pub use reference::reference;
pub use schema::schema;
pub use select::{Select, Which};

/// Attacks allocate and free megabytes per step; glibc's allocator returns such blocks to the system each
/// time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the command line. Exit codes: 0 success, 1 a failed run, 2 a bad configuration or command; 129, 130
/// and 143 a run stopped by SIGHUP, Ctrl-C and SIGTERM.
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
            // The chain of causes. With RUST_BACKTRACE candle writes its backtrace into its messages.
            let text = chain(&error);
            let lines = text.lines().take_while(|line| !line.trim_start().starts_with("0: "));
            output::fail(&lines.collect::<Vec<_>>().join("\n"), code);
            ExitCode::from(code)
        }
    }
}

/// An error and its causes. Some errors repeat the message of their cause.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.ends_with(&cause) {
        _ if text.is_empty() => cause,
        true => text,
        false => format!("{text}: {cause}"),
    })
}
