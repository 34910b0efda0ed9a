//! The binary `temper`, built once more where the tests can find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    temper_runner::main()
}
