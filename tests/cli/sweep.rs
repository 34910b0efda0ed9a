//! `temper sweep`: several values and seeds, one table.

use expect_test::expect;

use crate::support::{STRIPES, json, playground, refuses, stderr, stdout, succeed, temper};

#[test]
fn every_combination_runs_once_and_its_table_is_that_of_the_results() {
    let folder = playground(&STRIPES.replace("epochs = 3", "epochs = 1"));
    let folder = folder.path();
    let sweep = ["sweep", "run.toml", "--set", "train.optimizer.lr=0.01,0.05", "--seeds", "2"];
    let said = succeed(folder, &sweep);
    let table = said.split("\nvalues ").nth(1).unwrap();
    for rate in ["0.01", "0.05"] {
        let accuracies = [1, 2].map(|seed| {
            let run = format!("runs/run-sweep/train.optimizer.lr={rate}/seed-{seed}/results.json");
            let results = json(&folder.join(run));
            assert_eq!(results["seed"], seed);
            results["evaluations"][0]["accuracy"].as_f64().unwrap()
        });
        let mean = f64::midpoint(accuracies[0], accuracies[1]) * 100.0;
        let row =
            table.lines().find(|line| line.starts_with(&format!("train.optimizer.lr={rate} "))).unwrap();
        let first: f64 = row.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!((first - mean).abs() < 0.051, "{row}, {mean}");
    }
    let page = std::fs::read_to_string(folder.join("runs/run-sweep/report.html")).unwrap();
    assert!(page.contains("train.optimizer.lr=0.05/seed-2</h2>") && page.contains("Trade-off at"), "{page}");
    // What has ended is not trained again, and gives the same table.
    let again = succeed(folder, &sweep);
    assert!(!again.contains("epoch 1/1"), "{again}");
    assert_eq!(again.split("\nvalues ").nth(1).unwrap(), table);
    refuses(
        folder,
        &["sweep", "run.toml", "--set", "train.optimizer.lr=0.01,fast"],
        &expect![[r#"
            error: --set train.optimizer.lr=fast: invalid type: string "fast", expected f64
              at train.optimizer.lr
        "#]],
    );
    refuses(
        folder,
        &["sweep", "run.toml", "--set", "seed=1,2"],
        &expect![[r"
            error: --set seed=1,2: `--seeds N` runs several seeds
        "]],
    );
    refuses(
        folder,
        &["sweep", "run.toml", "--set", "train.optimizer.lr=1e-1,1e+1"],
        &expect![[r"
            error: `train.optimizer.lr=1e-1` and `train.optimizer.lr=1e+1` would both be run in train.optimizer.lr=1e-1: write one differently
        "]],
    );
    let most = u64::MAX.to_string();
    let output = temper(folder, &["sweep", "run.toml", "--seeds", &most]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{}", stderr(&output));
}
