//! The binary `temper`.

use std::process::ExitCode;

fn main() -> ExitCode {
    temper_runner::main()
}
