//! A transfer matrix: images crafted on each network, judged by all.

use temper_results::Evaluation;

use crate::figure::HeatMap;
use crate::measured::Measured;
use crate::page::Page;
use crate::table::{Table, interval, percent, radius_in_words};

/// Adds the section.
pub(super) fn section(page: &mut Page, measured: &Measured) {
    page.heading("Transfer");
    parts(page, measured);
}

/// The network on which the images of a cell were crafted: on the diagonal the one that judges them. `None` if they are
/// unperturbed.
fn crafted_on(e: &Evaluation) -> Option<&str> {
    e.norm.and(e.surrogate.as_deref().or(e.judged_by.as_deref()))
}

/// Adds the section's contents.
pub(super) fn parts(page: &mut Page, measured: &Measured) {
    let evaluations = &measured.results.evaluations;
    // In the order of the command line, on both axes.
    let mut networks: Vec<&str> = vec![];
    for name in evaluations.iter().filter_map(|e| e.judged_by.as_deref()) {
        if !networks.contains(&name) {
            networks.push(name);
        }
    }
    let cell = |surrogate: Option<&str>, judge: &str| {
        let of = |e: &&Evaluation| crafted_on(e) == surrogate && e.judged_by.as_deref() == Some(judge);
        evaluations.iter().find(of).map(|e| e.accuracy)
    };
    let rows: Vec<Option<&str>> = std::iter::once(None).chain(networks.iter().copied().map(Some)).collect();
    let map = HeatMap {
        shows: "accuracy on transferred images (%)".into(),
        rows: "crafted on".into(),
        columns: "judged by".into(),
        row_names: rows.iter().map(|row| row.unwrap_or("unperturbed").to_string()).collect(),
        column_names: networks.iter().map(ToString::to_string).collect(),
        cells: rows.iter().map(|row| networks.iter().map(|judge| cell(*row, judge)).collect()).collect(),
        times: 100.0,
        digits: 1,
    };
    let caption =
        "Accuracy (%) of each network on images as they are, and on images crafted on each network.";
    page.figure_or_reason(caption, &map);
    page.table("All cells.", &table(evaluations));
    let warnings = measured.results.all_warnings();
    match warnings.is_empty() {
        true => page.text("No check gave a warning."),
        false => page.warnings(&warnings),
    }
}

fn table(evaluations: &[Evaluation]) -> Table {
    let mut table = Table::new(&[
        "evaluation",
        "crafted on",
        "judged by",
        "radius",
        "accuracy",
        "95 % interval",
        "n",
        "seconds",
    ]);
    for e in evaluations {
        table.row(vec![
            e.name.clone(),
            crafted_on(e).unwrap_or("-").into(),
            e.judged_by.clone().unwrap_or_default(),
            e.norm
                .zip(e.radius)
                .map_or_else(|| "-".into(), |(norm, at)| format!("{norm} {}", radius_in_words(at))),
            percent(e.accuracy),
            interval(e.interval),
            e.n.to_string(),
            format!("{:.1}", e.seconds),
        ]);
    }
    table
}
