//! The evaluations: a table of all, then suites, curves, distances and corruptions.

use temper_results::{Cost, Evaluation, Norm, Over, Record};

use crate::figure::{Chart, Datum, Fall, HeatMap, PlotAxis, Series, Waterfall};
use crate::measured::Measured;
use crate::page::Page;
use crate::table::{Table, interval, percent, radius_in_words};

/// Points of a curve of distances.
const MOST_POINTS: usize = 200;
/// Series of one chart, as many as can be told apart.
const MOST_SERIES: usize = 28;

/// Adds the section.
pub(super) fn section(page: &mut Page, measured: &Measured) {
    page.heading("Evaluations");
    parts(page, measured);
}

/// Adds the section's contents.
pub(super) fn parts(page: &mut Page, measured: &Measured) {
    page.table("All evaluations. `fwd` and `bwd` are passes per image.", &table(measured));
    for evaluation in &measured.results.evaluations {
        suite(page, measured, evaluation);
    }
    curves(page, measured);
    distances(page, measured);
    for evaluation in &measured.results.evaluations {
        if let Some(corrupted) = &evaluation.corruptions {
            let title = measured.title(evaluation);
            let caption = format!(
                "`{title}`: accuracy (%) by corruption and severity; {} on the same images unperturbed. Images: {}.",
                percent(corrupted.clean.accuracy),
                corrupted.from
            );
            page.figure_or_reason(&caption, &HeatMap::of_corruptions(corrupted));
        }
    }
    let sentences = sentences(measured);
    if !sentences.is_empty() {
        page.list(&sentences);
    }
}

/// The table of all evaluations.
pub(super) fn table(measured: &Measured) -> Table {
    let mut table = Table::new(&[
        "evaluation",
        "accuracy",
        "95 % interval",
        "n",
        "norm",
        "radius",
        "fwd",
        "bwd",
        "seconds",
    ]);
    for e in &measured.results.evaluations {
        let each = |passes: u64| format!("{:.1}", passes as f64 / e.n.max(1) as f64);
        table.row(vec![
            measured.title(e),
            percent(e.accuracy),
            interval(e.interval),
            e.n.to_string(),
            e.norm.map(|norm| norm.to_string()).unwrap_or_default(),
            e.radius.map(radius_in_words).unwrap_or_default(),
            each(e.forwards),
            each(e.backwards),
            format!("{:.1}", e.seconds),
        ]);
    }
    table
}

/// The waterfall of an evaluation by several attacks.
fn suite(page: &mut Page, measured: &Measured, e: &Evaluation) {
    let attacks: Vec<&Cost> = e.attacks.iter().filter(|cost| cost.attack != "natural").collect();
    // Counts of a sweep are of all its radii.
    if attacks.len() < 2 || e.curve.is_some() {
        return;
    }
    let n = e.n.max(1) as f64;
    let broken = attacks.iter().fold(0usize, |sum, cost| sum.saturating_add(cost.broken));
    let standing = (e.accuracy * n).round() as usize;
    let wrong = e.n.saturating_sub(standing.saturating_add(broken));
    let mut falls =
        vec![Fall { name: "wrong unperturbed".into(), share: wrong as f64 / n, note: String::new() }];
    falls.extend(attacks.iter().map(|cost| Fall {
        name: cost.attack.clone(),
        share: cost.broken as f64 / n,
        note: format!(
            "−{:.1} %; {:.1} fwd, {:.1} bwd",
            cost.broken as f64 / n * 100.0,
            cost.forwards as f64 / n,
            cost.backwards as f64 / n
        ),
    }));
    let caption = format!(
        "`{}`: what each attack broke of the images that stood before it, and its cost in passes per image of all {}.",
        measured.title(e),
        e.n
    );
    let figure = Waterfall { of: "test images (%)".into(), falls, left: "stand".into() };
    page.figure_or_reason(&caption, &figure);
}

/// Accuracy over radii, a chart for each norm, and over steps.
fn curves(page: &mut Page, measured: &Measured) {
    let accuracy = || PlotAxis::new("accuracy (%)").percent();
    for norm in [Norm::Linf, Norm::L2] {
        let series = of_curves(measured, |e| {
            (e.norm, e.curve.as_ref().map(|c| c.over)) == (Some(norm), Some(Over::Radius))
        });
        let x = match norm {
            Norm::Linf => PlotAxis::new("l-inf radius (1/255)").times(255.0),
            Norm::L2 => PlotAxis::new("l2 radius"),
        };
        if !series.is_empty() {
            let caption = format!("Accuracy over the {norm} radius, with 95 % intervals.");
            page.figure_or_reason(&caption, &Chart { x, y: accuracy(), series });
        }
    }
    let series = of_curves(measured, |e| e.curve.as_ref().is_some_and(|c| c.over == Over::Steps));
    if !series.is_empty() {
        let x = PlotAxis::new("steps").logarithmic();
        let caption = "Accuracy over the steps of the attack, with 95 % intervals.";
        page.figure_or_reason(caption, &Chart { x, y: accuracy(), series });
    }
}

