//! The kinds of training that one loop gives: clean, fixed radius, adaptive; l-inf and l2.

use std::fs;

use temper_results::Results;

use crate::support::{STRIPES, playground, succeed};

const POLICY: &str = "epsilon.instance-adaptive = { start = 0.1, warmup = 1, gamma = 0.05, beta = 0.4 }\n";

/// Runs a variation of [`STRIPES`]: its results and the lines of its metrics.
fn run(changes: &[(&str, &str)]) -> (Results, Vec<serde_json::Value>, tempfile::TempDir) {
    let mut text = STRIPES.to_string();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let folder = playground(&text);
    succeed(folder.path(), &["run", "run.toml"]);
    let run = folder.path().join("runs/run");
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let metrics = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (Results::read(&run.join("results.json")).unwrap(), metrics, folder)
}

fn accuracy(results: &Results, name: &str) -> f64 {
    results.get(name).unwrap().accuracy
}

#[test]
fn clean_training_never_attacks() {
    let (results, metrics, folder) =
        run(&[("attack.pgd = { steps = 2, step = 0.05 }", "attack = \"none\""), (POLICY, "")]);
    assert!(accuracy(&results, "natural") > 0.9, "{results:?}");
    assert!(results.radii.is_none());
    for epoch in metrics {
        assert_eq!((epoch["forwards"].as_f64(), epoch["backwards"].as_f64()), (Some(1.0), Some(1.0)));
        assert!(epoch.get("radii").is_none());
    }
    assert_eq!(fs::read_dir(folder.path().join("runs/run/epsilon")).unwrap().count(), 0);
}

#[test]
fn a_fixed_radius_attacks_every_sample_in_every_epoch() {
    let (results, metrics, _folder) = run(&[(POLICY, "epsilon.fixed = { radius = 0.1 }\n")]);
    assert!(accuracy(&results, "natural") > 0.5, "{results:?}");
    for epoch in metrics {
        // Two steps of the attack and one of the optimiser.
        assert_eq!((epoch["forwards"].as_f64(), epoch["backwards"].as_f64()), (Some(3.0), Some(3.0)));
        assert_eq!(epoch["radii"]["p5"], epoch["radii"]["p95"]);
    }
}

#[test]
fn adversarial_training_withstands_what_clean_training_does_not() {
    // Strong enough an attack that a network trained clean falls to it (seed 1: 5 % stand of one, 89 % of the other).
    let judge =
        [("epochs = 3", "epochs = 8"), ("radius = 0.1\n", "radius = 0.2\n"), ("step = 0.04", "step = 0.08")];
    let clean = [("attack.pgd = { steps = 2, step = 0.05 }\n", ""), (POLICY, "")];
    let hard = [
        ("steps = 2, step = 0.05", "steps = 3, step = 0.08"),
        (POLICY, "epsilon.fixed = { radius = 0.2 }\n"),
    ];
    let clean = run(&[&clean[..], &judge].concat()).0;
    let hard = run(&[&hard[..], &judge].concat()).0;
    let (clean, hard) = (accuracy(&clean, "pgd"), accuracy(&hard, "pgd"));
    assert!(hard > clean + 0.3, "adversarial training {hard}, clean training {clean}");
}

#[test]
fn radii_adapt_in_l2_too() {
    let (results, _, _folder) = run(&[
        (
            POLICY,
            "norm = \"l2\"\nepsilon.instance-adaptive = { start = 1.0, warmup = 1, gamma = 0.5, beta = 0.4 }\n",
        ),
        ("step = 0.05", "step = 0.6"),
        ("radius = 0.1\n", "norm = \"l2\"\nradius = 1.0\n"),
        ("step = 0.04", "step = 0.4"),
    ]);
    let radii = results.radii.unwrap();
    assert!(radii.p95 > radii.p5 && radii.p95 <= 1.4 + 1e-9 && radii.p5 >= 0.6 - 1e-9, "{radii:?}");
    let (natural, pgd) = (accuracy(&results, "natural"), accuracy(&results, "pgd"));
    assert!(natural > 0.5 && pgd < natural, "natural {natural}, under PGD {pgd}");
}
