//! `train.init`: training that starts from the weights of another run, and batch norm that stays as it was.

use std::fs;

use candle_core::Device;

use crate::support::{STRIPES, fails, numbers, playground, stderr, succeed, temper};
use expect_test::expect;

#[test]
fn training_goes_on_from_weights_and_frozen_statistics_stay() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "first"]);
    let more = STRIPES
        .replace("epochs = 3", "epochs = 1\ninit = \"first/model.safetensors\"\nbatch_norm = \"frozen\"");
    fs::write(folder.join("more.toml"), more).unwrap();
    succeed(folder, &["run", "more.toml", "--out", "second"]);
    let load =
        |run: &str| candle_core::safetensors::load(folder.join(run).join("model.safetensors"), &Device::Cpu);
    let (first, second) = (load("first").unwrap(), load("second").unwrap());
    for (name, before) in &first {
        let stayed = numbers(before) == numbers(&second[name]);
        assert_eq!(stayed, name.contains("running"), "{name}");
    }
    // One epoch more of a trained network is better than one epoch.
    let loss = |run: &str| {
        let text = fs::read_to_string(folder.join(run).join("metrics.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        line["loss"].as_f64().unwrap()
    };
    assert!(loss("second") < loss("first"), "{} and {}", loss("second"), loss("first"));
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let folder = playground(&STRIPES.replace("epochs = 3", "epochs = 1\ninit = \"weights.safetensors\""));
    fails(
        folder.path(),
        &["run", "run.toml"],
        &expect![[r"
        error: cannot read weights.safetensors: No such file or directory (os error 2)
    "]],
    );
    fs::write(folder.path().join("weights.safetensors"), "no").unwrap();
    fails(
        folder.path(),
        &["run", "run.toml"],
        &expect![[r"
            error: weights.safetensors: neither safetensors nor a file of torch.save: 2 bytes in all
        "]],
    );
    assert!(!folder.path().join("runs").exists(), "it was found before the folder was taken");
    assert_eq!(temper(folder.path(), &["check", "run.toml"]).status.code(), Some(1));
    let other = STRIPES.replace("channels = [4, 8]", "channels = [4, 9]");
    fs::write(folder.path().join("other.toml"), other).unwrap();
    succeed(folder.path(), &["run", "other.toml", "--out", "other"]);
    fs::copy(folder.path().join("other/model.safetensors"), folder.path().join("weights.safetensors"))
        .unwrap();
    fails(
        folder.path(),
        &["run", "run.toml"],
        &expect![[r"
            error: weights.safetensors: weights do not belong to this network:
              of another shape (6):
                `conv2.weight` [9, 4, 3, 3], expected [8, 4, 3, 3]
                `bn2.weight` [9], expected [8]
                `bn2.bias` [9], expected [8]
                `bn2.running_mean` [9], expected [8]
                `bn2.running_var` [9], expected [8]
                `fc1.weight` [16, 81], expected [16, 72]
        "]],
    );
    let both = ["--set", "train.batch_norm=frozen", "--set", "train.attack_batch_norm=train"];
    let output = temper(folder.path(), &[&["check", "run.toml"], &both[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    expect![[r#"
        error: --set train.attack_batch_norm=train: the attack would move the statistics that `batch_norm = "frozen"` keeps: use "eval"
          at train.attack_batch_norm
    "#]].assert_eq(&stderr(&output));
}