fn of_curves(measured: &Measured, of: impl Fn(&Evaluation) -> bool) -> Vec<Series> {
    let chosen = measured.results.evaluations.iter().filter(|e| of(e));
    chosen
        .take(MOST_SERIES)
        .filter_map(|e| Some(Series::accuracy(measured.title(e), e.curve.as_ref()?)))
        .collect()
}

/// For minimum-norm attacks: the share of images without an adversarial image within a distance.
fn distances(page: &mut Page, measured: &Measured) {
    for norm in [Norm::Linf, Norm::L2] {
        let chosen = measured.results.evaluations.iter().filter(|e| e.norm == Some(norm));
        let series: Vec<Series> = chosen
            .filter_map(|e| Some(Series::line(measured.title(e), survival(&measured.records(e))?)))
            .take(MOST_SERIES)
            .collect();
        if series.is_empty() {
            continue;
        }
        let x = match norm {
            Norm::Linf => PlotAxis::new("l-inf distance (1/255)").times(255.0),
            Norm::L2 => PlotAxis::new("l2 distance"),
        };
        let caption = format!(
            "Survival curve: share of images for which the attack found no adversarial image within this {norm} distance. \
             At 0 it is the natural accuracy."
        );
        page.figure_or_reason(&caption, &Chart { x, y: PlotAxis::new("share (%)").percent(), series });
    }
}

/// The survival curve of the distances that a minimum-norm attack found; `None` without any. A suite runs such an
/// attack only on images that other attacks left: `None`, too, because the others' distances are not known.
fn survival(records: &[Record]) -> Option<Vec<Datum>> {
    let right: Vec<&Record> = records.iter().filter(|record| record.natural == Some(record.label)).collect();
    let mut found: Vec<f64> =
        right.iter().filter_map(|record| record.min_norm).filter(|d| d.is_finite()).collect();
    if found.is_empty() || right.iter().any(|record| record.min_norm.is_none()) {
        return None;
    }
    found.sort_by(f64::total_cmp);
    let n = records.len() as f64;
    let stride = found.len().div_ceil(MOST_POINTS);
    let mut points = vec![Datum::new(0.0, right.len() as f64 / n)];
    // The last distance is a point, too.
    let places = (0..found.len()).filter(|i| (i + 1) % stride == 0 || i + 1 == found.len());
    points.extend(places.map(|i| Datum::new(found[i], (right.len() - i - 1) as f64 / n)));
    Some(points)
}

/// Queries, targets and medians of distances, a sentence each.
fn sentences(measured: &Measured) -> Vec<String> {
    let mut all = vec![];
    for e in &measured.results.evaluations {
        let title = measured.title(e);
        if let Some(distance) = e.median_distance {
            all.push(format!(
                "`{title}`: the median distance of adversarial images is {}.",
                radius_in_words(distance)
            ));
        }
        if let Some(hits) = &e.targets {
            all.push(format!(
                "`{title}`: {} of {} images were classified as the class that the attack aimed at ({}).",
                hits.hits,
                hits.n,
                percent(hits.rate)
            ));
        }
        if let Some(optimality) = e.optimality {
            all.push(format!(
                "`{title}` broke {} of all images that the evaluations of the same norm broke together.",
                percent(optimality)
            ));
        }
        for cost in &e.attacks {
            if let Some((median, most)) = cost.queries.as_ref().and_then(|of| Some((of.median?, of.most?))) {
                all.push(format!(
                    "`{title}`: `{}` took a median of {median:.0} queries for an image that it broke, and {most} at most.",
                    cost.attack
                ));
            }
        }
        if e.skipped > 0 {
            all.push(format!("`{title}`: {} images could not be decoded and were not judged.", e.skipped));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(label: u32, min_norm: Option<f64>) -> Record {
        Record { label, natural: Some(0), min_norm, ..Record::default() }
    }

    #[test]
    fn survival_begins_at_the_natural_accuracy_and_falls_at_each_distance() {
        let records = [
            record(0, Some(0.3)),
            record(0, Some(0.1)),
            record(0, Some(f64::INFINITY)),
            record(1, Some(0.0)),
        ];
        let points = survival(&records).unwrap();
        let numbers: Vec<(f64, f64)> = points.iter().map(|point| (point.x, point.y)).collect();
        // Of four images three are right; one of them has no adversarial image.
        assert_eq!(numbers, [(0.0, 0.75), (0.1, 0.5), (0.3, 0.25)]);
        assert_eq!(survival(&[record(0, Some(f64::INFINITY))]), None);
        assert_eq!(survival(&[record(0, Some(0.1)), record(0, None)]), None);
    }

    #[test]
    fn a_long_survival_curve_is_thinned_and_keeps_its_end() {
        let records: Vec<Record> = (1..=1001).map(|i| record(0, Some(f64::from(i)))).collect();
        let points = survival(&records).unwrap();
        assert!(points.len() <= MOST_POINTS + 2, "{}", points.len());
        assert_eq!((points[points.len() - 1].x, points[points.len() - 1].y), (1001.0, 0.0));
    }
}
