//! What a pipeline may say about training beside the method: rates, gathered batches, averaged weights, selection.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use expect_test::expect;
use serde_json::Value;
use temper_runner::Pipeline;
use temper_train::{Precision, Trainer};

use crate::support::{STRIPES, numbers, playground, stderr, succeed, temper};
use crate::training::resume::assert_threads_change_nothing;

/// The playground's pipeline with lines of its own in `[train]`.
fn with(train: &str) -> String {
    STRIPES.replacen("[train]\n", &format!("[train]\n{train}\n"), 1)
}

/// The same, trained clean and without batch norm.
fn clean(train: &str) -> String {
    let lines = with(train).replace(", batch_norm = true", "");
    lines
        .lines()
        .filter(|l| !l.starts_with("attack.pgd = { steps = 2") && !l.starts_with("epsilon"))
        .fold(String::new(), |text, line| text + line + "\n")
}

pub(crate) fn weights(file: &Path) -> BTreeMap<String, Tensor> {
    candle_core::safetensors::load(file, &Device::Cpu).unwrap().into_iter().collect()
}

pub(crate) fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The largest difference of two networks' weights.
pub(crate) fn apart(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> f64 {
    let apart = |(name, a): (&String, &Tensor)| {
        let pairs = numbers(a).into_iter().zip(numbers(&b[name]));
        let off = pairs.map(|(a, b)| (a - b).abs());
        off.fold(0.0, |most: f64, off| if off.is_finite() { most.max(off) } else { f64::INFINITY })
    };
    a.iter().map(apart).fold(0.0, f64::max)
}

/// Without batch norm a step over gathered batches is a step over one large batch, to rounding; the last,
/// smaller ones too.
#[test]
fn gathered_batches_are_one_large_batch() {
    let folder = playground(&clean("accumulate = 2").replace("batch = 64", "batch = 48"));
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "gathered"]);
    succeed(
        folder,
        &["run", "run.toml", "--out", "large", "--set", "train.batch=96", "--set", "train.accumulate=1"],
    );
    succeed(folder, &["run", "run.toml", "--out", "small", "--set", "train.accumulate=1"]);
    let load = |run: &str| weights(&folder.join(run).join("model.safetensors"));
    let (gathered, large, small) = (load("gathered"), load("large"), load("small"));
    assert!(apart(&gathered, &large) < 1e-4, "{}", apart(&gathered, &large));
    assert!(apart(&gathered, &small) > 1e-2, "{}", apart(&gathered, &small));
    for (a, b) in metrics(&folder.join("gathered")).iter().zip(metrics(&folder.join("large"))) {
        assert!((a["loss"].as_f64().unwrap() - b["loss"].as_f64().unwrap()).abs() < 1e-4, "{a} {b}");
    }
}

/// The averaged weights are the result; batch norm's statistics are those of the trained ones; the checkpoint has both.
#[test]
fn averaged_weights_are_what_training_gives() {
    let folder = playground(&with("ema = { decay = 0.9 }"));
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "averaged"]);
    succeed(folder, &["run", "run.toml", "--out", "plain", "--set", "train.ema.decay=0"]);
    let (model, checkpoint) = (
        weights(&folder.join("averaged/model.safetensors")),
        weights(&folder.join("averaged/checkpoint.safetensors")),
    );
    for (name, weight) in &model {
        let trained = &checkpoint[&format!("weight/{name}")];
        if name.contains("running") {
            assert_eq!(numbers(weight), numbers(trained), "{name}");
        } else {
            assert_eq!(numbers(weight), numbers(&checkpoint[&format!("average/{name}")]), "{name}");
            assert_ne!(numbers(weight), numbers(trained), "{name}");
        }
    }
    // The average changes nothing in training; without memory it is the weights, to rounding.
    let plain = weights(&folder.join("plain/checkpoint.safetensors"));
    for (name, weight) in &checkpoint {
        if let Some(name) = name.strip_prefix("weight/") {
            assert_eq!(numbers(weight), numbers(&plain[&format!("weight/{name}")]), "{name}");
            if let Some(average) = plain.get(&format!("average/{name}")) {
                let pairs = numbers(weight).into_iter().zip(numbers(average));
                assert!(pairs.into_iter().all(|(w, a)| (w - a).abs() < 1e-6), "{name}");
            }
        }
    }
    let results = fs::read_to_string(folder.join("averaged/results.json")).unwrap();
    assert!(results.contains("\"averaged\": true"), "{results}");
}

