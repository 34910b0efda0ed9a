//! A page of a run, from the files that a run leaves behind.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use temper_report::{Chart, Figure, HeatMap, Page, PlotAxis, Series, histograms_of_radii, radii_over_epochs};
use temper_results::{EpochRadii, RadiiFile, Results, read_metrics};

const SAMPLES: usize = 200;
const EPOCHS: usize = 12;

/// Radius of a sample after an epoch: they drift apart.
fn radius(sample: usize, epoch: usize) -> f64 {
    let pull = (sample as f64 / SAMPLES as f64 - 0.4) * 0.02;
    (8.0 / 255.0 + pull * epoch as f64).max(0.0)
}

fn evaluation(name: &str, accuracy: f64) -> serde_json::Value {
    serde_json::json!({
        "name": name, "accuracy": accuracy, "n": 100, "interval": [accuracy - 0.1, accuracy + 0.1], "seconds": 1.0,
        "forwards": 1, "backwards": 1,
    })
}

fn write_run(run: &Path) {
    fs::create_dir(run.join("epsilon")).unwrap();
    let mut metrics = String::new();
    for epoch in 1..=EPOCHS {
        let radii: Vec<f64> = (0..SAMPLES).map(|sample| radius(sample, epoch)).collect();
        let mean = radii.iter().sum::<f64>() / SAMPLES as f64;
        let index = (0..SAMPLES as i64).map(|sample| 3 * sample).collect();
        let file = run.join(format!("epsilon/epoch-{epoch:04}.safetensors"));
        EpochRadii { epoch, radii, index }.write(&file).unwrap();
        let _ = writeln!(
            metrics,
            "{{\"epoch\":{epoch},\"loss\":0.5,\"accuracy\":0.8,\"lr\":0.1,\"mean_radius\":{mean},\
             \"forwards\":10.0,\"backwards\":9.0,\"seconds\":1.0}}"
        );
    }
    fs::write(run.join("metrics.jsonl"), metrics).unwrap();
    let cell = |kind, severity, accuracy| {
        serde_json::json!({
            "kind": kind, "severity": severity, "accuracy": accuracy, "n": 100, "interval": [accuracy, accuracy],
        })
    };
    let (mut sweep, mut corrupted) = (evaluation("sweep", 0.5), evaluation("corruptions", 0.6));
    sweep["curve"] = serde_json::json!({
        "over": "radius",
        "points": [{ "at": 0, "accuracy": 0.8, "interval": [0.7, 0.9] }, { "at": 0.1, "accuracy": 0.5, "interval": [0.4, 0.6] }],
    });
    corrupted["corruptions"] = serde_json::json!({
        "from": "here", "mean": 0.6, "clean": { "accuracy": 0.8, "n": 100, "interval": [0.7, 0.9] },
        "cells": [cell("fog", 1, 0.7), cell("fog", 3, 0.4), cell("snow", 3, 0.375)],
    });
    let results = serde_json::json!({
        "seed": 0, "evaluations": [sweep, corrupted], "networks": [], "dataset": { "name": "made" },
        "versions": { "temper": "0", "candle": "0" }, "machine": { "processor": "none", "threads": 1 },
    });
    fs::write(run.join("results.json"), results.to_string()).unwrap();
}

#[test]
fn a_page_of_a_run_holds_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path();
    write_run(run);
    let results = Results::read(&run.join("results.json")).unwrap();
    let mut page = Page::new("a run");
    page.heading("Evaluations");
    let curve = results.get("sweep").unwrap().curve.as_ref().unwrap();
    let (x, y) = (PlotAxis::new("radius"), PlotAxis::new("accuracy (%)").percent());
    page.figure("Over radii.", &Chart { x, y, series: vec![Series::accuracy("sweep", curve)] }).unwrap();
    let corrupted = results.get("corruptions").unwrap().corruptions.as_ref().unwrap();
    let grid = HeatMap::of_corruptions(corrupted);
    assert_eq!(grid.cells, [[Some(0.7), Some(0.4)], [None, Some(0.375)]]);
    page.figure("Corrupted.", &grid).unwrap();

    let files = RadiiFile::of(run).unwrap();
    assert_eq!(files.len(), EPOCHS);
    let epochs = read_metrics(&run.join("metrics.jsonl")).unwrap();
    for (file, epoch) in files.iter().zip(&epochs) {
        let radii = file.read().unwrap();
        assert_eq!(radii.epoch, epoch.epoch);
        assert!((radii.mean().unwrap() - epoch.mean_radius.unwrap()).abs() < 1e-12);
    }
    let last = files[EPOCHS - 1].read().unwrap();
    let [least, most] = last.extremes(0.01);
    assert_eq!((most, last.of(3 * 199)), (vec![597, 594], Some(radius(199, EPOCHS))));
    let axis = || PlotAxis::new("radius (of 255)").times(255.0);
    page.figure("Radii.", &radii_over_epochs(&files, &[least[0], 300, 597], axis()).unwrap()).unwrap();
    page.figure("How they lie.", &histograms_of_radii(&files, &[1, 6, 12], axis()).unwrap()).unwrap();

    let out = run.join("report.html");
    page.write(&out).unwrap();
    let html = fs::read_to_string(out).unwrap();
    assert!((20_000..2_000_000).contains(&html.len()), "{} bytes", html.len());
    assert_eq!(html.matches("<svg ").count(), 4);
    for text in
        ["40.0", "37.5", "fog", "sample 597", "mean of all samples", "epoch 12", "Figure 4. How they lie."]
    {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn what_a_run_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path());
    let files = RadiiFile::of(folder.path()).unwrap();
    let fault = radii_over_epochs(&files, &[4], PlotAxis::new("radius")).unwrap_err().to_string();
    assert!(fault.ends_with("epoch-0001.safetensors: sample 4 was not trained on"), "{fault}");
    let fault = histograms_of_radii(&files, &[1, 13], PlotAxis::new("radius")).unwrap_err().to_string();
    assert!(fault.ends_with("epsilon: no radii of epoch 13, those of 1 to 12 are there"), "{fault}");
    let none = radii_over_epochs(&[], &[], PlotAxis::new("radius")).unwrap().svg().unwrap_err().to_string();
    assert_eq!(none, "the series `mean of all samples` has no points");
}
