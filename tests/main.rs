//! Tests of the whole: registries, golden values, the command line as a user types it. One binary.

mod attacks;
mod cli;
mod data;
mod evaluation;
mod experiments;
mod networks;
mod real_inputs;
mod support;
mod training;

#[test]
fn the_workspace_is_tidy() {
    let faults = xtask::tidy::faults(&support::root()).unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
