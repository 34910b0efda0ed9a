//! Several runs side by side: natural accuracy against the worst case.

use temper_results::{Evaluation, Norm, wilson};

use super::single_sections;
use super::verdict::{WorstCase, naturals, worst_cases};
use crate::figure::{Chart, Datum, PlotAxis, Series};
use crate::measured::Measured;
use crate::page::Page;
use crate::table::{Table, interval, percent, radius_in_words};

/// A set of weights of a run: a row of the comparison.
struct Entry<'m> {
    name: String,
    natural: Option<&'m Evaluation>,
    cases: Vec<WorstCase>,
    warnings: (usize, usize),
}

impl<'m> Entry<'m> {
    /// One for each set of weights that was judged.
    fn all(one: &'m Measured, name: &str) -> Vec<Self> {
        let mut weights: Vec<Option<&str>> = vec![];
        for e in &one.results.evaluations {
            if !weights.contains(&e.weights.as_deref()) {
                weights.push(e.weights.as_deref());
            }
        }
        let told = one.results.all_warnings();
        let severe = told.iter().filter(|warning| warning.is_severe()).count();
        let cases = worst_cases(one);
        let entry = |of: Option<&str>| Entry {
            name: match of {
                Some(of) if weights.len() > 1 => format!("{name}, {of} weights"),
                _ => name.into(),
            },
            natural: naturals(one).filter(|e| e.weights.as_deref() == of).max_by_key(|e| e.n),
            cases: cases.iter().filter(|case| case.weights.as_deref() == of).cloned().collect(),
            warnings: (told.len(), severe),
        };
        weights.iter().copied().map(entry).collect()
    }
}

/// Adds the comparison, then the sections of each.
pub(super) fn sections(page: &mut Page, all: &[Measured]) {
    page.heading("Side by side");
    let names = names(all);
    let entries: Vec<Entry> = all
        .iter()
        .zip(&names)
        .filter(|(one, _)| !one.is_matrix())
        .flat_map(|(one, name)| Entry::all(one, name))
        .collect();
    let common = common(&entries);
    page.table(
        "Natural accuracy, and accuracy under all evaluations of one norm and radius together.",
        &table(&entries, &common),
    );
    let mut images: Vec<&str> = entries.iter().filter_map(|entry| Some(&*entry.natural?.data)).collect();
    images.sort_unstable();
    images.dedup();
    if images.len() > 1 {
        page.text("The natural accuracies are not of the same images, so that their differences say less.");
    }
    if all.iter().any(Measured::is_matrix) {
        page.text("Transfer matrices are not compared: they follow below.");
    }
    if common.is_empty() {
        page.text(
            "There is no radius of one norm at which at least two of the runs were attacked, so that their robustness is not \
             compared.",
        );
    }
    for at in common {
        trade_off(page, &entries, at);
    }
    page.text("Comparing image by image is more exact than comparing these numbers: use `temper compare`.");
    for (one, name) in all.iter().zip(&names) {
        single_sections(page, one, name);
    }
}

/// The table of all entries.
fn table(entries: &[Entry], common: &[(Norm, f64)]) -> Table {
    let mut heads = vec!["run".to_string(), "natural".into(), "95 % interval".into(), "n".into()];
    for (norm, radius) in common {
        heads.extend([
            format!("worst at {norm} {}", radius_in_words(*radius)),
            "95 % interval".into(),
            "n".into(),
        ]);
    }
    heads.push("warnings".into());
    let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    let none = || ["-".to_string(), "-".into(), "-".into()];
    for Entry { name, natural, cases, warnings: (told, severe) } in entries {
        let mut row = vec![name.clone()];
        row.extend(
            natural.map_or_else(none, |e| [percent(e.accuracy), interval(e.interval), e.n.to_string()]),
        );
        for at in common {
            row.extend(find(cases, *at).map_or_else(none, |case| {
                [percent(case.accuracy()), interval(wilson(case.standing, case.n)), case.n.to_string()]
            }));
        }
        row.push(if *severe > 0 { format!("{told}, {severe} severe") } else { told.to_string() });
        table.row(row);
    }
    table
}

/// The plot of natural accuracy and worst case at one radius.
fn trade_off(page: &mut Page, entries: &[Entry], at: (Norm, f64)) {
    let points: Vec<Datum> = entries
        .iter()
        .filter_map(|entry| {
            let (natural, case) = (entry.natural?, find(&entry.cases, at)?);
            let [low, high] = wilson(case.standing, case.n);
            Some(
                Datum::new(natural.accuracy, case.accuracy()).between(low, high).labelled(entry.name.clone()),
            )
        })
        .collect();
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

/// Norms and radii at which at least two entries were attacked.
fn common(entries: &[Entry]) -> Vec<(Norm, f64)> {
    let mut common: Vec<(Norm, f64)> = vec![];
    for case in entries.iter().flat_map(|entry| &entry.cases) {
        let at = (case.norm, case.radius);
        let having = entries.iter().filter(|entry| find(&entry.cases, at).is_some()).count();
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
