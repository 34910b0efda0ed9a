//! A run that is killed and continued gives the bits of one that never was.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use xtask::torture::essence;

use crate::support::{STRIPES, assert_bits, command, playground, succeed};

/// Asserts that two runs left the same bits, apart from times.
pub(crate) fn assert_same(a: &Path, b: &Path, what: &str) {
    let [a, b] = [a, b].map(|run| essence(run).unwrap());
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{what}");
    for (name, left) in a {
        assert!(left == b[&name], "{what}: {name} differs");
    }
}

#[test]
fn a_killed_and_resumed_run_gives_the_same_bits() {
    // More images than elsewhere, so that there is time to kill.
    let folder = playground(STRIPES);
    let folder = folder.path();
    crate::support::stripes(&folder.join("data"), 3000, 80);
    succeed(folder, &["run", "run.toml", "--out", "whole"]);

    let mut child = command(folder).args(["run", "run.toml", "--out", "cut"]).spawn().unwrap();
    // Metrics of an epoch come just before its checkpoint: the kill falls beside it, before or after.
    let metrics = folder.join("cut/metrics.jsonl");
    let patience = Instant::now();
    while fs::read_to_string(&metrics).unwrap_or_default().is_empty() {
        assert!(patience.elapsed() < Duration::from_secs(120), "no epoch came to its end");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.join("cut/results.json").exists(), "the run was over before it was killed");
    let resumed = succeed(folder, &["run", "run.toml", "--out", "cut", "--resume"]);
    assert!(resumed.contains("resume  "), "{resumed}");
    assert_same(&folder.join("whole"), &folder.join("cut"), "resumed");
    // As in the quickstart's twin.
    assert_bits(&folder.join("cut"), "1b84b62ea19df4d4");

    // A finished run can be resumed too: nothing is left to train, the evaluations come out again.
    succeed(folder, &["run", "run.toml", "--out", "cut", "--resume"]);
    assert_same(&folder.join("whole"), &folder.join("cut"), "resumed after its end");
}

/// Runs a pipeline on one thread and on two, and asserts that both give the same bits.
pub(crate) fn assert_threads_change_nothing(pipeline: &str) {
    let folder = playground(pipeline);
    let folder = folder.path();
    for threads in ["1", "2"] {
        let mut run = command(folder);
        let output = run
            .args(["run", "run.toml", "--out", threads])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", crate::support::stderr(&output));
    }
    assert_same(&folder.join("1"), &folder.join("2"), "threads");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    assert_threads_change_nothing(STRIPES);
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_over() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "whole"]);
    fs::create_dir_all(folder.join("cut/epsilon")).unwrap();
    fs::copy(folder.join("whole/config.toml"), folder.join("cut/config.toml")).unwrap();
    succeed(folder, &["run", "run.toml", "--out", "cut", "--resume"]);
    assert_same(&folder.join("whole"), &folder.join("cut"), "started over");
}

/// The authors' reading, where batch norm mixes samples: still the same bits for any number of threads.
#[test]
fn batch_statistics_in_the_attack_are_deterministic_too() {
    let authors = STRIPES
        .replace(
            "attack.pgd = { steps = 2",
            "attack_batch_norm = \"train\"\nattack.pgd = { start = \"unclamped\", steps = 2",
        )
        .replace("beta = 0.4", "beta = 0.4, misclassified = \"decay\", memory = \"zero\"");
    assert_threads_change_nothing(&authors);
}
