//! Pipelines that train nothing: weights of a file, judged as they are.

use std::fs;
use std::path::Path;

use expect_test::expect;
use serde_json::Value;

use crate::support::{STRIPES, fails, json, playground, refuses, stderr, succeed, temper};

const TRAINED: &str = "model.convnet = { channels = [4, 8], hidden = 16, batch_norm = true }";
const WEIGHTS: &str =
    "model.convnet = { channels = [4, 8], hidden = 16, batch_norm = true, weights = \"net.pth\" }";

/// The pipeline [`STRIPES`] with another model, and without its table `[train]`.
fn untrained(model: &str) -> String {
    assert!(STRIPES.contains(TRAINED));
    let text = STRIPES.replace(TRAINED, model);
    let (before, rest) = text.split_once("[train]").unwrap();
    let (_, after) = rest.split_once("[[evaluate]]").unwrap();
    format!("{before}[[evaluate]]{after}")
}

/// Without what differs between two runs of one network: labels, times and machines.
fn numbers(run: &Path) -> Vec<[Value; 4]> {
    let results = json(&run.join("results.json"));
    let evaluations = results["evaluations"].as_array().unwrap();
    let keys = ["name", "accuracy", "n", "interval"];
    evaluations.iter().map(|evaluation| keys.map(|key| evaluation[key].clone())).collect()
}

#[test]
fn weights_are_judged_as_the_run_judged_them() {
    let folder = playground(STRIPES);
    let at = folder.path();
    succeed(at, &["run", "run.toml"]);
    succeed(at, &["export", "runs/run", "--format", "onnx", "--out", "net.onnx"]);
    succeed(at, &["export", "runs/run", "--format", "pth", "--out", "net.pth"]);
    let want = numbers(&at.join("runs/run"));
    for (name, model) in [
        ("pth", WEIGHTS.to_string()),
        ("safetensors", WEIGHTS.replace("net.pth", "runs/run/model.safetensors")),
        ("onnx", "model.onnx = { path = \"net.onnx\" }".to_string()),
    ] {
        let file = format!("{name}.toml");
        fs::write(at.join(&file), untrained(&model)).unwrap();
        let checked = succeed(at, &["check", &file]);
        assert!(checked.contains("test images (") && !checked.contains(" training"), "{checked}");
        let said = succeed(at, &["run", &file]);
        assert!(!said.contains(" training"), "{said}");
        let run = at.join("runs").join(name);
        assert_eq!(numbers(&run), want, "{name}");
        let results = json(&run.join("results.json"));
        assert!(results["training"].is_null() && results["dataset"]["train"].is_null(), "{results}");
        // What it leaves is a run like any other: shown, resumed, attacked.
        succeed(at, &["show", &format!("runs/{name}"), "--sample", "0"]);
        succeed(at, &["run", &file, "--resume"]);
        assert_eq!(numbers(&run), want, "{name}");
        succeed(at, &["attack", &format!("runs/{name}"), "--attack", "fgsm", "--eps", "0.1"]);
    }
}

