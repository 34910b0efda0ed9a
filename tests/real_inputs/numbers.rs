//! Lengths and numbers that cannot be meant: refused with their key before anything is written.

use std::fs;

use expect_test::expect;

use crate::cli::bad_input::bad;
use crate::support::{STRIPES, playground, refuses, stderr, temper};

/// What `check` and `run` say of a pipeline with these settings; nothing is left behind.
fn refused(sets: &[&str]) -> String {
    let folder = playground(STRIPES);
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    let said = ["check", "run"].map(|command| {
        let output = temper(folder.path(), &[&[command, "run.toml"], &sets[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{sets:?}: {}", stderr(&output));
        stderr(&output)
    });
    assert_eq!(said[0], said[1]);
    assert!(!folder.path().join("runs").exists(), "{sets:?} left something behind");
    said[0].clone()
}

#[test]
fn a_radius_that_holds_every_image_is_refused_wherever_one_is_taken() {
    const WHY: &str = "an l-inf radius of 8 holds every image: it must be below 1; lengths are in pixels of [0, 1]: \"8/255\"?";
    let adaptive = "train.epsilon.instance-adaptive";
    for (sets, at) in [
        (&["evaluate.1.radius=8"][..], "evaluate[1].radius"),
        (&["train.epsilon={fixed={radius=8}}"], "train.epsilon.fixed.radius"),
        (&["train.epsilon={line-search={start=8}}"], "train.epsilon.line-search.start"),
        (&["train.epsilon={line-search={max=8}}"], "train.epsilon.line-search.max"),
        (&["train.epsilon.instance-adaptive.start=8"], "train.epsilon.instance-adaptive.start"),
        (&["train.epsilon.instance-adaptive.gamma=8"], "train.epsilon.instance-adaptive.gamma"),
        (&["train.epsilon.instance-adaptive.lower_bound=8"], "train.epsilon.instance-adaptive.lower_bound"),
        (&["select={samples=20,attack=\"pgd\",radius=8}"], "select.radius"),
    ] {
        let said = refused(sets);
        assert!(said.contains(WHY) && said.contains(at), "{sets:?}: {said}");
    }
    // 1 holds every image, too.
    assert!(refused(&["evaluate.1.radius=1"]).contains("an l-inf radius of 1 holds every image"));
    // In l2 the shape of the images says how far apart they can be: sqrt(12 x 12).
    let l2 = "an l2 radius of 12 holds every image of 1 x 12 x 12: it must be below 12;";
    let said =
        refused(&["train.norm=l2", "train.epsilon.instance-adaptive.start=12", "evaluate.1.radius=12"]);
    assert!(said.contains(l2) && said.contains(adaptive) && said.contains("at evaluate[1].radius"), "{said}");
    let said = refused(&["evaluate.1.norm=l2", "evaluate.1.radius=12"]);
    assert!(said.contains(l2), "{said}");
    let said = refused(&["select={samples=20,attack=\"pgd\",radius=12,norm=\"l2\"}"]);
    assert!(said.contains(l2) && said.contains("at select"), "{said}");
}

#[test]
fn an_attack_of_the_probes_that_can_never_work_is_refused_before_training() {
    let said = refused(&["train.norm=l2", "train.epsilon.instance-adaptive.probe=cw-ball"]);
    assert!(said.contains("attack `cw-ball` searches l-inf balls only"), "{said}");
    assert!(said.contains("at train.epsilon.instance-adaptive.probe"), "{said}");
}

#[test]
fn an_average_or_a_momentum_of_one_never_moves() {
    bad(
        "optimizer = { lr = 0.05 }",
        "optimizer = { lr = 0.05, momentum = 1 }\nema = { decay = 1.0 }",
        &expect![[r"
            error: run.toml:10:26: invalid value: floating point `1.0`, expected a number of at least 0 and below 1
              at train.optimizer.momentum
            error: run.toml:11:9: invalid value: floating point `1.0`, expected a number of at least 0 and below 1
              at train.ema.decay
        "]],
    );
    assert!(refused(&["train.loss={cross-entropy={label_smoothing=1}}"]).contains("below 1"));
}

#[test]
fn counts_beyond_63_bits_are_refused_wherever_they_stand() {
    for (set, at) in [
        ("train.epochs=9223372036854775808", "train.epochs"),
        ("seed=9223372036854775808", "seed"),
        ("train.batch=9223372036854775808", "train.batch"),
        ("checkpoint_minutes=9223372036854775808", "checkpoint_minutes"),
        ("evaluate.1.attack.pgd.steps=9223372036854775808", "evaluate[1].attack.pgd.steps"),
        ("model.convnet.channels=[4,9223372036854775808]", "model.convnet.channels[1]"),
    ] {
        let said = refused(&[set]);
        assert!(said.contains("9223372036854775808 is beyond 63 bits") && said.contains(at), "{set}: {said}");
    }
    let folder = playground(STRIPES);
    for option in ["--samples", "--restarts", "--batch", "--seed"] {
        let args = ["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1", option, "9223372036854775808"];
        let output = temper(folder.path(), &args);
        assert_eq!(output.status.code(), Some(2), "{option}");
        assert!(stderr(&output).contains("9223372036854775807"), "{option}: {}", stderr(&output));
    }
    let args = ["attack", "x", "--attack", "pgd = { steps = 9223372036854775808 }", "--eps", "0.1"];
    refuses(
        folder.path(),
        &args,
        &expect![[r"
            error: --attack pgd = { steps = 9223372036854775808 }: 9223372036854775808 is beyond 63 bits: the largest whole number is 9223372036854775807
              at attack.pgd.steps
        "]],
    );
}

#[test]
fn what_is_to_come_after_the_last_epoch_never_comes() {
    let said = refused(&["train.schedule={steps=[2,3]}"]);
    assert!(
        said.contains(
            "the rate would fall after epoch 3, but there are 3 epochs: leave it out, or train longer"
        ),
        "{said}"
    );
    assert!(said.contains("at train.schedule"), "{said}");
}

#[test]
fn names_that_cannot_be_shown_are_refused_and_escaped() {
    assert!(refused(&["evaluate.0.name=\"\""]).contains("an evaluation without a name"));
    let said = refused(&["evaluate.0.name=\"a\\u001b[31mb\""]);
    assert!(said.contains(r"the name `a\u{1b}[31mb` has the unprintable character \u{1b}"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    assert!(refused(&["evaluate.0.name=\"\\u200b\""]).contains(r"unprintable character \u{200b}"));
}

#[test]
fn a_network_too_large_for_the_machine_is_refused_with_its_size() {
    let folder = playground(STRIPES);
    // 40 layers of 2 billion weights each.
    let channels = vec!["46000"; 40].join(",");
    let model = format!("model.convnet={{channels=[{channels}],kernel=1,pool=1}}");
    let sets = ["--set", &*model];
    for command in ["check", "run"] {
        let output = temper(folder.path(), &[&[command, "run.toml"], &sets[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("model `convnet`: ") && said.contains("too large"), "{said}");
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_file_where_a_folder_is_to_be_is_named() {
    let folder = playground(STRIPES);
    fs::write(folder.path().join("taken"), "mine").unwrap();
    let output = temper(folder.path(), &["run", "run.toml", "--out", "taken"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "error: taken is a file, not a folder: choose another place with --out DIR\n"
    );
    assert_eq!(fs::read_to_string(folder.path().join("taken")).unwrap(), "mine");
}
