//! Details below the table of evaluations: attacks of a suite, curves, targets, corruptions, warnings.

use std::fmt::Write;

use temper_results::{Corrupted, Curve, Distances, Evaluation, Hits, Over, Queries, Warning};

use crate::table::{Table, interval, percent};

/// Tables and lines for the terminal; empty if there are no details. `selected`: several sets of weights of a
/// run were evaluated.
pub(crate) fn details(evaluation: &Evaluation, selected: bool) -> String {
    let name = match &evaluation.weights {
        Some(weights) if selected => format!("{} of the {weights} weights", evaluation.name),
        _ => evaluation.name.clone(),
    };
    // A curve has the name in its header.
    let curve = evaluation.curve.as_ref().map(|curve| curve_table(curve, &name));
    let mut text = curve.as_ref().map_or_else(String::new, |curve| format!("\n{curve}"));
    let parts = [
        suite(evaluation),
        queries(evaluation),
        hits(evaluation),
        nearest(evaluation),
        grid(evaluation),
        warnings(evaluation),
    ];
    for (i, part) in parts.into_iter().flatten().enumerate() {
        if i == 0 && curve.is_none() {
            let _ = write!(text, "\n{name}\n");
        }
        text += &part;
    }
    text
}

/// A table of the images that each attack of a suite broke.
fn suite(evaluation: &Evaluation) -> Option<String> {
    if evaluation.attacks.len() < 2 {
        return None;
    }
    let mut table = Table::new(&["attack", "ran on", "broke", "stands after", "fwd", "bwd", "seconds"]);
    let broken: usize = evaluation.attacks.iter().map(|attack| attack.broken).sum();
    let mut standing = (evaluation.accuracy * evaluation.n as f64).round() as usize + broken;
    let each = |passes: u64| format!("{:.1}", passes as f64 / evaluation.n.max(1) as f64);
    for attack in &evaluation.attacks {
        standing -= attack.broken;
        table.row(vec![
            attack.attack.clone(),
            attack.attacked.to_string(),
            attack.broken.to_string(),
            percent(standing as f64 / evaluation.n.max(1) as f64),
            each(attack.forwards),
            each(attack.backwards),
            format!("{:.1}", attack.seconds),
        ]);
    }
    Some(table.to_string())
}

/// The queries of attacks that use no gradients, one line for each.
fn queries(evaluation: &Evaluation) -> Option<String> {
    let told = evaluation.attacks.iter().filter_map(|cost| {
        let Queries { budget, median, most } = cost.queries.as_ref()?;
        let budget = budget.map_or_else(String::new, |budget| format!("; a run has {budget} at most"));
        let spent = match (median, most) {
            (Some(median), Some(most)) => format!("median {median:.0}, most {most}"),
            _ => "none broken".into(),
        };
        Some(wrapped(
            "queries",
            &format!("of `{}` on the images that it broke: {spent}{budget}", cost.attack),
        ))
    });
    let told: String = told.collect();
    (!told.is_empty()).then_some(told)
}

fn hits(evaluation: &Evaluation) -> Option<String> {
    let Hits { n, hits, rate, interval: bounds } = evaluation.targets.as_ref()?;
    let (rate, bounds) = (percent(*rate), interval(*bounds));
    Some(format!("class aimed at: {rate} ({bounds}), {hits} of {n} led there\n"))
}

/// The distances of adversarial images.
fn nearest(evaluation: &Evaluation) -> Option<String> {
    let Distances { n, found, p5, p25, p50, p75, p95 } = evaluation.distances.as_ref()?;
    let shares = [("5 %", p5), ("25 %", p25), ("50 %", p50), ("75 %", p75), ("95 %", p95)];
    let told = shares.map(|(share, distance)| match distance {
        Some(distance) => format!("{share} {distance:.4}"),
        None => format!("{share} not found"),
    });
    Some(wrapped("found for", &format!("{found} of {n}; nearer are {}", told.join(", "))))
}

/// The warnings.
fn warnings(evaluation: &Evaluation) -> Option<String> {
    (!evaluation.warnings.is_empty()).then(|| evaluation.warnings.iter().map(told).collect())
}

/// A warning, wrapped.
pub(crate) fn told(warning: &Warning) -> String {
    wrapped(&format!("{}:", warning.heading()), &warning.to_string())
}

/// Accuracy by kind of corruption and severity, and the means.
fn grid(evaluation: &Evaluation) -> Option<String> {
    let Corrupted {
        from,
        clean,
        mean: _,
        mean_of_all,
        mean_of_main,
        mean_corruption_error,
        mean_relative_corruption_error,
        baseline,
        cells,
    } = evaluation.corruptions.as_ref()?;
    let kinds = || cells.chunk_by(|a, b| a.kind == b.kind);
    let severities = kinds().next()?.iter().filter_map(|cell| cell.severity);
    let mut heads = vec!["accuracy at severity".to_string()];
    heads.extend(severities.map(|severity| severity.to_string()));
    heads.push("mean".into());
    let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    for cells in kinds() {
        let mean = cells.iter().map(|cell| cell.accuracy).sum::<f64>() / cells.len() as f64;
        let mut row = vec![cells[0].kind.clone().unwrap_or_default()];
        row.extend(cells.iter().map(|cell| percent(cell.accuracy)));
        row.push(percent(mean));
        table.row(row);
    }
    let mut text = format!("{from}\n{table}unperturbed {}", percent(clean.accuracy));
    let means = [("over 19 kinds", mean_of_all), ("over the 15 main ones", mean_of_main)];
    for (what, mean) in means.into_iter().filter_map(|(what, mean)| Some((what, (*mean)?))) {
        let _ = write!(text, "; {what} {}", percent(mean));
    }
    if let (Some(error), Some(baseline)) = (mean_corruption_error, baseline) {
        let relative = mean_relative_corruption_error
            .map_or_else(String::new, |relative| format!(", relative mCE {relative:.1}"));
        let _ = write!(text, "\nmCE {error:.1}{relative}, where 100 is\n{baseline}");
    }
    Some(text + "\n")
}

fn curve_table(curve: &Curve, name: &str) -> String {
    let mut table = Table::new(&[&format!("{name}: {}", curve.over.word()), "accuracy", "95 % interval"]);
    for point in &curve.points {
        let at = if curve.over == Over::Radius { format!("{:.5}", point.at) } else { point.at.to_string() };
        table.row(vec![at, percent(point.accuracy), interval(point.interval)]);
    }
    table.to_string()
}

/// Text wrapped at 80 columns after a word; its own line breaks are kept.
fn wrapped(word: &str, text: &str) -> String {
    let (mut lines, mut line) = (String::new(), word.to_string());
    for (i, part) in text.lines().enumerate() {
        if i > 0 {
            let _ = writeln!(lines, "{line}");
            line = " ".into();
        }
        for word in part.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > 80 {
                let _ = writeln!(lines, "{line}");
                line = " ".into();
            }
            line.push(' ');
            line.push_str(word);
        }
    }
    lines + &line + "\n"
}
