//! The quickstart's smaller twin, end to end through the binary: IAAT on the embedded images, its files, its results.

use std::fs;

use temper_results::Results;

use crate::support::{assert_bits, root, succeed};

#[test]
fn the_quickstarts_twin_trains_adapts_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(root().join("configs/quickstart.toml"), folder.path().join("twin.toml")).unwrap();
    let sets = [
        "model.convnet.channels=[8, 16]",
        "model.convnet.hidden=32",
        "train.epochs=2",
        "train.schedule.steps=[1]",
        "train.attack.pgd.steps=3",
    ];
    let args: Vec<&str> =
        ["run", "twin.toml"].into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).collect();
    let said = succeed(folder.path(), &args);
    assert!(said.contains("10000 training, 2000 test images\n        embedded"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "wider than a terminal:\n{said}");

    let run = folder.path().join("runs/twin");
    for file in
        ["config.toml", "metrics.jsonl", "results.json", "model.safetensors", "checkpoint.safetensors"]
    {
        assert!(run.join(file).is_file(), "no {file}");
    }
    // The resolved configuration is a pipeline, and the same one.
    let resolved = fs::read_to_string(run.join("config.toml")).unwrap();
    fs::write(folder.path().join("again.toml"), &resolved).unwrap();
    succeed(folder.path(), &["check", "again.toml"]);
    assert!(resolved.contains("success = \"any\"") && resolved.contains("epochs = 2"));

    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(run.join("results.json")).unwrap()).unwrap();
    for key in ["name", "accuracy", "n", "interval", "seconds", "forwards", "backwards"] {
        assert!(json["evaluations"][0].get(key).is_some(), "no {key}");
    }
    assert!(json["seed"] == 0 && json["versions"]["temper"].is_string());
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains(&format!("candle-core = \"={}\"", json["versions"]["candle"].as_str().unwrap()))
    );

    let results = Results::read(&run.join("results.json")).unwrap();
    // All keys of the file are those of its types.
    assert_eq!(serde_json::to_value(&results).unwrap(), json);
    let accuracy = |name: &str| results.get(name).unwrap().accuracy;
    let natural = results.get("natural").unwrap();
    assert_eq!((natural.n, natural.forwards, natural.backwards), (2000, 2000, 0));
    // Chance is 10 %.
    assert!(accuracy("natural") > 0.60 && accuracy("pgd20") > 0.35, "{results:?}");
    assert!(accuracy("natural") > accuracy("fgsm") && accuracy("fgsm") >= accuracy("pgd20"));
    let radii = results.radii.unwrap();
    assert!(radii.p95 - radii.p5 > 0.3 * 0.1, "{radii:?}");
    // A change that moves these bits says why in CHANGELOG.md.
    assert_bits(&run, "dadce236e83a9074");
}