/// The rate moves within an epoch: the metrics have that of its last step, here the 5th, 10th and 15th of 15.
#[test]
fn the_rate_follows_its_schedule_step_by_step() {
    let rates = |schedule: &str| -> Vec<f64> {
        let folder = playground(&clean(schedule));
        succeed(folder.path(), &["run", "run.toml"]);
        metrics(&folder.path().join("runs/run"))
            .iter()
            .map(|line| line["lr"].as_f64().unwrap() / 0.05)
            .collect()
    };
    let close = |got: Vec<f64>, want: [f64; 3]| {
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12), "{got:?}, expected {want:?}");
    };
    let half = |done: f64| 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
    close(rates("schedule.cosine = {}"), [4.0, 9.0, 14.0].map(|step| half(step / 15.0)));
    close(
        rates("schedule = { warmup = 1, warmup_start = 0.2, cosine = {} }"),
        [0.2 + 0.8 * 4.0 / 5.0, half(4.0 / 10.0), half(9.0 / 10.0)],
    );
    close(
        rates("schedule.one-cycle = { rise = 0.4, anneal = \"linear\", end = 0.0 }"),
        [0.04 + 0.96 * 4.0 / 5.0, 1.0 - 4.0 / 9.0, 0.0],
    );
    close(rates("schedule = { steps = [2, 1], factor = 0.5 }"), [1.0, 0.5, 0.25]);
}

const SELECT: &str =
    "[select]\nsamples = 80\nweights = \"both\"\nradius = 0.1\nattack.pgd = { steps = 2, step = 0.05 }\n\n";

fn selecting(train: &str) -> String {
    with(train).replacen("[[evaluate]]", &format!("{SELECT}[[evaluate]]"), 1)
}

