//! Accuracy by class, and what images are taken for under attack.

use std::collections::BTreeMap;

use temper_results::{Evaluation, Record};

use super::verdict::naturals;
use crate::figure::HeatMap;
use crate::measured::Measured;
use crate::page::Page;
use crate::table::{Table, percent};

/// Classes of a confusion matrix; with more of them a table has the most frequent confusions.
const MOST_CLASSES: usize = 14;
/// Evaluations beside each other.
const MOST_EVALUATIONS: usize = 8;
/// Rows of a table of confusions, and of classes if there are many.
const MOST_ROWS: usize = 20;

/// Adds the section, if there are records.
pub(super) fn section(page: &mut Page, measured: &Measured) {
    let attacked =
        measured.results.evaluations.iter().filter(|e| e.norm.is_some() && e.corruptions.is_none());
    let chosen: Vec<(&Evaluation, Vec<Record>)> = naturals(measured)
        .chain(attacked.filter(|e| e.curve.is_none()))
        .map(|e| (e, measured.records(e)))
        .filter(|(_, records)| !records.is_empty())
        .take(MOST_EVALUATIONS)
        .collect();
    if chosen.is_empty() {
        return;
    }
    page.heading("Classes");
    by_class(page, measured, &chosen);
    let worst = chosen.iter().min_by(|a, b| a.0.accuracy.total_cmp(&b.0.accuracy));
    if let Some((evaluation, records)) = worst {
        confusion(page, measured, evaluation, records);
    }
}

/// Samples of each class that stand, and all of them.
fn shares(records: &[Record]) -> BTreeMap<u32, (usize, usize)> {
    let mut shares: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for record in records {
        let (standing, all) = shares.entry(record.label).or_default();
        *standing += usize::from(record.stands());
        *all += 1;
    }
    shares
}

/// The heat map of accuracies by class and evaluation.
fn by_class(page: &mut Page, measured: &Measured, chosen: &[(&Evaluation, Vec<Record>)]) {
    let shares: Vec<_> = chosen.iter().map(|(_, records)| shares(records)).collect();
    let accuracy = |shares: &BTreeMap<u32, (usize, usize)>, class: u32| {
        shares.get(&class).map(|(standing, all)| *standing as f64 / *all as f64)
    };
    let mut classes: Vec<u32> = shares.iter().flat_map(|shares| shares.keys().copied()).collect();
    classes.sort_unstable();
    classes.dedup();
    let all = classes.len();
    // The least accuracy of any evaluation decides which classes are shown of many.
    let least = |class: &u32| shares.iter().filter_map(|of| accuracy(of, *class)).fold(1.0, f64::min);
    if all > MOST_ROWS {
        classes.sort_by(|a, b| least(a).total_cmp(&least(b)));
        classes.truncate(MOST_ROWS);
    }
    let of_many =
        if all > MOST_ROWS { format!(" The {MOST_ROWS} worst of {all} classes.") } else { String::new() };
    let map = HeatMap {
        shows: "accuracy by class (%)".into(),
        rows: "class".into(),
        columns: String::new(),
        row_names: classes.iter().map(|class| measured.class(*class)).collect(),
        column_names: chosen.iter().map(|(e, _)| measured.title(e)).collect(),
        cells: classes.iter().map(|class| shares.iter().map(|of| accuracy(of, *class)).collect()).collect(),
        times: 100.0,
        digits: 1,
    };
    page.figure_or_reason(&format!("Accuracy (%) by class, natural and under attack.{of_many}"), &map);
}

/// How often images of one class are taken for another: `(label, prediction)` to their number.
fn confusions(records: &[Record]) -> BTreeMap<(u32, u32), usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        // A minimum-norm attack goes on beyond the radius, within which a standing image keeps its class.
        let taken = if record.stands() { Some(record.label) } else { record.prediction };
        if let Some(prediction) = taken {
            *counts.entry((record.label, prediction)).or_default() += 1;
        }
    }
    counts
}

/// The confusion matrix, or a table of the most frequent confusions.
fn confusion(page: &mut Page, measured: &Measured, evaluation: &Evaluation, records: &[Record]) {
    let counts = confusions(records);
    let title = measured.title(evaluation);
    let mut classes: Vec<u32> = counts.keys().flat_map(|(label, prediction)| [*label, *prediction]).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.is_empty() {
        return;
    }
    if classes.len() <= MOST_CLASSES {
        let names: Vec<String> = classes.iter().map(|class| measured.class(*class)).collect();
        let row = |label: &u32| {
            let cell = |prediction: &u32| counts.get(&(*label, *prediction)).map(|count| *count as f64);
            classes.iter().map(cell).collect()
        };
        let map = HeatMap {
            shows: format!("predictions in {title}"),
            rows: "class".into(),
            columns: "prediction".into(),
            row_names: names.clone(),
            column_names: names,
            cells: classes.iter().map(row).collect(),
            times: 1.0,
            digits: 0,
        };
        let caption =
            format!("Confusion matrix of `{title}`, in images; an image that stands counts for its class.");
        page.figure_or_reason(&caption, &map);
        return;
    }
    let mut wrong: Vec<((u32, u32), usize)> = counts.into_iter().filter(|((a, b), _)| a != b).collect();
    wrong.sort_by_key(|(pair, count)| (std::cmp::Reverse(*count), *pair));
    let of_class = shares(records);
    let mut table = Table::new(&["class", "taken for", "images", "of the class"]);
    for ((label, prediction), count) in wrong.into_iter().take(MOST_ROWS) {
        let all = of_class.get(&label).map_or(0, |(_, all)| *all);
        table.row(vec![
            measured.class(label),
            measured.class(prediction),
            count.to_string(),
            percent(count as f64 / all.max(1) as f64),
        ]);
    }
    page.table(&format!("The most frequent confusions in `{title}`."), &table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_by_label_and_prediction() {
        let record = |label, prediction, broken: bool| Record {
            label,
            natural: Some(label),
            prediction: Some(prediction),
            broken_by: broken.then(|| "pgd".into()),
            ..Record::default()
        };
        let records = [record(0, 0, false), record(0, 2, true), record(1, 2, true), record(0, 2, true)];
        assert_eq!(shares(&records), BTreeMap::from([(0, (1, 3)), (1, (0, 1))]));
        assert_eq!(confusions(&records), BTreeMap::from([((0, 0), 1), ((0, 2), 2), ((1, 2), 1)]));
    }
}
