//! What each test image gave, from a run's `records.jsonl`: two rows that are judged on the same images are compared image by
//! image, which says more than their two intervals.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use temper_report::{Curve, Evaluation};

/// Of each image, by its index: 100 if it stands, 0 if it does not; the mean over all cells of corruptions.
pub type Outcomes = BTreeMap<u64, f64>;

/// A run's records.
#[derive(Debug)]
pub struct Records(Vec<Value>);

impl Records {
    /// Reads them whole.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = text.lines().enumerate().map(|(i, line)| {
            serde_json::from_str(line).with_context(|| format!("{}:{}", file.display(), i + 1))
        });
        Ok(Self(lines.collect::<anyhow::Result<_>>()?))
    }
}

/// The outcomes behind an evaluation's accuracy, or behind the point `at` of its curve. None if the records hold another
/// evaluation of this name by now. `key` is the evaluation's in the results.
pub fn outcomes(
    records: &Records,
    evaluation: &Evaluation,
    key: &Value,
    at: Option<f64>,
) -> Option<Outcomes> {
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for line in &records.0 {
        let ours = line["evaluation"] == evaluation.name.as_str() && line["key"] == *key;
        // Beside corrupted images the unperturbed ones are judged too.
        if !ours || evaluation.corruptions.is_some() && line["corruption"].is_null() {
            continue;
        }
        let samples = &line["samples"];
        for (i, sample) in samples["sample"].as_array().into_iter().flatten().enumerate() {
            let sample = sample.as_u64()?;
            let stands = stands(samples, i, at.zip(evaluation.curve.as_ref()));
            let sum = sums.entry(sample).or_default();
            *sum = (sum.0 + f64::from(u8::from(stands)) * 100.0, sum.1 + 1.0);
        }
    }
    let all: Outcomes = sums.into_iter().map(|(sample, (sum, n))| (sample, sum / n)).collect();
    let expected = match at.zip(evaluation.curve.as_ref()) {
        Some((at, curve)) => curve.points.iter().find(|point| near(point.at, at)).map(|point| point.accuracy),
        None => Some(evaluation.accuracy),
    };
    let mean = all.values().sum::<f64>() / all.len().max(1) as f64;
    let same = all.len() == evaluation.n && expected.is_some_and(|e| (e * 100.0 - mean).abs() < 1e-6);
    same.then_some(all)
}

/// Whether the `i`th image of a line stands, at this place of a curve if there is one.
fn stands(samples: &Value, i: usize, at: Option<(f64, &Curve)>) -> bool {
    if samples["natural"][i] != samples["label"][i] {
        return false;
    }
    match at {
        Some((at, curve)) if curve.over == "steps" => {
            let place = curve.points.iter().position(|point| near(point.at, at));
            place.is_none_or(|place| samples["steps"][i][place] != true)
        }
        Some((at, _)) => samples["radius"][i].as_f64().is_none_or(|broken| broken > at + 1e-9),
        None => samples["broken_by"][i].is_null(),
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}