/// The best weights are those that a run of so many epochs ends with, and the evaluations say which weights
/// they judged.
#[test]
fn the_best_weights_are_kept_and_judged() {
    // A rate that ruins the network in the last epoch, so that its weights are not the best.
    let wild = "schedule = { steps = [3], factor = 30.0 }";
    let folder = playground(&selecting(wild).replace("epochs = 3", "epochs = 4"));
    let folder = folder.path();
    let said = succeed(folder, &["run", "run.toml"]);
    assert!(said.contains("240 training, 80 held out, 80 test images"), "{said}");
    assert!(said.contains("weights"), "{said}");
    let run = folder.join("runs/run");
    let accuracies: Vec<f64> =
        metrics(&run).iter().map(|line| line["held_out"]["accuracy"].as_f64().unwrap()).collect();
    assert_eq!(accuracies.len(), 4);
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let epoch = 1 + accuracies.iter().position(|a| *a == best).unwrap();
    assert!(epoch < 4, "{accuracies:?}");

    let results: Value =
        serde_json::from_str(&fs::read_to_string(run.join("results.json")).unwrap()).unwrap();
    assert_eq!(
        (results["best"]["epoch"].as_u64(), results["best"]["accuracy"].as_f64()),
        (Some(epoch as u64), Some(best))
    );
    let judged: Vec<(&str, &str, u64)> = results["evaluations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["name"].as_str().unwrap(), e["weights"].as_str().unwrap(), e["epoch"].as_u64().unwrap()))
        .collect();
    let epoch_number = epoch as u64;
    assert_eq!(
        judged,
        [
            ("natural", "best", epoch_number),
            ("pgd", "best", epoch_number),
            ("natural", "last", 4),
            ("pgd", "last", 4)
        ]
    );
    let accuracy = |i: usize| results["evaluations"][i]["accuracy"].as_f64().unwrap();
    assert!(accuracy(0) > accuracy(2), "{results}");

    // The same weights by another way.
    let epochs = format!("train.epochs={epoch}");
    succeed(
        folder,
        &["run", "run.toml", "--out", "short", "--set", &epochs, "--set", "train.schedule.steps=[]"],
    );
    let (kept, ended) =
        (weights(&run.join("best.safetensors")), weights(&folder.join("short/model.safetensors")));
    for (name, weight) in &ended {
        assert_eq!(numbers(weight), numbers(&kept[name]), "{name}");
    }

    // Which weights are judged may be changed afterwards; weights of another epoch are not taken for the best.
    succeed(folder, &["run", "run.toml", "--resume", "--set", "select.weights=last"]);
    let results: Value =
        serde_json::from_str(&fs::read_to_string(run.join("results.json")).unwrap()).unwrap();
    assert_eq!(results["evaluations"].as_array().unwrap().len(), 2);
    fs::copy(run.join("model.safetensors"), run.join("best.safetensors")).unwrap();
    let output = temper(folder, &["run", "run.toml", "--resume"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("best.safetensors does not hold the weights of epoch "),
        "{}",
        stderr(&output)
    );
}

/// Judged every second epoch, and after the last.
#[test]
fn a_selection_judges_as_often_as_it_is_told() {
    let folder = playground(&selecting("").replace("samples = 80", "samples = 80\nevery = 2"));
    succeed(folder.path(), &["run", "run.toml"]);
    let judged: Vec<bool> = metrics(&folder.path().join("runs/run"))
        .iter()
        .map(|line| line["held_out"]["accuracy"].is_number())
        .collect();
    assert_eq!(judged, [false, true, true]);
}

/// Other test images with other labels, and the same training: the selection sees none of them.
#[test]
fn test_images_never_reach_the_selection() {
    let folder = playground(&selecting(""));
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "one"]);
    for (name, header) in [("t10k-images-idx3-ubyte", 16), ("t10k-labels-idx1-ubyte", 8)] {
        let file = folder.join("data").join(name);
        let mut bytes = fs::read(&file).unwrap();
        // Negatives, and every label the next one's.
        let images = header == 16;
        bytes[header..].iter_mut().for_each(|v| *v = if images { 255 - *v } else { (*v + 1) % 10 });
        fs::write(&file, bytes).unwrap();
    }
    succeed(folder, &["run", "run.toml", "--out", "other"]);
    let held_out = |run: &str| -> Vec<Value> {
        metrics(&folder.join(run)).iter().map(|line| line["held_out"]["accuracy"].clone()).collect()
    };
    assert!(held_out("one").iter().all(Value::is_number) && held_out("one").len() == 3);
    assert_eq!(held_out("one"), held_out("other"));
    let [one, other] =
        ["one", "other"].map(|run| fs::read(folder.join(run).join("best.safetensors")).unwrap());
    assert!(one == other, "the best weights are others");
    let accuracies = |run: &str| -> Vec<Value> {
        let text = fs::read_to_string(folder.join(run).join("results.json")).unwrap();
        let results: Value = serde_json::from_str(&text).unwrap();
        results["evaluations"].as_array().unwrap().iter().map(|e| e["accuracy"].clone()).collect()
    };
    assert_ne!(accuracies("one"), accuracies("other"));
}

/// New losses, radii by line search, gathered batches, averages and a selection give the same bits on one
/// thread and two; that all of it survives kills, `survive.rs` shows.
#[test]
fn no_option_depends_on_threads() {
    let rest = "accumulate = 2\nema = {}\nschedule.one-cycle = {}";
    let search = "epsilon.line-search = { start = 0.1, warmup = 1, max = 0.2, points = 3, probe = \"fgsm\" }";
    for loss in ["mixup", "trades", "mart"] {
        let pipeline = selecting(&format!("loss = \"{loss}\"\n{rest}"))
            .replace(
                "epsilon.instance-adaptive = { start = 0.1, warmup = 1, gamma = 0.05, beta = 0.4 }",
                search,
            )
            .replace("attack.pgd = { steps = 2, ", "attack.pgd = { start = \"noise\", steps = 2, ");
        assert_threads_change_nothing(&pipeline);
    }
}

