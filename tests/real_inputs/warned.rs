//! What speaks against a number is said with it: in the terminal, and in the results.

use std::fs;

use crate::cli::attack_command::PGD;
use crate::data::photos::{PIPELINE, playground as photos};
use crate::support::{STRIPES, json, playground, refuses, succeed};
use expect_test::expect;

#[test]
fn test_images_that_are_trained_on_are_counted() {
    let leak = PIPELINE.replace("root = \"set\"", "root = \"set\", test = \"train\"");
    let folder = photos(&leak.replace("epochs = 3", "epochs = 1"), 5, 3);
    let folder = folder.path();
    let told = "15 of the 15 test images (100.0 %) are training images, too";
    let flat = |args: &[&str]| succeed(folder, args).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat(&["check", "run.toml"]).contains(told));
    let said = flat(&["run", "run.toml"]);
    assert_eq!(said.matches(told).count(), 2, "{said}");
    let results = json(&folder.join("runs/run/results.json"));
    assert!(results["warnings"].to_string().contains(told), "{results}");
    assert_eq!(results["dataset"]["test"]["also_trained_on"], 15);
    let attack = ["attack", "runs/run", "--attack", "fgsm", "--eps", "0.01", "--save", "out"];
    assert!(flat(&attack).contains(told));
    // The data set named, and another one with the same images.
    for data in [
        "image-folder = { root = \"set\", size = 12, resize = 14, test = \"train\" }",
        "image-folder = { root = \"set\", size = 12, test = \"train\" }",
    ] {
        let said = flat(&[&attack[..6], &["--data", data][..]].concat());
        assert!(said.contains(told), "{data}: {said}");
    }
    assert!(
        json(&folder.join("out/results.json"))["warnings"][0]["text"].as_str().unwrap().starts_with(told)
    );

    // One copy, under another name and in another class.
    fs::write(folder.join("run.toml"), PIPELINE).unwrap();
    let copied = folder.join("set/train/red/002.png");
    fs::copy(copied, folder.join("set/test/blue/copy.png")).unwrap();
    assert!(
        flat(&["check", "run.toml"]).contains("1 of the 10 test images (10.0 %) are training images, too")
    );
}

/// A run whose radii are l2 ones is judged in l2, by whatever command.
#[test]
fn the_norm_of_training_is_the_norm_of_judgement() {
    let pipeline = STRIPES
        .replace("epochs = 3", "epochs = 2\nnorm = \"l2\"")
        .replace("step = 0.05 }", "step = 0.5 }")
        .replace("start = 0.1, warmup = 1, gamma = 0.05", "start = 0.8, warmup = 1, gamma = 0.3")
        .replace("radius = 0.1\n", "radius = 0.8\n")
        .replace("step = 0.04,", "step = 0.3,");
    let linf = "[[evaluate]]\nname = \"linf\"\nradius = 0.05\nnorm = \"linf\"\nattack = \"fgsm\"\n";
    let folder = playground(&format!("{pipeline}\n{linf}"));
    let folder = folder.path();
    assert!(succeed(folder, &["check", "run.toml"]).contains("attacked in l2"));
    let said = succeed(folder, &["run", "run.toml"]);
    let results = json(&folder.join("runs/run/results.json"));
    let evaluations = &results["evaluations"];
    assert_eq!((&evaluations[1]["norm"], &results["training"]["norm"]), (&"l2".into(), &"l2".into()));
    let warnings = |i: usize| evaluations[i]["warnings"].to_string();
    let other = "it judges within l-inf radii, but the network was trained against l2 ones";
    assert!(warnings(2).contains(other) && !warnings(1).contains("trained against"), "{evaluations}");
    assert!(said.contains("it judges within l-inf radii"), "{said}");

    let own = [
        "attack",
        "runs/run",
        "--split",
        "train",
        "--eps",
        "own",
        "--attack",
        "pgd = { relative_step = 0.3 }",
    ];
    let said = succeed(folder, &own);
    assert!(said.contains("within the l2 radius of each image"), "{said}");
    refuses(
        folder,
        &[&own[..], &["--norm", "linf"]].concat(),
        &expect![[r"
            error: --eps own: training measured these radii in l2, which is no l-inf: leave --norm out
        "]],
    );
    let said = succeed(folder, &["attack", "runs/run", "--eps", "0.8", "--attack", PGD]);
    assert!(said.contains("within an l2 radius of 0.80000"), "{said}");
    let said = succeed(folder, &["attack", "runs/run", "--eps", "0.05", "--attack", PGD, "--norm", "linf"]);
    assert!(said.contains("within an l-inf radius") && said.contains("trained against l2"), "{said}");
}

#[test]
fn a_warm_up_that_never_ends_is_told() {
    let folder = playground(&STRIPES.replace("warmup = 1", "warmup = 3"));
    let said = succeed(folder.path(), &["check", "run.toml"]);
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = "epsilon policy `instance-adaptive`: a warm-up of 3 epochs leaves none of 3: no radius adapts";
    assert!(flat.contains(told), "{said}");
}

#[test]
fn steps_of_training_that_cannot_reach_its_radius_are_told_before_and_after() {
    let folder = playground(&STRIPES.replace("steps = 2, step = 0.05", "steps = 2, step = 0.01"));
    let told = "the training attack `pgd`: 2 steps of 0.0100 reach 0.0200, not the radius of 0.1000";
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat(&succeed(folder.path(), &["check", "run.toml"])).contains(told));
    assert_eq!(flat(&succeed(folder.path(), &["run", "run.toml"])).matches(told).count(), 2);
    let results = json(&folder.path().join("runs/run/results.json"));
    assert!(results["warnings"][0]["text"].as_str().unwrap().starts_with(told), "{results}");
}
