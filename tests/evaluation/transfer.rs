//! `temper transfer`: a matrix of networks that images are crafted on, and networks that judge them.

use expect_test::{Expect, expect};

use crate::support::{STRIPES, fails, json, playground, refuses, succeed};

/// A folder with two trained networks of different seeds in `runs/a` and `runs/b`.
fn two() -> tempfile::TempDir {
    let folder = playground(&STRIPES.replace("epochs = 3", "epochs = 2"));
    for (name, seed) in [("a", "seed=1"), ("b", "seed=2")] {
        let out = format!("runs/{name}");
        succeed(folder.path(), &["run", "run.toml", "--set", seed, "--out", &out]);
    }
    folder
}

const PGD: &str = "pgd = { steps = 5, step = 0.04 }";

#[test]
fn the_diagonal_is_white_box_and_the_rest_is_crafted_elsewhere() {
    let folder = two();
    let options = ["--attack", PGD, "--eps", "0.1"];
    let transfer = [&["transfer", "runs/a", "runs/b"], &options[..], &["--save", "matrix.json"]].concat();
    let said = succeed(folder.path(), &transfer);
    let results = json(&folder.path().join("matrix.json"));
    let accuracy = |on: Option<&str>, by: &str| {
        let all = results["evaluations"].as_array().unwrap();
        // Where a network judges its own images there is no surrogate.
        let own = |e: &&serde_json::Value| {
            let surrogate = on.filter(|on| *on != by);
            e["judged_by"] == by
                && e["surrogate"].as_str() == surrogate
                && e["attack"].is_null() == on.is_none()
        };
        all.iter().find(own).unwrap()["accuracy"].as_f64().unwrap()
    };
    for name in ["a", "b"] {
        let out = format!("out-{name}");
        let run = format!("runs/{name}");
        succeed(folder.path(), &[&["attack", &run, "--save", &out], &options[..]].concat());
        let own = json(&folder.path().join(out).join("results.json"));
        assert_eq!(own["evaluations"][0]["accuracy"], accuracy(None, name));
        assert_eq!(own["evaluations"][1]["accuracy"], accuracy(Some(name), name));
    }
    // What is crafted elsewhere breaks no more than what is crafted where it is judged, and something.
    for (on, by) in [("a", "b"), ("b", "a")] {
        assert!(accuracy(Some(on), by) >= accuracy(Some(by), by), "{said}");
        assert!(accuracy(Some(on), by) < accuracy(None, by), "{said}");
    }
    assert!(accuracy(Some("b"), "a") > accuracy(Some("a"), "a"), "{said}");
    assert_eq!(results["evaluations"].as_array().unwrap().len(), 6);
    assert_eq!(results["networks"][1]["label"], "b");
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("crafted")).collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["crafted", "a", "b"]);
    for (line, (on, what)) in
        lines[2..].iter().zip([(None, "unperturbed"), (Some("a"), "on a"), (Some("b"), "on b")])
    {
        let cells: Vec<String> = ["a", "b"].map(|by| format!("{:.1} %", 100.0 * accuracy(on, by))).to_vec();
        let words = format!("{what} {}", cells.join(" "));
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), words.split_whitespace().collect::<Vec<_>>());
    }
    assert!(said.contains("crafted on that of a row, n = 80\n"), "{said}");
    assert!(said.contains("95 % interval, %"), "{said}");

    fails(
        folder.path(),
        &transfer,
        &expect![[r"
            error: matrix.json holds a matrix already
              replace it with --force, or choose another place with --save FILE
        "]],
    );
    succeed(folder.path(), &[&transfer[..], &["--force"]].concat());
    let foreign =
        [&["transfer", "runs/a", "runs/b"], &options[..], &["--save", "run.toml", "--force"]].concat();
    fails(
        folder.path(),
        &foreign,
        &expect![[r"
            error: run.toml is no matrix of temper; choose another place with --save FILE
        "]],
    );
}

#[test]
fn networks_that_do_not_belong_together_are_refused() {
    let folder = two();
    let options = ["--attack", PGD, "--eps", "0.1"];
    let refused = |networks: &[&str], more: &[&str], expected: &Expect| {
        refuses(folder.path(), &[&["transfer"], networks, &options[..], more].concat(), expected);
    };
    refused(
        &["runs/a"],
        &[],
        &expect![[r"
            error: 2 values required by '<RUN_OR_MODEL> <RUN_OR_MODEL>...'; only 1 was provided

            Usage: temper-under-test transfer [OPTIONS] <RUN_OR_MODEL> <RUN_OR_MODEL>...

            For more information, try '--help'.
        "]],
    );
    refused(
        &["runs/a", "./runs/a"],
        &[],
        &expect![[r"
            error: ./runs/a is named twice
        "]],
    );
    // A network for images of another shape.
    let embedded = "dataset={ fashion-mnist = { images = \"embedded\" } }";
    let small = ["--set", "subset.train=64", "--set", "subset.test=20", "--set", "train.epochs=1"];
    succeed(
        folder.path(),
        &[&["run", "run.toml", "--out", "runs/c", "--set", embedded], &small[..]].concat(),
    );
    refused(
        &["runs/a", "runs/c"],
        &[],
        &expect![[r"
            error: runs/a and runs/c are runs on different data sets: choose one with --data
        "]],
    );
    let data = ["--data", "fashion-mnist = { root = \"data\" }"];
    refused(
        &["runs/a", "runs/c"],
        &data,
        &expect![[r"
            error: runs/c/model.safetensors is a network for images of 1 x 28 x 28 and 10 classes, these are of 1 x 12 x 12, with 10 classes
        "]],
    );
}