#[test]
fn what_neither_trains_nor_judges_is_refused_where_it_is_written() {
    let folder = playground(STRIPES);
    let at = folder.path();
    fs::write(at.join("no.toml"), untrained(TRAINED)).unwrap();
    refuses(
        at,
        &["check", "no.toml"],
        &expect![[r#"
            error: no.toml:1:1: missing field `train`; a pipeline without it needs a model with weights, as in `model.resnet = { weights = "w.pth" }`
        "#]],
    );
    let both = STRIPES.replace(TRAINED, WEIGHTS).replace("[train]", "[train]\ninit = \"other.pth\"");
    fs::write(at.join("both.toml"), both).unwrap();
    refuses(
        at,
        &["check", "both.toml"],
        &expect![[r"
        error: both.toml:3:7: `train.init` names weights, too: leave one of them out
          at model.convnet.weights
    "]],
    );
    fs::write(at.join("number.toml"), untrained(&WEIGHTS.replace("\"net.pth\"", "3"))).unwrap();
    refuses(
        at,
        &["check", "number.toml"],
        &expect![[r"
            error: number.toml:3:7: expected the path of a file of weights, as text
              at model.convnet.weights
        "]],
    );
    // A slip is told once, and not as if no weights were named.
    fs::write(at.join("slip.toml"), untrained(&WEIGHTS.replace("weights", "wieghts"))).unwrap();
    refuses(
        at,
        &["check", "slip.toml"],
        &expect![[r"
            error: slip.toml:3:70: unknown field `wieghts`; did you mean `weights`? known: `channels`, `kernel`, `pool`, `batch_norm`, `hidden`, `mean`, `std`, `weights`
              at model.convnet.wieghts
        "]],
    );
    // `--model` names none: the file is an argument of its own.
    let model = WEIGHTS.trim_start_matches("model.");
    refuses(
        at,
        &[
            "attack",
            "net.pth",
            "--data",
            "fashion-mnist",
            "--model",
            model,
            "--attack",
            "fgsm",
            "--eps",
            "0.1",
        ],
        &expect![[r#"
            error: --model convnet = { channels = [4, 8], hidden = 16, batch_norm = true, weights = "net.pth" }: unknown field `weights`; known: `channels`, `kernel`, `pool`, `batch_norm`, `hidden`, `mean`, `std`
              at model.convnet.weights
        "#]],
    );
    refuses(
        at,
        &["check", "run.toml", "--set", "train.epochs=0"],
        &expect![[r#"
        error: --set train.epochs=0: 0 epochs train nothing, and there are no weights: name a file of them, as in `model.resnet = { weights = "w.pth" }`, or train for 1 epoch or more
          at train.epochs
    "#]],
    );
    let nothing = untrained(WEIGHTS);
    let (nothing, _) = nothing.split_once("[[evaluate]]").unwrap();
    fs::write(at.join("nothing.toml"), nothing).unwrap();
    refuses(
        at,
        &["check", "nothing.toml"],
        &expect![[r"
        error: nothing.toml:1:1: nothing to do: no training and no `[[evaluate]]`
    "]],
    );
    fs::write(at.join("absent.toml"), untrained(WEIGHTS)).unwrap();
    fails(
        at,
        &["run", "absent.toml"],
        &expect![[r"
        error: cannot read net.pth: No such file or directory (os error 2)
    "]],
    );
}

#[test]
fn weights_of_other_classes_are_refused_where_they_are_named() {
    let folder = playground(STRIPES);
    let at = folder.path();
    succeed(at, &["run", "run.toml"]);
    // Ten digits instead of ten clothes.
    let other = untrained(&WEIGHTS.replace("net.pth", "runs/run/model.safetensors"));
    let other = other.replace("dataset.fashion-mnist", "dataset.mnist");
    fs::write(at.join("other.toml"), other).unwrap();
    refuses(
        at,
        &["check", "other.toml"],
        &expect![[r"
        error: other.toml:3:70: runs/run/model.safetensors and the images have other classes: label 0 is `T-shirt/top` and `0`
          runs/run/model.safetensors: `T-shirt/top`, `Trouser`, `Pullover`, `Dress`, `Coat`, `Sandal`, `Shirt`, `Sneaker`, `Bag`, `Ankle boot`
          the images: `0`, `1`, `2`, `3`, `4`, `5`, `6`, `7`, `8`, `9`
          if each label means the same in both, say `ignore_class_names = true` at the top of the pipeline
          at model.convnet.weights
    "]],
    );
}

#[test]
fn other_weights_in_the_file_are_refused_and_other_test_images_are_not() {
    let folder = playground(STRIPES);
    let at = folder.path();
    succeed(at, &["run", "run.toml"]);
    succeed(at, &["run", "run.toml", "--out", "runs/other", "--set", "seed=2", "--set", "train.epochs=1"]);
    let weights = at.join("weights.safetensors");
    fs::copy(at.join("runs/run/model.safetensors"), &weights).unwrap();
    fs::write(at.join("judge.toml"), untrained(&WEIGHTS.replace("net.pth", "weights.safetensors"))).unwrap();
    succeed(at, &["run", "judge.toml"]);
    succeed(at, &["run", "judge.toml", "--resume", "--set", "subset.test=40"]);
    let evaluation = &json(&at.join("runs/judge/results.json"))["evaluations"][0];
    assert_eq!(evaluation["n"], 40);
    fs::copy(at.join("runs/other/model.safetensors"), &weights).unwrap();
    let refused = temper(at, &["run", "judge.toml", "--resume"]);
    let said = stderr(&refused);
    // The hashes are of weights, whose last bits depend on the processor.
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("belongs to another configuration\n  data.weights: was \""), "{said}");
}
