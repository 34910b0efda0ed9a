//! The outcome of each test image, from a run's `records.jsonl`. Two rows that are judged on the same images
//! are compared image by image, which is more informative than comparing their two intervals.

use std::collections::BTreeMap;

use temper_results::{Evaluation, Line};

/// Outcome of each image, by its index: 100 if it stands, 0 if it does not; averaged over all cells of corruptions.
pub type Outcomes = BTreeMap<u64, f64>;

/// The outcomes behind an evaluation's accuracy, or behind the point `at` of its curve. `None` if the records
/// now belong to another evaluation of this name.
pub fn outcomes(records: &[Line], evaluation: &Evaluation, at: Option<f64>) -> Option<Outcomes> {
    let points = evaluation.curve.as_ref().map(|curve| &curve.points);
    let point = match (at, points) {
        (Some(at), Some(points)) => Some(points.iter().position(|point| near(point.at, at))?),
        _ => None,
    };
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for line in records {
        let ours = line.evaluation == evaluation.name && line.key == evaluation.key;
        // An evaluation of corrupted images also judges the unperturbed ones.
        if !ours || evaluation.corruptions.is_some() && line.corruption.is_none() {
            continue;
        }
        for record in line.samples.records() {
            let stands = match point {
                Some(point) => evaluation.stands_at(&record, point)?,
                None => record.stands(),
            };
            let sum = sums.entry(record.sample).or_default();
            *sum = (sum.0 + f64::from(u8::from(stands)) * 100.0, sum.1 + 1.0);
        }
    }
    let all: Outcomes = sums.into_iter().map(|(sample, (sum, n))| (sample, sum / n)).collect();
    let expected = match (point, points) {
        (Some(point), Some(points)) => points[point].accuracy,
        _ => evaluation.accuracy,
    };
    let mean = all.values().sum::<f64>() / all.len().max(1) as f64;
    let same = all.len() == evaluation.n && (expected * 100.0 - mean).abs() < 1e-6;
    same.then_some(all)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}
