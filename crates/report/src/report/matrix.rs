//! A transfer matrix: images crafted on each network, judged by all.

use temper_results::Evaluation;

use super::robustness::table;
use crate::figure::HeatMap;
use crate::measured::Measured;
use crate::page::Page;

/// Adds the section.
pub(super) fn section(page: &mut Page, measured: &Measured) {
    page.heading("Transfer");
    parts(page, measured);
}

/// Adds the section's contents.
pub(super) fn parts(page: &mut Page, measured: &Measured) {
    let evaluations = &measured.results.evaluations;
    let mut surrogates: Vec<&str> = evaluations.iter().filter_map(|e| e.surrogate.as_deref()).collect();
    surrogates.dedup();
    let mut judges: Vec<&str> = evaluations.iter().filter_map(|e| e.judged_by.as_deref()).collect();
    judges.sort_unstable();
    judges.dedup();
    let cell = |surrogate: &str, judge: &str| {
        let of = |e: &&Evaluation| {
            (e.surrogate.as_deref(), e.judged_by.as_deref()) == (Some(surrogate), Some(judge))
        };
        evaluations.iter().find(of).map(|e| e.accuracy)
    };
    let map = HeatMap {
        shows: "accuracy on transferred images (%)".into(),
        rows: "crafted on".into(),
        columns: "judged by".into(),
        row_names: surrogates.iter().map(ToString::to_string).collect(),
        column_names: judges.iter().map(ToString::to_string).collect(),
        cells: surrogates.iter().map(|s| judges.iter().map(|judge| cell(s, judge)).collect()).collect(),
        times: 100.0,
        digits: 1,
    };
    let caption = "Accuracy (%) of each network on images crafted on each network.";
    page.figure_or_reason(caption, &map);
    page.table("All evaluations. `fwd` and `bwd` are passes per image.", &table(measured));
    let warnings = measured.results.all_warnings();
    match warnings.is_empty() {
        true => page.text("No check gave a warning."),
        false => page.warnings(&warnings),
    }
}
