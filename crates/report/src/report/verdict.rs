//! The verdict: natural accuracy, accuracy under all attacks together, what broke most, and warnings.

use std::collections::BTreeMap;
use std::fmt::Write;

use temper_results::{Evaluation, Norm, Over, wilson};

use crate::measured::Measured;
use crate::page::{KeyFigure, Page};
use crate::table::{interval, percent, radius_in_words};

/// Radii of a norm that are shown large; all are in the tables.
const MOST: usize = 3;

/// Adds the section.
pub(super) fn section(page: &mut Page, measured: &Measured) {
    page.heading("Verdict");
    parts(page, measured);
}

/// Adds the section's contents.
pub(super) fn parts(page: &mut Page, measured: &Measured) {
    let mut figures: Vec<KeyFigure> = naturals(measured).map(|e| of_natural(measured, e)).collect();
    let worst = shown(&worst_cases(measured));
    figures.extend(worst.iter().map(|case| case.key_figure(measured.selects())));
    if figures.is_empty() {
        page.text("No accuracy was measured.");
    } else {
        page.key_figures(&figures);
    }
    for case in &worst {
        page.text(&case.explained(measured.selects()));
    }
    if measured.own_radii() {
        page.text("Each image was attacked within the radius that training gave to it, so there is no common radius.");
    }
    let warnings = measured.results.all_warnings();
    if warnings.is_empty() {
        page.text("No check gave a warning.");
    } else {
        let severe = warnings.iter().filter(|warning| warning.is_severe()).count();
        page.text(&counted(warnings.len(), severe));
        page.warnings(&warnings);
    }
}

fn counted(all: usize, severe: usize) -> String {
    let noun = if all == 1 { "warning" } else { "warnings" };
    match severe {
        0 => format!("{all} {noun}: numbers may be imprecise."),
        _ => format!("{all} {noun}, {severe} severe: a number is probably wrong."),
    }
}

/// Accuracies on the test images as they are, one for each set of weights.
pub(super) fn naturals(measured: &Measured) -> impl Iterator<Item = &Evaluation> {
    measured
        .results
        .evaluations
        .iter()
        .filter(|e| e.norm.is_none() && e.corruptions.is_none() && e.curve.is_none())
}

fn of_natural(measured: &Measured, e: &Evaluation) -> KeyFigure {
    KeyFigure {
        name: format!(
            "Natural accuracy{}",
            if measured.selects() { of_weights(e.weights.as_deref()) } else { String::new() }
        ),
        number: percent(e.accuracy),
        note: format!("n = {}, 95 % interval {}", e.n, interval(e.interval)),
    }
}

fn of_weights(weights: Option<&str>) -> String {
    weights.map(|weights| format!(", {weights} weights")).unwrap_or_default()
}

/// The accuracy under all evaluations of one norm and radius together: a sample stands if it stands in each.
#[derive(Debug, Clone)]
pub(super) struct WorstCase {
    pub(super) norm: Norm,
    pub(super) radius: f64,
    pub(super) weights: Option<String>,
    pub(super) standing: usize,
    pub(super) n: usize,
    /// Whether all evaluations were joined image by image. If not, `standing` is the least of them.
    joined: bool,
    /// Names, accuracies and numbers of images of evaluations on other images.
    elsewhere: Vec<(String, f64, usize)>,
    /// Names and accuracies of the evaluations, the least first.
    evaluations: Vec<(String, f64)>,
    /// What each attack of the evaluation with the least accuracy broke first, the most first.
    broke: Vec<(String, usize)>,
    /// Whether at least one evaluation is of this radius alone, not a point of a sweep.
    alone: bool,
}

/// An evaluation at one radius.
struct AtRadius<'m> {
    evaluation: &'m Evaluation,
    norm: Norm,
    radius: f64,
    /// The point of its sweep.
    point: Option<usize>,
    accuracy: f64,
}

impl<'m> AtRadius<'m> {
    /// The radii of an evaluation: the points of a sweep over radii, or the only one. Radii of 0 are left out.
    fn all(evaluation: &'m Evaluation, norm: Norm) -> Vec<Self> {
        let at = |radius, point, accuracy| Self { evaluation, norm, radius, point, accuracy };
        // Without images there is no accuracy.
        if evaluation.n == 0 || !(0.0..=1.0).contains(&evaluation.accuracy) {
            return vec![];
        }
        let all: Vec<Self> = match &evaluation.curve {
            Some(curve) if curve.over == Over::Radius => {
                curve.points.iter().enumerate().map(|(i, of)| at(of.at, Some(i), of.accuracy)).collect()
            }
            _ => evaluation.radius.into_iter().map(|radius| at(radius, None, evaluation.accuracy)).collect(),
        };
        all.into_iter().filter(|at| at.radius > 0.0).collect()
    }

