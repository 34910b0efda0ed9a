//! `temper init`: what it writes passes `check` and runs.

use std::fs;

use expect_test::expect;

use crate::cli::attack_command::trained;
use crate::support::{STRIPES, playground, refuses, succeed};

/// The data and the model of the run of `trained`.
const DATA: &str = "fashion-mnist = { root = \"data\" }";
const OF_RUN: &str = "convnet = { channels = [4, 8], hidden = 16, batch_norm = true }";

#[test]
fn what_is_written_is_sound_for_every_goal_and_model() {
    let folder = trained();
    let folder = folder.path();
    let cases: [&[&str]; 5] = [
        &[],
        &["--data", "cifar10", "--model", "resnet = { depth = 18, width = 16 }", "--goal", "harden"],
        &["--data", "mnist", "--model", "sequential"],
        &["--data", "imagenet", "--model", "wide-resnet", "--eps", "2/255"],
        &["--goal", "test", "--data", DATA, "--model", OF_RUN, "--weights", "runs/run/model.safetensors"],
    ];
    for (i, options) in cases.into_iter().enumerate() {
        let file = format!("{i}.toml");
        let said = succeed(folder, &[&["init", &file], options].concat());
        assert!(said.starts_with(&format!("written to {file}\n")), "{said}");
        let checked = succeed(folder, &["check", &file]);
        assert!(checked.contains(": a sound pipeline"), "{checked}");
        let text = fs::read_to_string(folder.join(&file)).unwrap();
        assert_eq!(text.contains("[train]"), !options.contains(&"test"), "{text}");
    }
    refuses(
        folder,
        &["init", "1.toml"],
        &expect![[r"
            error: 1.toml is there already: name another file, or replace it with --force
        "]],
    );
    succeed(folder, &["init", "1.toml", "--force"]);
    refuses(
        folder,
        &["init", "new.toml", "--data", "cifar", "--model", "rsenet"],
        &expect![[r"
            error: --data cifar: unknown dataset `cifar`; did you mean `cifar10`? known: `cifar10`, `cifar100`, `fashion-mnist`, `image-folder`, `imagenet`, `mnist`, `npz`
            error: --model rsenet: unknown model `rsenet`; did you mean `resnet`? known: `convnet`, `onnx`, `resnet`, `sequential`, `wide-resnet`
        "]],
    );
    refuses(
        folder,
        &["init", "new.toml", "--goal", "test"],
        &expect![[r"
            error: --weights: a network is judged by its weights: name their file, or an ONNX file by --model
        "]],
    );
    assert!(!folder.join("new.toml").exists());
}

#[test]
fn what_is_written_runs() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    let model = "convnet = { channels = [4, 8], hidden = 16 }";
    succeed(folder, &["init", "mine.toml", "--data", DATA, "--model", model, "--goal", "harden"]);
    let few = ["--set", "train.epochs=1", "--set", "train.schedule={}", "--set", "evaluate.2.samples=5"];
    let said = succeed(folder, &[&["run", "mine.toml"], &few[..]].concat());
    assert!(said.contains("\nautoattack "), "{said}");
    let trained = "runs/mine/model.safetensors";
    let judge =
        ["init", "judge.toml", "--data", DATA, "--model", model, "--goal", "test", "--weights", trained];
    succeed(folder, &judge);
    let said = succeed(folder, &["run", "judge.toml", "--set", "evaluate.2.samples=5"]);
    assert!(said.contains("\nautoattack "), "{said}");
}
