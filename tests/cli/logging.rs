//! `--quiet` and `--log-format json`.

use serde_json::Value;

use crate::cli::attack_command::trained;
use crate::support::{STRIPES, json, playground, stderr, stdout, succeed, temper};

/// The events of an output, one a line.
fn events(said: &str) -> Vec<Value> {
    let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    said.lines().map(event).collect()
}

fn named<'e>(events: &'e [Value], name: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn every_line_of_json_is_an_event_and_the_last_one_has_the_results() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    let output = temper(folder, &["run", "run.toml", "--log-format", "json", "--profile"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let events = events(&stdout(&output));
    let epochs: Vec<u64> =
        named(&events, "epoch").iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, [1, 2, 3]);
    let names: Vec<&Value> = named(&events, "evaluation").iter().map(|of| &of["name"]).collect();
    assert_eq!(names, ["natural", "pgd"]);
    let mut last = named(&events, "results")[0].clone();
    last.as_object_mut().unwrap().remove("event");
    assert_eq!(last, json(&folder.join("runs/run/results.json")));
    // Each warning is an event, also those that only all evaluations together give.
    let told: Vec<&Value> = named(&events, "warning").iter().map(|warning| &warning["id"]).collect();
    let all = |of: &Value| of["warnings"].as_array().cloned().unwrap_or_default();
    let in_results =
        all(&last).into_iter().chain(last["evaluations"].as_array().unwrap().iter().flat_map(all));
    let in_results: Vec<Value> = in_results.map(|warning| warning["id"].clone()).collect();
    assert!(
        !in_results.is_empty() && in_results.iter().all(|id| told.contains(&id)),
        "{told:?} {in_results:?}"
    );
    assert_eq!(told.len(), in_results.len(), "{told:?} {in_results:?}");
    // Epochs come before evaluations, and these before the results.
    let order: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let at = |name: &str| order.iter().position(|of| *of == name).unwrap();
    assert!(at("epoch") < at("evaluation") && at("evaluation") < at("results"), "{order:?}");
    assert!(named(&events, "text").iter().any(|event| event["text"].as_str().unwrap().starts_with("data ")));

    // An error is an event, too, with the exit code of the program.
    let output = temper(folder, &["run", "run.toml", "--log-format", "json"]);
    let error: Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!(
        (output.status.code(), &error["event"], &error["code"]),
        (Some(1), &"error".into(), &1.into())
    );
    assert!(error["text"].as_str().unwrap().starts_with("runs/run already holds a run\n"), "{error}");
}

#[test]
fn attacks_and_matrices_end_with_their_results_and_warnings_are_events() {
    let folder = trained();
    let folder = folder.path();
    let attack = ["--attack", "fgsm", "--eps", "0.1", "--samples", "20", "--log-format", "json"];
    let output = temper(folder, &[&["attack", "runs/run"][..], &attack, &["--save", "out"]].concat());
    let of_attack = events(&stdout(&output));
    let mut results = named(&of_attack, "results")[0].clone();
    results.as_object_mut().unwrap().remove("event");
    assert_eq!(results, json(&folder.join("out/results.json")));
    assert_eq!(named(&of_attack, "evaluation").len(), 2);

    std::fs::copy(folder.join("runs/run/model.safetensors"), folder.join("other.safetensors")).unwrap();
    let networks = ["transfer", "runs/run", "other.safetensors"];
    let output = temper(folder, &[&networks[..], &attack].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let of_matrix = events(&stdout(&output));
    assert_eq!(named(&of_matrix, "results")[0]["command"], "transfer");
    let told = named(&of_matrix, "warning").len();
    let all = named(&of_matrix, "results")[0]["warnings"].as_array().map_or(0, Vec::len);
    assert_eq!(told, all, "{of_matrix:?}");
}

#[test]
fn quiet_commands_print_results_and_warnings_only() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    let output = temper(folder, &["run", "run.toml", "--quiet"]);
    let said = stdout(&output);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert!(said.starts_with("\nevaluation ") || said.starts_with("warning"), "{said}");
    assert!(said.contains("natural ") && said.contains("pgd "), "{said}");
    for progress in ["epoch 1", "data  ", "model  ", "written to", "report  "] {
        assert!(!said.contains(progress), "{progress}: {said}");
    }
    // Quiet JSON has warnings and results.
    let again = ["run", "run.toml", "--force", "--quiet", "--log-format", "json"];
    let events = events(&succeed(folder, &again));
    assert!(named(&events, "epoch").is_empty() && named(&events, "evaluation").is_empty());
    assert_eq!(named(&events, "results").len(), 1);
    // A sweep hands both on to its runs.
    let sweep = ["sweep", "run.toml", "--set", "train.epochs=1,2", "--quiet"];
    let said = succeed(folder, &sweep);
    assert!(!said.contains("epoch 1") && said.contains("train.epochs=2"), "{said}");
}
