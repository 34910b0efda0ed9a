//! A run that is killed and continued gives the bits of one that never was.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{STRIPES, command, playground, succeed};

/// All files of a run that must agree to the bit, and the rest without its timings.
fn essence(run: &Path) -> Vec<(String, Vec<u8>)> {
    let names = ["model.safetensors", "checkpoint.safetensors", "config.toml"].map(String::from).into_iter();
    let epochs = (1..=3).map(|epoch| format!("epsilon/epoch-{epoch:04}.safetensors"));
    let mut all: Vec<_> =
        names.chain(epochs).map(|name| (name.clone(), fs::read(run.join(name)).unwrap())).collect();
    let timeless = |text: &str| {
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        forget_seconds(&mut value);
        value.to_string().into_bytes()
    };
    for line in fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines() {
        all.push(("metrics.jsonl".into(), timeless(line)));
    }
    all.push(("results.json".into(), timeless(&fs::read_to_string(run.join("results.json")).unwrap())));
    all
}

fn forget_seconds(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(object) => {
            object.retain(|key, _| !key.ends_with("seconds"));
            object.values_mut().for_each(forget_seconds);
        }
        serde_json::Value::Array(array) => array.iter_mut().for_each(forget_seconds),
        _ => {}
    }
}

fn assert_same(a: &Path, b: &Path, what: &str) {
    for ((name, left), (_, right)) in essence(a).into_iter().zip(essence(b)) {
        assert!(left == right, "{what}: {name} differs");
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
    let checkpoint = folder.join("cut/checkpoint.safetensors");
    let patience = Instant::now();
    while !checkpoint.exists() && patience.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.join("cut/results.json").exists(), "the run was over before it was killed");
    let resumed = succeed(folder, &["run", "run.toml", "--out", "cut", "--resume"]);
    assert!(resumed.contains("resume  after epoch "), "{resumed}");
    assert_same(&folder.join("whole"), &folder.join("cut"), "resumed");

    // A finished run can be resumed too: nothing is left to train, the evaluations come out again.
    succeed(folder, &["run", "run.toml", "--out", "cut", "--resume"]);
    assert_same(&folder.join("whole"), &folder.join("cut"), "resumed after its end");
}

/// Runs a pipeline on one thread and on two, and asserts that both give the same bits.
fn assert_threads_change_nothing(pipeline: &str) {
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