    /// Whether each sample stands, by its index; `None` without records.
    fn standing(&self, measured: &Measured) -> Option<BTreeMap<u64, bool>> {
        let records = measured.records(self.evaluation);
        let stands = |record: &temper_results::Record| match self.point {
            Some(point) => self.evaluation.stands_at(record, point).unwrap_or(false),
            None => record.stands(),
        };
        let standing: BTreeMap<u64, bool> =
            records.iter().map(|record| (record.sample, stands(record))).collect();
        // Records of another evaluation, or damaged ones, do not give its accuracy.
        let counted = standing.values().filter(|stands| **stands).count();
        let own = (self.accuracy * self.evaluation.n as f64).round() as usize;
        (standing.len() == self.evaluation.n && counted == own).then_some(standing)
    }
}

/// Worst cases, for each set of weights by norm and radius. Evaluations of different images are not joined; of
/// several sets of images the largest counts. Attacks within each image's own radius have no common radius.
pub(super) fn worst_cases(measured: &Measured) -> Vec<WorstCase> {
    if measured.own_radii() {
        return vec![];
    }
    let mut groups: BTreeMap<_, Vec<AtRadius>> = BTreeMap::new();
    for evaluation in measured.results.evaluations.iter().filter(|e| e.corruptions.is_none()) {
        let Some(norm) = evaluation.norm else { continue };
        for at in AtRadius::all(evaluation, norm) {
            let key = (evaluation.weights.as_deref(), norm.word(), at.radius.to_bits());
            groups.entry(key).or_default().push(at);
        }
    }
    groups.into_values().filter_map(|group| least(measured, group)).collect()
}

/// The worst case of evaluations at one radius.
fn least(measured: &Measured, group: Vec<AtRadius>) -> Option<WorstCase> {
    let mut by_images: BTreeMap<&str, Vec<AtRadius>> = BTreeMap::new();
    for at in group {
        by_images.entry(&at.evaluation.data).or_default().push(at);
    }
    let mut cases: Vec<WorstCase> =
        by_images.into_values().filter_map(|group| joined(measured, group)).collect();
    cases.sort_by(|a, b| b.n.cmp(&a.n).then(a.accuracy().total_cmp(&b.accuracy())));
    let others = cases.split_off(cases.len().min(1));
    let mut case = cases.pop()?;
    case.elsewhere = others
        .into_iter()
        .flat_map(|other| {
            other.evaluations.into_iter().map(move |(name, accuracy)| (name, accuracy, other.n))
        })
        .collect();
    Some(case)
}

/// The worst case of evaluations of the same images at one radius.
fn joined(measured: &Measured, mut group: Vec<AtRadius>) -> Option<WorstCase> {
    group.sort_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    let least = group.first()?;
    let mut standing = least.standing(measured);
    for other in &group[1..] {
        let own = other.standing(measured);
        standing = standing.zip(own).map(|(mut all, own)| {
            for (sample, stands) in &mut all {
                *stands &= own.get(sample).copied().unwrap_or(true);
            }
            all
        });
    }
    let joined = standing.is_some() || group.len() == 1;
    let n = least.evaluation.n;
    let counted = || (least.accuracy * n as f64).round() as usize;
    let mut broke: Vec<(String, usize)> = match least.point {
        // Counts of a sweep are of all its radii.
        Some(_) => vec![],
        None => least.evaluation.attacks.iter().map(|cost| (cost.attack.clone(), cost.broken)).collect(),
    };
    broke.retain(|(attack, broken)| attack != "natural" && *broken > 0);
    broke.sort_by_key(|(_, broken)| std::cmp::Reverse(*broken));
    Some(WorstCase {
        norm: least.norm,
        radius: least.radius,
        weights: least.evaluation.weights.clone(),
        standing: standing.map_or_else(counted, |all| all.values().filter(|stands| **stands).count()),
        n,
        joined,
        elsewhere: vec![],
        evaluations: group.iter().map(|at| (at.evaluation.name.clone(), at.accuracy)).collect(),
        broke,
        alone: group.iter().any(|at| at.point.is_none()),
    })
}

/// The radii shown large: those that are not points of sweeps alone, or else the largest of a sweep.
fn shown(cases: &[WorstCase]) -> Vec<WorstCase> {
    let mut shown: Vec<WorstCase> = vec![];
    for of_norm in cases.chunk_by(|a, b| (a.norm, &a.weights) == (b.norm, &b.weights)) {
        let alone: Vec<&WorstCase> = of_norm.iter().filter(|case| case.alone).collect();
        match alone.is_empty() {
            true => shown.extend(of_norm.last().cloned()),
            false => shown.extend(alone.into_iter().rev().take(MOST).rev().cloned()),
        }
    }
    shown
}

