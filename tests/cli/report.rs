//! `temper report`: the page that is written with each run, and pages of several.

use std::fs;
use std::path::Path;

use expect_test::expect;

use crate::cli::attack_command::trained;
use crate::support::{STRIPES, fails, json, playground, refuses, succeed};

/// The page in this file.
fn page(file: &Path) -> String {
    let page = fs::read_to_string(file).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    // It needs no network and runs no script.
    for foreign in ["<script", "src=\"http", "href=\"http", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    page
}

fn percent(share: &serde_json::Value) -> String {
    format!("{:.1} %", share.as_f64().unwrap() * 100.0)
}

#[test]
fn a_run_and_an_attack_write_their_pages_and_several_are_shown_side_by_side() {
    let folder = trained();
    let folder = folder.path();
    let of_run = page(&folder.join("runs/run/report.html"));
    let results = json(&folder.join("runs/run/results.json"));
    let headings: Vec<usize> = ["Verdict", "Evaluations", "Classes", "Training", "What was run"]
        .iter()
        .map(|heading| of_run.find(&format!(">{heading}</h2>")).unwrap_or_else(|| panic!("no {heading}")))
        .collect();
    assert!(headings.is_sorted());
    // The verdict has the numbers of the results.
    let verdict = &of_run[headings[0]..headings[1]];
    for i in [0, 1] {
        let number = format!("<dd class=\"number\">{}</dd>", percent(&results["evaluations"][i]["accuracy"]));
        assert!(verdict.contains(&number), "{number}: {verdict}");
    }
    let warnings =
        results["evaluations"].as_array().unwrap().iter().filter_map(|e| e["warnings"].as_array().cloned());
    for warning in warnings.flatten() {
        let explained = format!("temper explain {}", warning["id"].as_str().unwrap());
        assert!(verdict.contains(&explained), "{explained}");
    }
    // Loss, accuracy and radii over epochs, their histograms, classes, and the confusion matrix.
    for caption in [
        "Mean training loss",
        "Accuracy while training",
        "Radii of the",
        "Distribution of the radii",
        "by class",
        "Confusion",
    ] {
        assert!(of_run.contains(caption), "{caption}");
    }
    assert!(!of_run.contains("Not drawn"), "{of_run}");

    let attack = ["attack", "runs/run", "--eps", "0.1", "--samples", "40", "--save", "out"];
    let attacks = ["--attack", "fgsm", "--attack", "pgd = { steps = 5, step = 0.04 }"];
    let said = succeed(folder, &[&attack[..], &attacks].concat());
    assert!(said.ends_with("written to out\nreport  out/report.html\n"), "{said}");
    let of_attack = page(&folder.join("out/report.html"));
    assert!(of_attack.contains("wrong unperturbed") && of_attack.contains(">stand"), "no waterfall");
    assert!(of_attack.contains(">Images</h2>") && of_attack.contains("<image "), "no images");
    assert!(!of_attack.contains("Not drawn"), "{of_attack}");

    assert_eq!(succeed(folder, &["report", "runs/run", "out"]), "written to report.html\n");
    let both = page(&folder.join("report.html"));
    // The run was attacked at the same radius, so that both are on one plot.
    assert!(both.contains("Trade-off at l-inf 0.1") && both.contains(">runs/run</h2>"), "{both}");
    // An old page is replaced; a page of somebody else is not.
    succeed(folder, &["report", "runs/run", "--out", "report.html"]);
    assert!(page(&folder.join("report.html")) == of_run, "the page is not that of the run");
    fs::write(folder.join("mine.html"), "<h1>mine</h1>").unwrap();
    fails(
        folder,
        &["report", "runs/run", "--out", "mine.html"],
        &expect![[r"
            error: mine.html is there and is no report of temper; choose another place with --out FILE
        "]],
    );
    assert_eq!(fs::read_to_string(folder.join("mine.html")).unwrap(), "<h1>mine</h1>");
    refuses(
        folder,
        &["report", "data"],
        &expect![[r"
        error: data holds no results.json: expected the folder of a run that has ended or of `temper attack --save`, or the file of `temper transfer --save`
          a run that was interrupted ends with `temper run FILE --resume`
    "]],
    );
    refuses(
        folder,
        &["report", "nowhere"],
        &expect![[r"
        error: nowhere holds no results.json: expected the folder of a run that has ended or of `temper attack --save`, or the file of `temper transfer --save`
          a run that was interrupted ends with `temper run FILE --resume`
    "]],
    );
    // The cause of a damaged file is told once.
    fs::write(folder.join("runs/run/metrics.jsonl"), "{}\n").unwrap();
    fails(
        folder,
        &["report", "runs/run"],
        &expect![[r"
            error: runs/run/metrics.jsonl, line 1: missing field `epoch`
        "]],
    );
    fs::write(folder.join("out/records.jsonl"), "no record\n").unwrap();
    fails(
        folder,
        &["report", "out"],
        &expect![[r"
        error: out/records.jsonl:1: expected ident at line 1 column 2
          it is damaged, or another version of temper wrote it: remove the file to judge anew
    "]],
    );
}

/// With several sets of weights each is a row of its own, with the natural accuracy of the same weights.
#[test]
fn sets_of_weights_are_rows_of_a_comparison() {
    let pipeline = STRIPES.replace(
        "[[evaluate]]\nname = \"natural\"",
        "[select]\nsamples = 40\nweights = \"both\"\n\n[[evaluate]]\nname = \"natural\"",
    );
    let folder = playground(&pipeline);
    let folder = folder.path();
    succeed(folder, &["run", "run.toml"]);
    succeed(folder, &["run", "run.toml", "--out", "runs/best", "--set", "select.weights=best"]);
    succeed(folder, &["report", "runs/run", "runs/best"]);
    let both = page(&folder.join("report.html"));
    let results = json(&folder.join("runs/run/results.json"));
    let of = |name: &str, weights: &str| {
        let all = results["evaluations"].as_array().unwrap();
        let e = all.iter().find(|e| e["name"] == name && e["weights"] == weights).unwrap();
        percent(&e["accuracy"])
    };
    for weights in ["best", "last"] {
        let row =
            both.split("<tr>").find(|row| row.contains(&format!(">run, {weights} weights</th>"))).unwrap();
        let numbers = [of("natural", weights), of("pgd", weights)].map(|number| format!("<td>{number}</td>"));
        assert!(numbers.iter().all(|number| row.contains(number)), "{numbers:?}: {row}");
    }
    assert!(both.contains(">best</th>") && both.contains("Trade-off at l-inf 0.1"), "{both}");
}

#[test]
fn a_transfer_matrix_has_a_page() {
    let folder = trained();
    let folder = folder.path();
    fs::copy(folder.join("runs/run/model.safetensors"), folder.join("other.safetensors")).unwrap();
    let crafted = ["--attack", "fgsm", "--eps", "0.1", "--samples", "30"];
    let networks =
        ["transfer", "runs/run", "other.safetensors", "--data", "fashion-mnist = { root = 'data' }"];
    succeed(folder, &[&networks[..], &crafted, &["--save", "matrix.json"]].concat());
    assert_eq!(succeed(folder, &["report", "matrix.json"]), "written to matrix.html\n");
    let matrix = page(&folder.join("matrix.html"));
    assert!(matrix.contains("heat map of accuracy on transferred images"), "{matrix}");
    // Each cell has its number, on the diagonal, too.
    let results = json(&folder.join("matrix.json"));
    for e in results["evaluations"].as_array().unwrap() {
        let judge = e["judged_by"].as_str().unwrap();
        let on = match e.get("surrogate").and_then(|name| name.as_str()) {
            Some(surrogate) => surrogate,
            None if e.get("norm").is_some() => judge,
            None => "unperturbed",
        };
        let number = format!("{on}, {judge}: {:.1}", e["accuracy"].as_f64().unwrap() * 100.0);
        assert!(matrix.contains(&number), "{number}: {matrix}");
    }
    assert!(!matrix.contains("Not drawn"), "{matrix}");
}
