//! `temper compare`: runs beside each other on the same images.

use expect_test::expect;

use crate::cli::attack_command::trained;
use crate::support::{fails, json, refuses, stderr, succeed, temper};

#[test]
fn runs_are_compared_image_by_image() {
    let folder = trained();
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "runs/other", "--set", "seed=5"]);
    let said = succeed(folder, &["compare", "runs/run", "runs/other"]);
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let accuracies = |run: &str| -> Vec<(String, f64)> {
        let results = json(&folder.join(run).join("results.json"));
        let all = results["evaluations"].as_array().unwrap().iter();
        all.map(|e| (e["name"].as_str().unwrap().into(), e["accuracy"].as_f64().unwrap())).collect()
    };
    for ((name, one), (_, two)) in accuracies("runs/run").into_iter().zip(accuracies("runs/other")) {
        let row = said
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{said}"));
        let cells: Vec<&str> = row.split_whitespace().collect();
        let number = |i: usize| cells[i].parse::<f64>().unwrap();
        assert!((number(1) - one * 100.0).abs() < 0.051 && (number(3) - two * 100.0).abs() < 0.051, "{row}");
        let difference = (two - one) * 100.0;
        assert!((number(5) - difference).abs() < 0.051, "{row}");
        // The interval holds the difference, and images that only one run has right make up for it.
        assert!(number(6) < difference + 0.051 && number(8) > difference - 0.051, "{row}");
        let n = number(9);
        assert!(((number(11) - number(10)) / n * 100.0 - difference).abs() < 1e-6, "{row}");
    }
    // A run beside itself.
    let same = succeed(folder, &["compare", "runs/run", "runs/run"]);
    assert_eq!(same.matches("  +0.0  ").count(), accuracies("runs/run").len(), "{same}");
    // Fewer images, and another attack under the same name.
    let fewer =
        ["attack", "runs/other", "--attack", "pgd = { steps = 2 }", "--eps", "0.2", "--samples", "20"];
    succeed(folder, &[&fewer[..], &["--save", "out"]].concat());
    let said = succeed(folder, &["compare", "runs/run", "out"]);
    assert!(said.lines().any(|line| line.starts_with("natural ") && line.contains("  20  ")), "{said}");
    let note = "note    `pgd`: pgd-5x2 within an l-inf radius of 0.10000 in the first, pgd-2\n        within an l-inf";
    assert!(said.contains(note), "{said}");
    refuses(
        folder,
        &["compare", "runs/run", "data"],
        &expect![[r"
            error: data holds no results.json: expected the folder of a run that has ended, or of `temper attack --save`
        "]],
    );
    // The same indices are other images in another split.
    let split = [&fewer[..], &["--split", "train", "--save", "train"]].concat();
    succeed(folder, &split);
    let output = temper(folder, &["compare", "out", "train"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let told = "only outcomes of the same images can be compared";
    assert!(
        stderr(&output).contains("(training images, ") && stderr(&output).contains(told),
        "{}",
        stderr(&output)
    );
    let records = folder.join("runs/other/records.jsonl");
    let text = std::fs::read_to_string(&records).unwrap();
    let (_, without_first) = text.split_once('\n').unwrap();
    std::fs::write(&records, without_first).unwrap();
    fails(
        folder,
        &["compare", "runs/run", "runs/other"],
        &expect![[r"
            error: runs/other/records.jsonl: the records of `natural` are not those of its results: continue the run with --resume
        "]],
    );
}