/// Whoever makes the plan: the trainer refuses what it would not follow, and the device that counts is the
/// one it runs on.
#[test]
fn precisions_that_attacks_do_not_have_are_refused_where_they_would_be_used() {
    let folder = playground(&with(""));
    let mut pipeline = Pipeline::load(&folder.path().join("run.toml"), &[]).unwrap();
    let network = pipeline.model.build([1, 12, 12], 10).unwrap();
    for precision in [Precision::Bf16, Precision::F16] {
        pipeline.train.attack_precision = precision;
        let error = Trainer::new(&pipeline.train, 0, &Device::Cpu).start(network.clone(), 320).unwrap_err();
        let wanted =
            "`attack_precision`: a CPU computes no faster with 16 bits: our kernels count in 32; use \"f32\"";
        assert_eq!(error.to_string(), wanted);
    }
    let text = with("attack_precision = \"f16\"").replace("seed = 1", "seed = 1\ndevice = \"cuda:0\"");
    fs::write(folder.path().join("run.toml"), text).unwrap();
    for (device, why) in
        [("cpu", "a CPU computes no faster"), ("cuda:0", "on this device networks do not run in 16 bits")]
    {
        let output = temper(folder.path(), &["run", "run.toml", "--device", device]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let said = |pipeline: &str, args: &[&str]| {
        let folder = playground(pipeline);
        let output = temper(folder.path(), &[&["check", "run.toml"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    };
    expect![[r"
        error: run.toml:6:1: `steps` and `cosine` are two schedules: choose one of them
          at train.schedule
    "]]
    .assert_eq(&said(&with("schedule = { steps = [1], cosine = {} }"), &[]));
    expect![[r"
        error: run.toml:6:14: unknown field `cosien`; did you mean `cosine`? known: `steps`, `factor`, `warmup`, `warmup_start`, `cosine`, `one-cycle`
          at train.schedule.cosien
    "]].assert_eq(&said(&with("schedule = { cosien = {} }"), &[]));
    expect![[r"
        error: run.toml:6:28: invalid value: floating point `2.0`, expected a number from 0 to 1
          at train.schedule.one-cycle.rise
    "]]
    .assert_eq(&said(&with("schedule = { one-cycle = { rise = 2.0 } }"), &[]));
    expect![[r"
        error: run.toml:6:1: a warm-up of 3 epochs leaves none of 3: the rate would never be reached
          at train.schedule
    "]]
    .assert_eq(&said(&with("schedule = { warmup = 3, cosine = {} }"), &[]));
    expect![[r#"
        error: run.toml:6:1: a CPU computes no faster with 16 bits: our kernels count in 32; use "f32"
          at train.attack_precision
    "#]]
    .assert_eq(&said(&with("attack_precision = \"bf16\""), &[]));
    expect![[r#"
        error: run.toml:6:1: on this device networks do not run in 16 bits yet; use "f32"
          at train.attack_precision
    "#]]
    .assert_eq(&said(&with("attack_precision = \"f16\""), &["--set", "device=cuda:0"]));
    expect![[r"
        error: run.toml:6:1: `factor` without `steps`: name the epochs after which the rate falls
          at train.schedule
    "]]
    .assert_eq(&said(&with("schedule = { factor = 0.5 }"), &[]));
    expect![[r#"
        error: run.toml:7:1: the attack would move the statistics that `batch_norm = "frozen"` keeps: use "eval"
          at train.attack_batch_norm
        error: run.toml:8:1: a warm-up of 3 epochs leaves none of 3: the rate would never be reached
          at train.schedule
        error: run.toml:11:1: attack `pgd` needs radii: add `epsilon.fixed = { radius = "8/255" }` or another policy
          at train.attack
    "#]]
    .assert_eq(&said(
        &with("batch_norm = \"frozen\"\nattack_batch_norm = \"train\"\nschedule = { warmup = 3 }")
            .replace("epsilon.instance", "# epsilon.instance"),
        &[],
    ));
    expect![[r"
        error: run.toml:6:1: invalid value: integer `0`, expected a nonzero usize
          at train.accumulate
        error: run.toml:7:9: invalid value: floating point `2.0`, expected a number of at least 0 and below 1
          at train.ema.decay
    "]]
    .assert_eq(&said(&with("accumulate = 0\nema = { decay = 2 }"), &[]));
    expect![[r"
        error: run.toml:14:1: `samples` is 320, but there are 320 training images: some must be left to train on
          at select.samples
    "]].assert_eq(&said(&selecting("").replace("samples = 80", "samples = 320"), &[]));
    expect![[r"
        error: run.toml:13:2: missing field `samples`
          at select
    "]]
    .assert_eq(&said(&selecting("").replace("samples = 80\n", ""), &[]));
    expect![[r#"
        error: run.toml:16:1: a radius without an attack: add one, for example `attack = "pgd"`
          at select.radius
    "#]]
    .assert_eq(&said(
        &selecting("")
            .replace("\nradius = 0.1\nattack.pgd = { steps = 2, step = 0.05 }\n\n", "\nradius = 0.1\n\n"),
        &[],
    ));
}
