//! A network and images must name the same classes in the same order, wherever they meet.

use std::fs;
use std::path::Path;

use serde_json::Value;
use temper_results::Warning;
use temper_train::load_about;

use crate::data::photos::{PIPELINE, playground};
use crate::support::{json, stderr, succeed, temper};

/// A run on class folders of three colours, in `runs/run`; then the folder `blue` is called `violet`, which comes last.
fn renamed() -> tempfile::TempDir {
    let folder = playground(&PIPELINE.replace("epochs = 3", "epochs = 1"), 8, 4);
    succeed(folder.path(), &["run", "run.toml"]);
    for split in ["train", "test"] {
        let split = folder.path().join("set").join(split);
        fs::rename(split.join("blue"), split.join("violet")).unwrap();
    }
    folder
}

fn refused(folder: &Path, args: &[&str], code: i32) -> String {
    let output = temper(folder, args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
    let said = stderr(&output);
    for list in
        ["`blue`, `green`, `red`", "the images: `green`, `red`, `violet`", "label 0 is `blue` and `green`"]
    {
        assert!(said.contains(list), "{args:?}: {list} is not in {said}");
    }
    said
}

fn classes(file: &Path) -> Value {
    let about: Value = serde_json::from_str(&load_about(file).unwrap().unwrap()).unwrap();
    about["classes"].clone()
}

#[test]
fn other_names_are_refused_wherever_a_network_meets_images() {
    let folder = renamed();
    let folder = folder.path();
    let resume = refused(folder, &["run", "run.toml", "--resume"], 2);
    assert!(resume.contains("`ignore_class_names = true`"), "{resume}");
    let attack = ["attack", "runs/run", "--attack", "fgsm", "--eps", "0.01"];
    let told = refused(folder, &attack, 2);
    assert!(told.contains("--ignore-class-names"), "{told}");
    let transfer =
        ["transfer", "runs/run", "runs/run/model.safetensors", "--attack", "fgsm", "--eps", "0.01"];
    refused(folder, &transfer, 2);
    let init = ["check", "run.toml", "--set", "train.init=runs/run/model.safetensors"];
    assert!(refused(folder, &init, 2).contains("at train.init"));
    let craft = ["check", "run.toml", "--set", "evaluate.1.surrogate=runs/run"];
    assert!(refused(folder, &craft, 2).contains("at evaluate[1].surrogate"));
}

#[test]
fn one_option_lets_them_pass_results_say_so_and_the_run_keeps_its_names() {
    let folder = renamed();
    let folder = folder.path();
    let model = folder.join("runs/run/model.safetensors");
    let own = serde_json::json!(["blue", "green", "red"]);
    assert_eq!(classes(&model), own);
    let pass = ["--set", "ignore_class_names=true", "--set", "evaluate.1.surrogate=runs/run"];
    let said = succeed(folder, &[&["run", "run.toml", "--resume"], &pass[..]].concat());
    // Both warnings twice: before anything is judged, and with the numbers.
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(flat.matches("the images have other classes").count(), 4, "{said}");
    let warnings = json(&folder.join("runs/run/results.json"))["warnings"].clone();
    let warnings: Vec<Warning> = serde_json::from_value(warnings).unwrap();
    let about = |what: &str| warnings.iter().filter(|warning| warning.text.starts_with(what)).count();
    assert_eq!((about("evaluation `pgd`: "), about("runs/run and the images have other classes")), (1, 1));
    assert_eq!(classes(&model), own, "what the run wrote of its classes is its own");
    succeed(folder, &[&["run", "run.toml", "--resume"], &pass[..2]].concat());
    assert_eq!(classes(&model), own);

    let attack = ["attack", "runs/run", "--attack", "fgsm", "--eps", "0.01", "--ignore-class-names"];
    let said = succeed(folder, &[&attack[..], &["--save", "out"]].concat());
    assert!(said.contains("warning runs/run/model.safetensors and the images have "), "{said}");
    let results = json(&folder.join("out/results.json"));
    assert!(results["warnings"][0]["text"].as_str().unwrap().contains("have other classes"));
    let fresh = ["run", "run.toml", "--out", "fresh", "--set", "train.init=runs/run/model.safetensors"];
    succeed(folder, &[&fresh[..], &pass[..2]].concat());
    let initial = || -> Vec<Warning> {
        let warnings = json(&folder.join("fresh/results.json"))["warnings"].clone();
        serde_json::from_value(warnings).unwrap()
    };
    let told = "train.init: runs/run/model.safetensors and the images";
    assert!(initial().iter().any(|warning| warning.text.starts_with(told)), "{:?}", initial());
    // What the run began with it began with, also where it is resumed without the option.
    succeed(folder, &[&fresh[..], &["--resume"]].concat());
    assert!(initial().iter().any(|warning| warning.text.starts_with(told)), "{:?}", initial());
    let shown = succeed(folder, &["show", "out", "--sample", "0"]);
    assert!(shown.starts_with("warning ") && !shown.contains("(blue)"), "{shown}");
    // A new run calls its classes what the images call them.
    assert_eq!(
        classes(&folder.join("fresh/model.safetensors")),
        serde_json::json!(["green", "red", "violet"])
    );
}