impl WorstCase {
    /// Share of samples that stand, 0 to 1.
    pub(super) fn accuracy(&self) -> f64 {
        self.standing as f64 / self.n.max(1) as f64
    }

    /// Norm and radius in words.
    pub(super) fn at(&self) -> String {
        format!("{} radius {}", self.norm, radius_in_words(self.radius))
    }

    fn key_figure(&self, selects: bool) -> KeyFigure {
        let weights = if selects { of_weights(self.weights.as_deref()) } else { String::new() };
        KeyFigure {
            name: format!(
                "{} at {}{weights}",
                if self.joined { "Worst case" } else { "Least accuracy" },
                self.at()
            ),
            number: percent(self.accuracy()),
            note: format!("n = {}, 95 % interval {}", self.n, interval(wilson(self.standing, self.n))),
        }
    }

    fn explained(&self, selects: bool) -> String {
        let each: Vec<String> = self
            .evaluations
            .iter()
            .map(|(name, accuracy)| format!("`{name}` {}", percent(*accuracy)))
            .collect();
        let weights = if selects { of_weights(self.weights.as_deref()) } else { String::new() };
        let at = format!("At {}{weights}", self.at());
        let mut text = match each.len() {
            1 => format!("{at} there is one evaluation of these {} images: {}.", self.n, each[0]),
            n if self.joined => {
                format!("{at} an image stands if it stands in all of {n} evaluations: {}.", each.join(", "))
            }
            n => format!(
                "{at} there are {n} evaluations: {}. Their records are not at hand, so that they were not joined image by \
                 image: the worst case of all together may be lower than the least of them.",
                each.join(", ")
            ),
        };
        if !self.elsewhere.is_empty() {
            let others: Vec<String> = self
                .elsewhere
                .iter()
                .map(|(name, accuracy, n)| format!("`{name}` {} (n = {n})", percent(*accuracy)))
                .collect();
            let _ = write!(text, " On other selections of images: {}.", others.join(", "));
        }
        if let [(first, most), others @ ..] = &*self.broke {
            let _ = write!(text, " In `{}`, `{first}` broke {most} images", self.evaluations[0].0);
            let more: Vec<String> =
                others.iter().take(3).map(|(name, broken)| format!("`{name}` {broken} more")).collect();
            text += &more.iter().fold(String::new(), |text, part| format!("{text}, {part}"));
            text.push('.');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use temper_results::{Columns, DataDigest, Line, Record};

    use super::*;

    fn evaluation(name: &str, radius: f64, standing: usize, data: &str) -> serde_json::Value {
        json!({
            "name": name, "accuracy": standing as f64 / 4.0, "n": 4, "interval": [0.0, 1.0], "seconds": 1.0, "forwards": 4,
            "backwards": 4, "norm": "linf", "radius": radius, "data": data, "key": name, "attacks": [
                { "attack": "natural", "attacked": 4, "broken": 0, "forwards": 4, "backwards": 0, "seconds": 0.1 },
                { "attack": "pgd", "attacked": 4, "broken": 4 - standing, "forwards": 4, "backwards": 4, "seconds": 0.1 },
            ],
        })
    }

    /// The records of four images; of each whether it stands.
    fn line(name: &str, stands: [bool; 4]) -> Line {
        let record = |(i, stands): (usize, &bool)| Record {
            sample: i as u64,
            natural: Some(0),
            broken_by: (!stands).then(|| "pgd".into()),
            ..Record::default()
        };
        Line {
            evaluation: name.into(),
            weights: "last".into(),
            corruption: None,
            fingerprint: None,
            key: name.into(),
            data: DataDigest::default(),
            probabilities: false,
            samples: Columns::of(stands.iter().enumerate().map(record).collect()),
            unreadable: BTreeMap::new(),
            costs: vec![],
        }
    }

    fn measured(evaluations: &[serde_json::Value], lines: Vec<Line>) -> Measured {
        let results = json!({
            "seed": 0, "evaluations": evaluations, "networks": [], "dataset": { "name": "made" },
            "versions": { "temper": "0", "candle": "0" }, "machine": { "processor": "none", "threads": 1 },
        });
        Measured {
            name: "made".into(),
            results: serde_json::from_value(results).unwrap(),
            lines,
            epochs: vec![],
            radii: vec![],
            images: None,
            config: None,
        }
    }

    #[test]
    fn an_image_stands_in_the_worst_case_if_it_stands_in_all_evaluations() {
        let of = [evaluation("a", 0.1, 2, "x"), evaluation("b", 0.1, 3, "x"), evaluation("c", 0.2, 1, "x")];
        let lines = vec![
            line("a", [true, true, false, false]),
            line("b", [false, true, true, true]),
            line("c", [true, false, false, false]),
        ];
        let cases = worst_cases(&measured(&of, lines));
        let numbers: Vec<(f64, usize)> = cases.iter().map(|case| (case.radius, case.standing)).collect();
        assert_eq!(numbers, [(0.1, 1), (0.2, 1)]);
        let told = cases[0].explained(false);
        assert!(told.contains("all of 2 evaluations: `a` 50.0 %, `b` 75.0 %."), "{told}");
        assert!(told.contains("In `a`, `pgd` broke 2 images."), "{told}");
    }

    #[test]
    fn without_records_nothing_is_joined_and_the_page_says_so() {
        let of = [evaluation("a", 0.1, 2, "x"), evaluation("b", 0.1, 1, "x")];
        let cases = worst_cases(&measured(&of, vec![line("a", [true, true, false, false])]));
        assert_eq!((cases.len(), cases[0].standing), (1, 1));
        assert!(cases[0].explained(false).contains("may be lower than the least of them"));
        assert!(cases[0].key_figure(false).name.starts_with("Least accuracy at "));
        // Records that do not give the accuracy are those of something else.
        let both = vec![line("a", [true, false, false, false]), line("b", [false, false, false, true])];
        assert!(!worst_cases(&measured(&of, both))[0].joined);
    }

    #[test]
    fn attacks_within_own_radii_have_no_common_radius() {
        let mut own = measured(&[evaluation("own", 0.2, 1, "x")], vec![]);
        assert_eq!(worst_cases(&own).len(), 1);
        let train = json!({ "origin": "made", "n": 4, "radii": "epsilon/epoch-0001.safetensors" });
        own.results.dataset.train = Some(serde_json::from_value(train).unwrap());
        assert!(worst_cases(&own).is_empty());
    }

    #[test]
    fn points_of_a_sweep_are_joined_with_single_evaluations_at_their_radius() {
        let mut sweep = evaluation("sweep", 0.2, 1, "x");
        let point =
            |at: f64, accuracy: f64| json!({ "at": at, "accuracy": accuracy, "interval": [0.0, 1.0] });
        sweep["curve"] =
            json!({ "over": "radius", "points": [point(0.0, 1.0), point(0.1, 0.5), point(0.2, 0.25)] });
        let mut of_sweep = line("sweep", [true, false, false, false]);
        let radius = [None, Some(0.2), Some(0.1), Some(0.1)];
        let record = |(i, radius): (usize, Option<f64>)| Record {
            sample: i as u64,
            natural: Some(0),
            broken_by: radius.map(|_| "pgd".into()),
            radius,
            ..Record::default()
        };
        of_sweep.samples = Columns::of(radius.into_iter().enumerate().map(record).collect());
        let one = evaluation("one", 0.1, 3, "x");
        let cases =
            worst_cases(&measured(&[sweep, one], vec![of_sweep, line("one", [true, false, true, true])]));
        let numbers: Vec<(f64, usize, bool)> =
            cases.iter().map(|case| (case.radius, case.standing, case.joined)).collect();
        // At 0.1 the sweep leaves images 0 and 1, the other evaluation all but image 1.
        assert_eq!(numbers, [(0.1, 1, true), (0.2, 1, true)]);
    }

    #[test]
    fn of_several_selections_of_images_the_largest_counts_and_the_others_are_named() {
        let mut few = evaluation("few", 0.1, 0, "y");
        (few["n"], few["accuracy"]) = (2.into(), 0.5.into());
        let cases = worst_cases(&measured(&[evaluation("a", 0.1, 3, "x"), few], vec![]));
        assert_eq!((cases.len(), cases[0].standing, cases[0].n), (1, 3, 4));
        let told = cases[0].explained(false);
        assert!(told.contains("On other selections of images: `few` 50.0 % (n = 2)."), "{told}");
    }

    #[test]
    fn numbers_that_are_no_accuracies_are_left_out() {
        for (key, value) in [("n", json!(0)), ("accuracy", json!(-5.0)), ("accuracy", json!(1e300))] {
            let mut wrong = evaluation("a", 0.1, 3, "x");
            wrong[key] = value;
            assert!(worst_cases(&measured(&[wrong], vec![])).is_empty(), "{key}");
        }
        let of = [evaluation("a", 0.1, 2, "x")];
        // Records that lack an image are not used.
        let mut short = line("a", [true; 4]);
        short.samples = Columns::of(vec![Record { natural: Some(0), ..Record::default() }]);
        assert_eq!(worst_cases(&measured(&of[..1], vec![short]))[0].standing, 2);
    }
}
