//! The table of evaluations for the terminal.

use temper_results::Results;

use crate::details::{details, told};
use crate::table::{Table, interval, percent};

/// The evaluations as a table for the terminal. `fwd` and `bwd` are passes per sample, `distance` is a median,
/// and `optimal` is what the evaluation broke as a share of what all evaluations broke together. Details follow
/// the table, then the warnings about all numbers.
pub fn table_of(results: &Results) -> String {
    let distances = results.evaluations.iter().any(|e| e.median_distance.is_some());
    let mut header = vec!["evaluation", "accuracy", "95 % interval", "n", "fwd", "bwd", "seconds"];
    if distances {
        header.push("distance");
    }
    let compared = results.evaluations.iter().any(|e| e.optimality.is_some());
    if compared {
        header.push("optimal");
    }
    let selected = results.evaluations.iter().any(|e| e.weights.as_deref().is_some_and(|w| w != "last"));
    if selected {
        header.push("weights");
    }
    let mut table = Table::new(&header);
    for e in &results.evaluations {
        let each = |passes: u64| format!("{:.1}", passes as f64 / e.n.max(1) as f64);
        let mut row = vec![
            e.name.clone(),
            percent(e.accuracy),
            interval(e.interval),
            e.n.to_string(),
            each(e.forwards),
            each(e.backwards),
            format!("{:.1}", e.seconds),
        ];
        if distances {
            row.push(e.median_distance.map_or_else(|| "-".into(), |d| format!("{d:.4}")));
        }
        if compared {
            row.push(e.optimality.map_or_else(|| "-".into(), percent));
        }
        if selected {
            row.push(e.weights.clone().unwrap_or_default());
        }
        table.row(row);
    }
    let all = results.evaluations.iter().map(|evaluation| details(evaluation, selected));
    let text = all.fold(table.to_string(), |text, details| text + &details);
    results.warnings.iter().fold(text, |text, warning| text + "\n" + &told(warning))
}
