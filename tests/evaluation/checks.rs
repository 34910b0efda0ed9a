//! Checks as a user meets them: in the terminal, in results, and as the exit code of `--strict`.

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};
use serde_json::Value;
use temper_evaluate::{Cell, Compared, Entry, Outcome, Setting, compare, evaluate};
use temper_nn::{Classifier, Frozen};
use temper_results::Records;

use crate::cli::attack_command::{PGD, trained};
use crate::support::{
    STRIPES, TestImages, json, linear, playground, small_batch, small_network, stderr, stdout, succeed,
    temper,
};

/// The ids of an evaluation's or a command's warnings.
fn ids(of: &Value) -> Vec<&str> {
    let all = of["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().map(|warning| warning["id"].as_str().unwrap()).collect()
}

/// A step that goes nowhere within a radius that makes every image grey.
#[test]
fn an_attack_that_fails_ends_with_exit_code_1_only_if_it_is_asked_to() {
    let folder = trained();
    let folder = folder.path();
    let fails = [
        "attack",
        "runs/run",
        "--attack",
        "pgd = { steps = 1, step = 0.001 }",
        "--eps",
        "0.5",
        "--save",
        "out",
    ];
    assert!(succeed(folder, &fails).contains("\nsevere warning: "));
    fs::remove_dir_all(folder.join("out")).unwrap();
    let output = temper(folder, &[&fails[..], &["--strict"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert_eq!(
        stderr(&output).lines().last().unwrap(),
        "error: --strict: a severe warning, `curve-not-zero`: the number is probably wrong"
    );
    // All is written, and severe warnings are marked.
    let said = stdout(&output);
    assert!(
        said.contains("\nsevere warning: ") && said.ends_with("written to out\nreport  out/report.html\n"),
        "{said}"
    );
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let results = json(&folder.join("out/results.json"));
    let evaluation = &results["evaluations"][1];
    assert_eq!(ids(evaluation), ["attack-parameters", "curve-not-zero"]);
    let [caution, severe] = [&evaluation["warnings"][0], &evaluation["warnings"][1]];
    assert_eq!(
        (caution["severity"].as_str(), severe["severity"].as_str()),
        (Some("caution"), Some("severe"))
    );
    assert_eq!(severe["figure"], evaluation["accuracy"]);
    assert!(!results["arguments"].to_string().contains("strict"), "it measures nothing");

    // A caution is no reason to fail, and neither is an honest attack.
    for attack in ["pgd = { steps = 2, step = 0.04 }", PGD] {
        succeed(folder, &["attack", "runs/run", "--attack", attack, "--eps", "0.1", "--strict"]);
    }
}

/// A network of zeros takes all images for one class, in a run and in a matrix.
#[test]
fn a_network_that_has_learned_nothing_is_told_once_for_all_numbers() {
    let folder = trained();
    let folder = folder.path();
    let zeros: HashMap<String, Tensor> =
        safetensors::load(folder.join("runs/run/model.safetensors"), &Device::Cpu)
            .unwrap()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.zeros_like().unwrap()))
            .collect();
    safetensors::save(&zeros, folder.join("zeros.safetensors")).unwrap();
    let run = ["run", "run.toml", "--set", "train.init=zeros.safetensors", "--set", "train.epochs=1"];
    let run = [&run[..], &["--out", "dead"]].concat();
    let output = temper(folder, &[&run[..], &["--strict"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    let told = "error: --strict: 2 severe warnings, `constant-predictions`, `vanished-gradients`: the numbers are \
                probably wrong";
    assert_eq!(stderr(&output).lines().last().unwrap(), told);
    let results = || json(&folder.join("dead/results.json"));
    assert_eq!(ids(&results()).iter().filter(|id| **id == "constant-predictions").count(), 1);
    assert_eq!(ids(&results()["evaluations"][1]), ["vanished-gradients"]);
    // What was judged is not judged again, and its warnings are those of before.
    let before = results();
    succeed(folder, &[&run[..], &["--resume"]].concat());
    assert_eq!(results()["warnings"], before["warnings"]);

    let matrix =
        ["transfer", "dead", "runs/run", "--attack", PGD, "--eps", "0.1", "--save", "m.json", "--strict"];
    let output = temper(folder, &matrix);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let flat = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains("severe warning network `dead`: the network takes all 80 unperturbed images"),
        "{flat}"
    );
    assert!(flat.contains("images transfer less between networks that differ so much"), "{flat}");
    assert!(ids(&json(&folder.join("m.json"))).contains(&"constant-predictions"));
}

/// Evaluations of one run are compared with each other, and only the weak one is blamed.
#[test]
fn a_weak_attack_is_found_out_by_the_evaluations_beside_it() {
    let training = STRIPES.split("[[evaluate]]").next().unwrap().replace("epochs = 3", "epochs = 2");
    let evaluate = |name: &str, radius: f64, attack: &str| {
        format!("[[evaluate]]\nname = \"{name}\"\nradius = {radius}\nattack.{attack}\n\n")
    };
    let evaluations = [
        "[[evaluate]]\nname = \"natural\"\n\n".to_string(),
        evaluate("fgsm", 0.3, "fgsm = {}"),
        evaluate("nearest", 0.3, "deepfool = { norm = \"linf\" }"),
        evaluate("smaller", 0.25, "pgd = { steps = 5, step = 0.1, start = \"clean\" }"),
        evaluate("weak", 0.3, "pgd = { steps = 5, step = 0.0001, start = \"clean\" }"),
    ];
    let folder = playground(&format!("{training}\n{}", evaluations.concat()));
    let folder = folder.path();
    let said = succeed(folder, &["run", "run.toml"]);
    let results = json(&folder.join("runs/run/results.json"));
    let all = results["evaluations"].as_array().unwrap();
    assert_eq!(
        ids(&all[4]),
        ["attack-parameters", "single-step-beats-many", "larger-radius-stands", "minimum-norm-beats-bounded"],
        "{said}"
    );
    for sound in &all[..4] {
        assert_eq!(ids(sound), Vec::<&str>::new(), "{said}");
    }
    // That of training is another warning, of all numbers.
    assert_eq!(ids(&results), ["training-attack"], "{said}");
    // The whole run is told, and no table is torn.
    assert!(said.contains("\nsevere warning: the single step of `fgsm` broke"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert_eq!(temper(folder, &["run", "run.toml", "--resume", "--strict"]).status.code(), Some(1));
    let honest = ["run", "run.toml", "--resume", "--strict", "--set", "evaluate.4.attack.pgd.step=0.1"];
    succeed(folder, &honest);
    no_text_only(&folder.join("runs/run/results.json"));
}

/// Files of before have texts where there are warnings now, and are shown and read all the same.
fn no_text_only(file: &Path) {
    let mut results = json(file);
    results["warnings"] = serde_json::json!(["the training attack is doubtful"]);
    fs::write(file, results.to_string()).unwrap();
    let folder = file.parent().unwrap();
    let said = succeed(folder, &["show", ".", "--sample", "3"]);
    assert!(said.starts_with("warning the training attack is doubtful\n"), "{said}");
}

/// Natural accuracy of images by a network, compared with nothing else.
fn natural(network: &Classifier, n: usize) -> Compared {
    let frozen = Frozen::new(network).unwrap();
    let source = TestImages::of(small_batch(&small_network(DType::F32), n));
    let entry = Entry { name: "natural".into(), ..Entry::default() };
    let setting = Setting::new(&frozen, 16, 3, &Device::Cpu);
    let (cells, mut records) = ([Cell::clean(source)], Records::in_memory());
    let mut watch = |_: &temper_evaluate::BatchGlimpse| ControlFlow::Continue(());
    let outcome: Outcome = evaluate(&setting, &entry, &cells, &mut records, &mut watch).unwrap().unwrap();
    compare(vec![outcome], vec![], &[])
}

#[test]
fn probabilities_where_logits_belong_are_noticed() {
    let told = |biases: [f32; 5]| -> Vec<String> {
        let network = linear([2, 8, 8], &vec![vec![0.0; 128]; 5], &biases);
        natural(&network, 40).warnings.into_iter().map(|warning| warning.id).collect()
    };
    let both = ["probabilities-for-logits", "constant-predictions"];
    assert_eq!(told([0.4, 0.3, 0.1, 0.1, 0.1]), both);
    assert_eq!(told([0.4, 0.3, 0.1, 0.1, 0.2]), both[1..]);
    assert_eq!(told([1.4, -0.4, 0.0, 0.0, 0.0]), both[1..]);
    let healthy = natural(&small_network(DType::F32), 40);
    assert!(healthy.warnings.iter().all(|warning| !warning.is_severe()), "{:?}", healthy.warnings);
}
