//! Images that cannot be decoded, where they meet gathered batches, averages, a selection and epsilon memories.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use candle_core::Device;
use serde_json::Value;

use crate::data::photos::{CLASSES, PIPELINE, assert_same, fixture, playground, results};
use crate::support::{command, numbers, succeed};
use crate::training::options::{apart, metrics, weights};

/// Lines of a pipeline that leaves out what is torn and holds out `samples` images.
fn selecting(pipeline: &str, samples: usize) -> String {
    let select = format!("[select]\nsamples = {samples}\nweights = \"both\"\n\n[[evaluate]]");
    pipeline.replace("size = 12", "skip_unreadable = true, size = 12").replacen("[[evaluate]]", &select, 1)
}

/// Tears these of a playground's training images, of which each class has `each`; returns how they are
/// listed, by index in the data set.
fn tear(folder: &Path, each: usize, torn: &[usize]) -> Vec<(usize, String)> {
    let halved = fixture("halved.jpg");
    let tear = |index: &usize| {
        let file = format!("set/train/{}/{:03}.png", CLASSES[index / each], index % each);
        fs::write(folder.join(&file), &halved[..halved.len() - 300]).unwrap();
        (*index, format!("{file}: truncated JPEG: it has no end"))
    };
    torn.iter().map(tear).collect()
}

/// Every torn image is told of, be it one to train on or one held out; what is told of a sample names its
/// place in the data set, and radii that no step could change count in no statistics.
#[test]
fn torn_images_are_told_wherever_they_are_drawn() {
    let folder = playground(&selecting(PIPELINE, 24), 20, 6);
    let folder = folder.path();
    let torn = tear(folder, 20, &[3, 8, 15, 21, 30, 33, 39, 44, 52, 57]);
    let said = succeed(folder, &["run", "run.toml"]);
    let metrics = metrics(&folder.join("runs/run"));
    let results = results(folder, "runs/run");
    let listed = |split: &str| -> Vec<String> {
        serde_json::from_value(results["dataset"][split]["unreadable"].clone()).unwrap()
    };
    let (trained, held_out) = (listed("train"), listed("held_out"));
    assert!(!trained.is_empty() && !held_out.is_empty());
    let all: BTreeSet<&String> = trained.iter().chain(&held_out).collect();
    assert_eq!(all, torn.iter().map(|(_, why)| why).collect());
    assert_eq!(trained.len() + held_out.len(), torn.len());
    let wanted = format!("skipped {} of 24 held out images, which cannot be decoded:\n", held_out.len());
    assert!(said.contains(&wanted), "{said}");

    let of = |list: &[String]| -> Vec<(usize, String)> {
        torn.iter().filter(|(_, why)| list.contains(why)).cloned().collect()
    };
    for line in &metrics {
        let judged = &line["held_out"];
        assert_eq!(judged["n"], 24 - held_out.len());
        let named: Value =
            of(&held_out).into_iter().map(|(index, why)| (index.to_string(), Value::from(why))).collect();
        assert_eq!(judged["unreadable"], named);
    }

    let file =
        candle_core::safetensors::load(folder.join("runs/run/epsilon/epoch-0003.safetensors"), &Device::Cpu);
    let file = file.unwrap();
    let (memory, index) = (numbers(&file["memory"]), file["index"].to_vec1::<i64>().unwrap());
    assert_eq!((memory.len(), index.len()), (36, 36));
    assert!(index.is_sorted() && index.iter().all(|i| (0..60).contains(i)));
    let torn_at = |i: i64| torn.iter().any(|(index, _)| *index as i64 == i);
    let met: Vec<i64> = index.iter().copied().filter(|i| torn_at(*i)).collect();
    assert_eq!(met, of(&trained).iter().map(|(index, _)| *index as i64).collect::<Vec<_>>());

    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let decoded: Vec<f64> =
        memory.iter().zip(&index).filter(|(_, i)| !torn_at(**i)).map(|(radius, _)| *radius).collect();
    let told = metrics[2]["mean_radius"].as_f64().unwrap();
    assert!((told - mean(&decoded)).abs() < 1e-12 && (told - mean(&memory)).abs() > 1e-6, "{told}");
}

/// Starts or continues the run in the folder `cut`; it has a moment, after the metrics of an epoch are there.
fn cut(folder: &Path, more: &[&str]) -> Child {
    let mut child = command(folder);
    child.args(["run", "run.toml", "--out", "cut"]).args(more).stdout(Stdio::null()).stderr(Stdio::null());
    let child = child.spawn().unwrap();
    let patience = Instant::now();
    while fs::read_to_string(folder.join("cut/metrics.jsonl")).unwrap_or_default().is_empty() {
        assert!(patience.elapsed() < Duration::from_secs(60), "no epoch came to its end");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

/// Gathered batches with gaps, averages and a selection: killed, interrupted and continued, the same bits.
#[test]
fn gathered_batches_with_gaps_resume_to_the_same_bits() {
    let pipeline = selecting(PIPELINE, 11)
        .replace("seed = 3", "seed = 3\ncheckpoint_minutes = 1e-9")
        .replace("epochs = 3", "epochs = 5")
        .replace("batch = 16", "batch = 4\naccumulate = 3\nema = { decay = 0.9 }");
    let folder = playground(&pipeline, 21, 6);
    let folder = folder.path();
    tear(folder, 21, &[4, 30, 55]);
    let said = succeed(folder, &["run", "run.toml", "--out", "whole"]);
    assert!(said.contains(" training images, which cannot be decoded"), "{said}");

    let mut child = cut(folder, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.join("cut/results.json").exists(), "the run was over before it was killed");
    let mut child = cut(folder, &["--resume"]);
    if cfg!(unix) {
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    }
    child.wait().unwrap();
    let mut resume = command(folder);
    resume.args(["run", "run.toml", "--out", "cut", "--resume"]).env("RAYON_NUM_THREADS", "1");
    assert!(resume.output().unwrap().status.success());
    assert_same(folder, "whole", "cut");
}

/// Without batch norm and attack a step over three batches with gaps is a step over one batch with the same
/// gaps: each image that could be decoded weighs alike, in the last, smaller step too.
#[test]
fn gathered_batches_with_gaps_are_one_batch_with_gaps() {
    let clean = PIPELINE.replace(", batch_norm = true", "");
    let clean = clean.lines().filter(|line| !line.starts_with("attack.pgd = { steps = 2"));
    let clean = clean.filter(|line| !line.starts_with("epsilon"));
    let clean = clean.fold(String::new(), |text, line| text + line + "\n");
    let folder = playground(&selecting(&clean, 11).replace("batch = 16", "batch = 4\naccumulate = 3"), 21, 6);
    let folder = folder.path();
    tear(folder, 21, &[4, 30, 55]);
    let run = |out: &str, more: &[&str]| {
        let said = succeed(folder, &[&["run", "run.toml", "--out", out], more].concat());
        assert!(said.contains(" training images, which cannot be decoded"), "{said}");
        weights(&folder.join(out).join("model.safetensors"))
    };
    let start = run("short", &["--set", "train.epochs=1"]);
    let gathered = run("gathered", &[]);
    let large = run("large", &["--set", "train.batch=12", "--set", "train.accumulate=1"]);
    assert!(apart(&gathered, &large) < 1e-4, "{}", apart(&gathered, &large));
    assert!(apart(&gathered, &start) > 1e-2, "{}", apart(&gathered, &start));
}
