//! Several runs side by side: natural accuracy against the worst case.

use temper_results::{Norm, wilson};

use super::single_sections;
use super::verdict::{WorstCase, naturals, worst_cases};
use crate::figure::{Chart, Datum, PlotAxis, Series};
use crate::measured::Measured;
use crate::page::Page;
use crate::table::{Table, interval, percent, radius_in_words};

/// Adds the comparison, then the sections of each.
pub(super) fn sections(page: &mut Page, all: &[Measured]) {
    page.heading("Side by side");
    let names = names(all);
    let cases: Vec<Vec<WorstCase>> = all.iter().map(|one| last_weights(worst_cases(one))).collect();
    let common = common(&cases);
    let mut heads = vec!["run".to_string(), "natural".into(), "95 % interval".into()];
    for (norm, radius) in &common {
        heads.extend([format!("worst at {norm} {}", radius_in_words(*radius)), "95 % interval".into()]);
    }
    heads.push("warnings".into());
    let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    for ((one, cases), name) in all.iter().zip(&cases).zip(&names) {
        let natural = naturals(one).next();
        let mut row = vec![name.clone()];
        row.extend(match natural {
            Some(e) => [percent(e.accuracy), interval(e.interval)],
            None => ["-".into(), "-".into()],
        });
        for at in &common {
            row.extend(match find(cases, *at) {
                Some(case) => [percent(case.accuracy()), interval(wilson(case.standing, case.n))],
                None => ["-".into(), "-".into()],
            });
        }
        let warnings = one.results.all_warnings();
        let severe = warnings.iter().filter(|warning| warning.is_severe()).count();
        row.push(if severe > 0 {
            format!("{}, {severe} severe", warnings.len())
        } else {
            warnings.len().to_string()
        });
        table.row(row);
    }
    page.table(
        "Natural accuracy, and accuracy under all evaluations of one norm and radius together.",
        &table,
    );
    if common.is_empty() {
        page.text(
            "There is no radius of one norm at which at least two of the runs were attacked, so that their robustness is not \
             compared.",
        );
    }
    for at in common {
        trade_off(page, all, &names, &cases, at);
    }
    page.text(
        "Differences of single images are more exact than differences of these numbers: `temper compare` gives intervals of \
         paired differences.",
    );
    for (one, name) in all.iter().zip(&names) {
        single_sections(page, one, name);
    }
}

/// The plot of natural accuracy and worst case at one radius.
fn trade_off(page: &mut Page, all: &[Measured], names: &[String], cases: &[Vec<WorstCase>], at: (Norm, f64)) {
    let mut points = vec![];
    for ((one, cases), name) in all.iter().zip(cases).zip(names) {
        if let (Some(natural), Some(case)) = (naturals(one).next(), find(cases, at)) {
            let [low, high] = wilson(case.standing, case.n);
            points.push(
                Datum::new(natural.accuracy, case.accuracy()).between(low, high).labelled(name.clone()),
            );
        }
    }
    if points.len() < 2 {
        return;
    }
    let (norm, radius) = at;
    let chart = Chart {
        x: PlotAxis::new("natural accuracy (%)").percent(),
        y: PlotAxis::new(format!("worst case at {norm} {} (%)", radius_in_words(radius))).percent(),
        series: vec![Series::scatter("", points)],
    };
    let caption = format!(
        "Trade-off at {norm} {}: natural accuracy against the worst case, with its 95 % interval. Further up and to the right is \
         better.",
        radius_in_words(radius)
    );
    page.figure_or_reason(&caption, &chart);
}

/// The names without the folders that they have in common.
fn names(all: &[Measured]) -> Vec<String> {
    let parts: Vec<Vec<&str>> =
        all.iter().map(|one| one.name.trim_end_matches('/').split('/').collect()).collect();
    let shortest = parts.iter().map(Vec::len).min().unwrap_or(0);
    let common =
        (0..shortest.saturating_sub(1)).take_while(|i| parts.iter().all(|of| of[*i] == parts[0][*i])).count();
    parts.iter().map(|of| of[common..].join("/")).collect()
}

/// The worst cases of the last weights, if several sets of weights were judged.
fn last_weights(cases: Vec<WorstCase>) -> Vec<WorstCase> {
    cases.into_iter().filter(|case| case.weights.as_deref().is_none_or(|weights| weights == "last")).collect()
}

/// Norms and radii at which at least two runs were attacked.
fn common(cases: &[Vec<WorstCase>]) -> Vec<(Norm, f64)> {
    let mut common: Vec<(Norm, f64)> = vec![];
    for case in cases.iter().flatten() {
        let at = (case.norm, case.radius);
        let having = cases.iter().filter(|cases| find(cases, at).is_some()).count();
        if having >= 2 && !common.contains(&at) {
            common.push(at);
        }
    }
    common.sort_by(|a, b| a.0.word().cmp(b.0.word()).then(a.1.total_cmp(&b.1)));
    common
}

fn find(cases: &[WorstCase], (norm, radius): (Norm, f64)) -> Option<&WorstCase> {
    cases.iter().find(|case| case.norm == norm && case.radius == radius)
}
