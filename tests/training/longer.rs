//! Runs that are resumed with another number of epochs: the bits of a run that was started with it, or an error.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use expect_test::expect;

use super::resume::assert_same;
use crate::support::{STRIPES, command, fails, json, playground, succeed};

/// A pipeline in which everything is used that changes during training and does not depend on the number of epochs.
fn pipeline() -> String {
    let more = "optimizer = { lr = 0.05 }\naccumulate = 2\nema = { decay = 0.9 }\naugment = { pad = 1 }\n\
                schedule = { steps = [1], factor = 0.5, warmup = 1 }\n\n[select]\nsamples = 64\nweights = \"both\"\n\
                radius = 0.1\nattack.pgd = { steps = 2, step = 0.05 }\n";
    STRIPES.replace("optimizer = { lr = 0.05 }\n", more)
}

/// The arguments of a run with this number of epochs.
fn args<'a>(out: &'a str, epochs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "run.toml", "--out", out, "--set", epochs], more].concat()
}

#[test]
fn a_run_that_has_ended_goes_on_to_the_bits_of_a_longer_one() {
    let folder = playground(&pipeline());
    let folder = folder.path();
    succeed(folder, &args("whole", "train.epochs=4", &[]));
    succeed(folder, &args("cut", "train.epochs=2", &[]));
    let before = json(&folder.join("cut/results.json"));
    let said = succeed(folder, &args("cut", "train.epochs=4", &["--resume"]));
    let expected = "resume  after epoch 2 of 4; it was started with 2 epochs\n        its earlier results, report and model \
                    are kept in cut/ended-after-2\n";
    assert!(said.starts_with(expected), "{said}");
    assert_same(&folder.join("whole"), &folder.join("cut"), "longer");

    // Everything is evaluated again, with the new weights.
    let after = json(&folder.join("cut/results.json"));
    let last = |results: &serde_json::Value| -> Vec<u64> {
        let all = results["evaluations"].as_array().unwrap().iter().filter(|e| e["weights"] == "last");
        all.map(|e| e["epoch"].as_u64().unwrap()).collect()
    };
    assert_eq!((last(&before), last(&after)), (vec![2, 2], vec![4, 4]));
    assert!(folder.join("cut/report.html").exists());
    // What the shorter run left is kept, and its records are not among those of the longer one.
    let aside = folder.join("cut/ended-after-2");
    assert_eq!(json(&aside.join("results.json")), before);
    for name in ["model.safetensors", "report.html", "records.jsonl"] {
        assert!(aside.join(name).exists(), "{name}");
    }
    let records = |run: &str| lines(&folder.join(run).join("records.jsonl"));
    assert_eq!(records("cut"), records("whole"));

    fails(
        folder,
        &args("cut", "train.epochs=3", &["--resume", "--set", "seed=2"]),
        &expect![[r"
            error: cut/checkpoint.safetensors belongs to another configuration
              seed: was 1, is now 2
              train.epochs: was 4, is now 3, but epoch 4 has already begun
              undo the change, or start anew with --force or --out DIR
        "]],
    );
}

/// Number of lines of a file.
fn lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// Until a run that goes on has ended again it is a run that has not ended, and it may end sooner than was planned.
#[test]
fn a_longer_run_may_be_killed_and_cut_short() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    succeed(folder, &args("cut", "train.epochs=1", &[]));
    let long = args("cut", "train.epochs=1000", &["--resume"]);
    let mut child = command(folder).args(&long).stdout(Stdio::null()).spawn().unwrap();
    let patience = Instant::now();
    while lines(&folder.join("cut/metrics.jsonl")) < 2 {
        assert!(patience.elapsed() < Duration::from_secs(120), "no second epoch came to its end");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for gone in ["results.json", "model.safetensors", "report.html"] {
        assert!(!folder.join("cut").join(gone).exists(), "{gone} is of the shorter run");
    }
    // Of the epoch after the metrics the first batches may be done.
    let epochs = format!("train.epochs={}", lines(&folder.join("cut/metrics.jsonl")) + 1);
    succeed(folder, &args("whole", &epochs, &[]));
    succeed(folder, &args("cut", &epochs, &["--resume"]));
    assert_same(&folder.join("whole"), &folder.join("cut"), "cut short");
}

#[test]
fn what_depends_on_the_number_of_epochs_is_named() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    let small = ["--set", "subset.train=128", "--set", "subset.test=20"];
    let cosine = [&small[..], &["--set", "train.schedule.cosine={}"]].concat();
    succeed(folder, &args("cosine", "train.epochs=2", &cosine));
    let resumed = [&cosine[..], &["--resume"]].concat();
    fails(
        folder,
        &args("cosine", "train.epochs=4", &resumed),
        &expect![[r"
            error: cosine/checkpoint.safetensors belongs to another configuration
              train.epochs: was 2, is now 4; `train.schedule.cosine` depends on it: step 2 would have had another learning rate
              undo the change, or start anew with --force or --out DIR
              or train further in a new run from its weights and radii: --out DIR --set train.init=cosine/model.safetensors --set train.init_radii=cosine
              a warm-up of the epsilon policy would not use these radii: set it to 0
        "]],
    );
    // What the error advises works.
    let further = ["--set", "train.init=cosine/model.safetensors", "--set", "train.init_radii=cosine"];
    succeed(folder, &args("further", "train.epochs=2", &[&cosine[..], &further].concat()));

    let cycle =
        [&small[..], &["--set", "train.schedule.one-cycle={}", "--set", "select.samples=28"]].concat();
    let cycle = [&cycle[..], &["--set", "select.every=3"]].concat();
    succeed(folder, &args("cycle", "train.epochs=2", &cycle));
    fs::remove_file(folder.join("cycle/model.safetensors")).unwrap();
    let resumed = [&cycle[..], &["--resume", "--set", "train.optimizer.lr=0.1"]].concat();
    let before = fs::read(folder.join("cycle/results.json")).unwrap();
    fails(
        folder,
        &args("cycle", "train.epochs=4", &resumed),
        &expect![[r"
            error: cycle/checkpoint.safetensors belongs to another configuration
              train.optimizer.lr: was 0.05, is now 0.1
              train.epochs: was 2, is now 4; `train.schedule.one-cycle` depends on it: step 2 would have had another learning rate
              train.epochs: was 2, is now 4; `select.every` depends on it: epoch 2 was evaluated on the held-out images only because it was the last
              undo the change, or start anew with --force or --out DIR
              or let this run end as it was started, then train further in a new run from its weights and radii: --out DIR --set train.init=cycle/model.safetensors --set train.init_radii=cycle
              a warm-up of the epsilon policy would not use these radii: set it to 0
        "]],
    );
    assert_eq!(fs::read(folder.join("cycle/results.json")).unwrap(), before, "a refused command changed it");
}

/// A run that replaces a longer one leaves nothing of it, but what is not temper's stays.
#[test]
fn a_replaced_run_leaves_no_earlier_ends() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    succeed(folder, &args("run", "train.epochs=1", &[]));
    succeed(folder, &args("run", "train.epochs=2", &["--resume"]));
    let aside = folder.join("run/ended-after-1");
    fs::write(aside.join("notes.txt"), "mine").unwrap();
    fs::write(folder.join("run/report.html"), "<h1>mine</h1>").unwrap();
    let said = succeed(folder, &args("run", "train.epochs=1", &["--force"]));
    assert!(said.contains("note    there is no report of this: run/report.html is there"), "{said}");
    assert_eq!(fs::read_dir(&aside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(aside.join("notes.txt")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(folder.join("run/report.html")).unwrap(), "<h1>mine</h1>");
}
