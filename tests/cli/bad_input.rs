//! Bad input: one clear error each, with its place; the right exit code; nothing overwritten.

use std::fs;

use expect_test::{Expect, expect};

use crate::support::{STRIPES, fails, playground, stderr, stdout, succeed, temper};

/// Checks a pipeline made of [`STRIPES`] with one line changed.
pub(crate) fn bad(from: &str, to: &str, expected: &Expect) {
    assert!(STRIPES.contains(from), "{from}");
    let folder = playground(&STRIPES.replacen(from, to, 1));
    let said = ["check", "run"].map(|command| {
        let output = temper(folder.path(), &[command, "run.toml"]);
        assert_eq!(output.status.code(), Some(2), "{}{}", stdout(&output), stderr(&output));
        stderr(&output)
    });
    assert_eq!(said[0], said[1]);
    expected.assert_eq(&said[0]);
    assert!(!folder.path().join("runs").exists(), "a bad pipeline left something behind");
}

#[test]
fn unknown_plugin() {
    bad(
        "attack.pgd = { steps = 2, step = 0.05 }",
        "attack = \"pdg\"",
        &expect![[r"
            error: run.toml:8:1: unknown attack `pdg`; did you mean `pgd`? known: `apgd`, `cw-ball`, `cw-l2`, `cw-linf`, `deepfool`, `fab`, `fgsm`, `hop-skip-jump`, `mi-fgsm`, `pgd`, `ray-s`, `square`
              at train.attack
        "]],
    );
    bad(
        "attack.pgd = { steps = 5",
        "attack.autoattack = { steps = 5",
        &expect![[r"
            error: run.toml:18:8: unknown attack `autoattack`; it is a name of the kind suite, for `evaluate.suite`; known: `apgd`, `cw-ball`, `cw-l2`, `cw-linf`, `deepfool`, `fab`, `fgsm`, `hop-skip-jump`, `mi-fgsm`, `pgd`, `ray-s`, `square`
              at evaluate[1].attack.autoattack
        "]],
    );
}

#[test]
fn unknown_field_at_any_depth() {
    bad(
        "epochs = 3",
        "epoch = 3",
        &expect![[r"
            error: run.toml:6:1: unknown field `epoch`; did you mean `epochs`? known: `epochs`, `init`, `init_radii`, `batch`, `accumulate`, `augment`, `loss`, `attack`, `norm`, `epsilon`, `batch_norm`, `attack_batch_norm`, `attack_precision`, `optimizer`, `schedule`, `ema`
              at train.epoch
        "]],
    );
    bad(
        "attack.pgd = { steps = 5, step",
        "attack.pgd = { stpe = 5, step",
        &expect![[r"
            error: run.toml:18:16: unknown field `stpe`; did you mean `step`? known: `steps`, `step`, `relative_step`, `start`, `noise`, `restarts`, `success`, `target`, `loss`, `stop_after`
              at evaluate[1].attack.pgd.stpe
        "]],
    );
    bad(
        "beta = 0.4 }",
        "probe.pgd = { stesp = 1 } }",
        &expect![[r"
            error: run.toml:9:84: unknown field `stesp`; did you mean `steps`? known: `steps`, `step`, `relative_step`, `start`, `noise`, `restarts`, `success`, `target`, `loss`, `stop_after`
              at train.epsilon.instance-adaptive.probe.pgd.stesp
        "]],
    );
    // A key of a value that is read by hand.
    bad(
        "attack.pgd = { steps = 5, step",
        "attack.pgd = { target = { likliest = 3 }, step",
        &expect![[r"
        error: run.toml:18:27: unknown field `likliest`; did you mean `likeliest`? known: `likeliest`
          at evaluate[1].attack.pgd.target.likliest
    "]],
    );
}

#[test]
fn out_of_range_or_mistyped_value() {
    bad(
        "steps = 2",
        "steps = 0",
        &expect![[r"
            error: run.toml:8:16: invalid value: integer `0`, expected a nonzero usize
              at train.attack.pgd.steps
        "]],
    );
    bad(
        "beta = 0.4",
        "beta = 2",
        &expect![[r"
            error: run.toml:9:70: invalid value: floating point `2.0`, expected a number from 0 to 1
              at train.epsilon.instance-adaptive.beta
        "]],
    );
    bad(
        "radius = 0.1",
        "radius = -1",
        &expect![[r#"
            error: run.toml:17:1: invalid value: integer `-1`, expected a length of at least 0 in pixels of [0, 1], as a number or a quotient such as "8/255"
              at evaluate[1].radius
        "#]],
    );
    bad(
        "epochs = 3",
        "epochs = \"three\"",
        &expect![[r#"
            error: run.toml:6:1: invalid type: string "three", expected usize
              at train.epochs
        "#]],
    );
    bad(
        "restarts = 2 }",
        "success = \"best\" }",
        &expect![[r"
            error: run.toml:18:40: unknown variant `best`, expected `any` or `final`
              at evaluate[1].attack.pgd.success
        "]],
    );
}

#[test]
fn what_no_single_field_shows() {
    bad(
        "radius = 0.1\n",
        "",
        &expect![[r#"
            error: run.toml:17:1: attack `pgd` needs a radius: add `radius = "8/255"` or another length
              at evaluate[1].attack
        "#]],
    );
    bad(
        "attack.pgd = { steps = 2, step = 0.05 }",
        "attack = \"none\"",
        &expect![[r#"
            error: run.toml:9:1: epsilon policy `instance-adaptive` without an attack: add one, for example `attack = "pgd"`
              at train.epsilon
        "#]],
    );
    bad(
        "name = \"pgd\"",
        "name = \"natural\"",
        &expect![[r"
            error: run.toml:16:1: a second evaluation named `natural`
              at evaluate[1].name
        "]],
    );
    bad(
        "attack.pgd = { steps = 2, step = 0.05 }",
        "attack = { pgd = {}, fgsm = {} }",
        &expect![[r"
            error: run.toml:8:1: more than one attack: `fgsm` and `pgd`
              at train.attack
        "]],
    );
}

#[test]
fn broken_toml() {
    bad(
        "[train]",
        "[train",
        &expect![[r"
            error: run.toml:5:7: unclosed table, expected `]`
        "]],
    );
    bad(
        "dataset.fashion-mnist = { root = \"data\" }",
        "",
        &expect![[r"
            error: run.toml:1:1: missing field `dataset`
        "]],
    );
}

#[test]
fn keys_with_dots_and_brackets_are_keys() {
    bad(
        "[train]",
        "\"a.b\" = 1\n\"c[0]\" = 2\n[train]",
        &expect![[r"
            error: run.toml:5:1: unknown field `a.b`; known: `seed`, `device`, `numerics`, `checkpoint_minutes`, `ignore_class_names`, `dataset`, `subset`, `model`, `train`, `select`, `evaluate`
              at a.b
            error: run.toml:6:1: unknown field `c[0]`; known: `seed`, `device`, `numerics`, `checkpoint_minutes`, `ignore_class_names`, `dataset`, `subset`, `model`, `train`, `select`, `evaluate`
              at c[0]
        "]],
    );
}

#[test]
fn everything_wrong_is_told_at_once() {
    let folder = playground(
        r#"sede = 1
device = "gpu"
dataset.fashion-mist = { root = "data" }
subset.train = 0
model.convnet = { channels = [4, "x"], hiden = -1 }
colour = "red"

[train]
epochs = "three"
batch = 64
attack = "pdg"
optimizer = { lr = -0.05, momentum = 2 }
schedule = { steps = 5 }
augment = { pad = -1, fill = "mirror" }

[[evaluate]]
name = "natural"
radius = "eight"

[[evaluate]]
attack.autoattack = {}

[[evaluate]]
name = "pgd"
attack.pgd = { steps = 5, restart = 0 }

[[evaluate]]
name = "pgd"
"#,
    );
    let output = temper(folder.path(), &["run", "run.toml"]);
    assert_eq!(output.status.code(), Some(2));
    expect![[r#"
        error: run.toml:1:1: unknown field `sede`; did you mean `seed`? known: `seed`, `device`, `numerics`, `checkpoint_minutes`, `ignore_class_names`, `dataset`, `subset`, `model`, `train`, `select`, `evaluate`
          at sede
        error: run.toml:2:1: unknown device `gpu`; known: `cpu`, `cuda:0`, `cuda:1`, ...
          at device
        error: run.toml:3:9: unknown dataset `fashion-mist`; did you mean `fashion-mnist`? known: `cifar10`, `cifar100`, `fashion-mnist`, `image-folder`, `imagenet`, `mnist`, `npz`
          at dataset.fashion-mist
        error: run.toml:4:8: invalid value: integer `0`, expected a nonzero usize
          at subset.train
        error: run.toml:5:7: invalid value: integer `-1`, expected usize
          at model.convnet.hidden
        error: run.toml:5:34: invalid type: string "x", expected a nonzero usize
          at model.convnet.channels[1]
        error: run.toml:5:40: unknown field `hiden`; did you mean `hidden`? known: `channels`, `kernel`, `pool`, `batch_norm`, `hidden`, `mean`, `std`, `weights`
          at model.convnet.hiden
        error: run.toml:6:1: unknown field `colour`; known: `seed`, `device`, `numerics`, `checkpoint_minutes`, `ignore_class_names`, `dataset`, `subset`, `model`, `train`, `select`, `evaluate`
          at colour
        error: run.toml:9:1: invalid type: string "three", expected usize
          at train.epochs
        error: run.toml:11:1: unknown attack `pdg`; did you mean `pgd`? known: `apgd`, `cw-ball`, `cw-l2`, `cw-linf`, `deepfool`, `fab`, `fgsm`, `hop-skip-jump`, `mi-fgsm`, `pgd`, `ray-s`, `square`
          at train.attack
        error: run.toml:12:15: invalid value: floating point `-0.05`, expected a number above 0
          at train.optimizer.lr
        error: run.toml:12:27: invalid value: floating point `2.0`, expected a number of at least 0 and below 1
          at train.optimizer.momentum
        error: run.toml:13:14: invalid type: integer `5`, expected a sequence
          at train.schedule.steps
        error: run.toml:14:13: invalid value: integer `-1`, expected usize
          at train.augment.pad
        error: run.toml:14:23: unknown variant `mirror`, expected `reflect` or `zero`
          at train.augment.fill
        error: run.toml:18:1: invalid value: string "eight", expected a length of at least 0 in pixels of [0, 1], as a number or a quotient such as "8/255"
          at evaluate[0].radius
        error: run.toml:20:1: missing field `name`
          at evaluate[1]
        error: run.toml:21:8: unknown attack `autoattack`; it is a name of the kind suite, for `evaluate.suite`; known: `apgd`, `cw-ball`, `cw-l2`, `cw-linf`, `deepfool`, `fab`, `fgsm`, `hop-skip-jump`, `mi-fgsm`, `pgd`, `ray-s`, `square`
          at evaluate[1].attack.autoattack
        error: run.toml:25:1: attack `pgd` needs a radius: add `radius = "8/255"` or another length
          at evaluate[2].attack
        error: run.toml:25:8: invalid value: integer `0`, expected a nonzero usize
          at evaluate[2].attack.pgd.restarts
        error: run.toml:25:27: unknown field `restart`; did you mean `restarts`? known: `steps`, `step`, `relative_step`, `start`, `noise`, `restarts`, `success`, `target`, `loss`, `stop_after`
          at evaluate[2].attack.pgd.restart
        error: run.toml:28:1: a second evaluation named `pgd`
          at evaluate[3].name
    "#]].assert_eq(&stderr(&output));
    assert!(!folder.path().join("runs").exists());

    // Broken syntax too, and settings.
    fs::write(folder.path().join("run.toml"), "seed = = 1\n[train\nepochs = 3\nx = 'a\n").unwrap();
    expect![[r"
        error: run.toml:1:8: extra `=`, expected nothing
        error: run.toml:2:7: unclosed table, expected `]`
    "]]
    .assert_eq(&stderr(&temper(folder.path(), &["run", "run.toml"])));
    fs::write(folder.path().join("run.toml"), STRIPES).unwrap();
    let sets = ["--set", "train.epochs", "--set", "evaluate.9.radius=1", "--set", "seed"];
    let output = temper(folder.path(), &[&["run", "run.toml"], &sets[..]].concat());
    expect![[r"
        error: --set train.epochs: expected KEY=VALUE
        error: --set seed: expected KEY=VALUE
        error: --set evaluate.9.radius=1: evaluate: no entry `9`; it has 2, counted from 0
    "]]
    .assert_eq(&stderr(&output));
}

#[test]
fn changes_from_the_command_line() {
    let folder = playground(STRIPES);
    let check = |set: &str| temper(folder.path(), &["check", "run.toml", "--set", set]);
    for good in [
        "train.epochs=1",
        "train.norm=l2",
        "evaluate.1.radius=8/255",
        "train.epsilon.instance-adaptive.beta=0.2",
        "model.convnet.channels=[3]",
        "train.attack={fgsm={step=1.0}}",
        "train.epsilon={fixed={radius=0.1}}",
    ] {
        let output = check(good);
        assert!(output.status.success(), "{good}: {}", stderr(&output));
    }
    for (wrong, message) in [
        (
            "train.epochs=three",
            "error: --set train.epochs=three: invalid type: string \"three\", expected usize\n  at train.epochs\n",
        ),
        (
            "train.epcohs=3",
            "error: --set train.epcohs=3: unknown field `epcohs`; did you mean `epochs`? known: `epochs`",
        ),
        (
            "evaluate.5.radius=1",
            "error: --set evaluate.5.radius=1: evaluate: no entry `5`; it has 2, counted from 0\n",
        ),
        ("train.epochs", "error: --set train.epochs: expected KEY=VALUE\n"),
        ("train.foo.bar=1", "error: --set train.foo.bar=1: unknown field `foo`"),
        ("train.attack.aaa.steps=3", "error: --set train.attack.aaa.steps=3: unknown attack `aaa`"),
        (
            "seed=18446744073709551615",
            "error: --set seed=18446744073709551615: 18446744073709551615 is beyond 63 bits: the largest whole number is 9223372036854775807\n  at seed\n",
        ),
        (
            "model.convnet.hidden=9223372036854775807",
            "error: run.toml:3:7: model `convnet`: layer `fc1` does not fit",
        ),
        (
            "evaluate.1.attack.pgd.step=-1",
            "error: --set evaluate.1.attack.pgd.step=-1: invalid value: integer `-1`",
        ),
    ] {
        let output = check(wrong);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).starts_with(message), "{}", stderr(&output));
    }
}

#[test]
fn missing_or_damaged_data() {
    let run = ["run", "run.toml"];
    let folder = playground(STRIPES);
    let images = folder.path().join("data/train-images-idx3-ubyte");
    let labels = folder.path().join("data/train-labels-idx1-ubyte");
    let (good_images, good_labels) = (fs::read(&images).unwrap(), fs::read(&labels).unwrap());

    fs::write(&images, &good_images[..5000]).unwrap();
    fails(
        folder.path(),
        &run,
        &expect![[r"
            error: dataset `fashion-mnist`: data/train-images-idx3-ubyte: the header promises 320 x 12 x 12 values, so 46096 bytes, but the file has 5000 (at byte 5000)
        "]],
    );
    fs::write(&images, [&[0, 0, 9, 3], &good_images[4..]].concat()).unwrap();
    fails(
        folder.path(),
        &run,
        &expect![[r"
            error: dataset `fashion-mnist`: data/train-images-idx3-ubyte: magic number 0x00000903, expected 0x00000803 (images) or 0x00000801 (labels) (at byte 0)
        "]],
    );
    fs::write(&images, &good_images).unwrap();
    let mut wrong = good_labels.clone();
    wrong[8 + 17] = 10;
    fs::write(&labels, wrong).unwrap();
    fails(
        folder.path(),
        &run,
        &expect![[r"
            error: dataset `fashion-mnist`: data/train-labels-idx1-ubyte: label 10 of image 17, expected 0 to 9 (at byte 25)
        "]],
    );
    fs::remove_file(&labels).unwrap();
    fails(
        folder.path(),
        &run,
        &expect![[r"
            error: dataset `fashion-mnist`: no fashion-mnist (training and test images with their labels) found
              looked in: data (only some of the four files are there)
              get it with `temper data fetch fashion-mnist`, or put its four IDX files into one of these folders
        "]],
    );
    assert!(!folder.path().join("runs").exists(), "bad data left something behind");
    // A pipeline is sound where its data is not.
    let said = succeed(folder.path(), &["check", "run.toml"]);
    assert!(
        said.starts_with("run.toml: a sound pipeline, but it cannot run here:\n  no fashion-mnist"),
        "{said}"
    );
}

#[test]
fn a_network_that_does_not_fit_the_images() {
    bad(
        "channels = [4, 8]",
        "channels = [4, 4, 4, 4]",
        &expect![[r"
            error: run.toml:3:7: model `convnet`: layer `max_pool` does not fit its input of 4 x 1 x 1 (channels x height x width): a 2 x 2 window with padding 0 is larger than that
              images are 1 x 12 x 12, with 10 classes
              at model.convnet
        "]],
    );
    bad(
        "hidden = 16",
        "kernel = 4",
        &expect![[r"
            error: run.toml:3:7: model `convnet`: `kernel` of convnet must be odd, got 4
              images are 1 x 12 x 12, with 10 classes
              at model.convnet
        "]],
    );
    bad(
        "root = \"data\"",
        "root = \"data\", images = \"embedded\"",
        &expect![[r#"
            error: run.toml:2:9: dataset `fashion-mnist`: `root` and `images = "embedded"` contradict each other
              at dataset.fashion-mnist
        "#]],
    );
}

#[test]
fn augmentation_that_does_not_fit_the_images() {
    bad(
        "batch = 64",
        "batch = 64\naugment = { pad = 12, flip = false }",
        &expect![[r"
        error: run.toml:8:13: `pad` is 12, but images are 12 x 12: at most 11
          at train.augment.pad
    "]],
    );
}

#[test]
fn a_device_that_is_not_there() {
    let folder = playground(&format!("device = \"cuda:1\"\n{STRIPES}"));
    // The pipeline is sound; this build, or this machine, lacks the device.
    succeed(folder.path(), &["check", "run.toml"]);
    for (args, name) in [(&["run", "run.toml"][..], "1"), (&["run", "run.toml", "--device", "cuda"], "0")] {
        let output = temper(folder.path(), args);
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        assert!(
            stderr(&output)
                .starts_with(&format!("error: no CUDA device {name}: this program was built without CUDA;")),
            "{}",
            stderr(&output)
        );
    }
    assert!(!folder.path().join("runs").exists());
    succeed(folder.path(), &["run", "run.toml", "--device", "cpu"]);
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint() {
    // The first epoch is sound; then the rate grows by 1e30.
    let wild = STRIPES.replace("optimizer = { lr = 0.05 }", "schedule = { steps = [1], factor = 1e30 }");
    let folder = playground(&wild);
    let output = temper(folder.path(), &["run", "run.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    let complaint = said.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(
        complaint.starts_with("error: the loss became ") && complaint.contains(" in epoch 2, batch "),
        "{said}"
    );
    let run = folder.path().join("runs/run");
    let checkpoint = temper_train::Checkpoint::load(&run.join("checkpoint.safetensors")).unwrap();
    assert_eq!(checkpoint.epoch, 1);
    for weight in checkpoint.weights.values() {
        assert!(crate::support::numbers(weight).iter().all(|v| v.is_finite()));
    }
    assert_eq!(fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(), 1);
    assert!(!run.join("results.json").exists());
}
