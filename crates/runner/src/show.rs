//! `temper show`: reports everything known about one sample.

mod training;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use temper_data::escaped;
use temper_results::{Evaluation, Line, Point, Record, Records, Results, Warning};

use crate::catalogue::wrap;
use crate::config::BadConfig;
use crate::images::SplitOption;
use crate::output::answer;
use crate::reading::nearest;
use crate::stored::Stored;
use crate::warnings::told as warned;

/// Options of `temper show`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A run's folder, or what `temper attack --save` wrote
    run: PathBuf,
    /// Index of the sample in the whole split, from 0
    #[arg(long, value_name = "INDEX")]
    sample: u64,
    /// The split: a test sample with what the evaluations saw of it, or a training sample with its radius after each
    /// epoch
    #[arg(long, value_enum, default_value_t = SplitOption::Test)]
    split: SplitOption,
    /// Only this evaluation
    #[arg(long, value_name = "NAME")]
    evaluation: Option<String>,
}

/// Indent of a line.
const INDENT: &str = " ";
/// Indent of a continued line.
const FURTHER: &str = "   ";

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = &options.run;
    if !folder.is_dir() {
        bail!("there is no folder {}: expected that of a run", folder.display());
    }
    if options.split == SplitOption::Train {
        if options.evaluation.is_some() {
            let why = "--evaluation: evaluations judge test images, not training samples: leave it out";
            return Err(BadConfig(why.into()).into());
        }
        return answer(&training::told(folder, options.sample)?);
    }
    let file = folder.join("records.jsonl");
    let mut lines = Records::read(&file)?;
    if lines.is_empty() {
        bail!(
            "no sample was judged: {} is not there, or empty\n  the [[evaluate]] tables of a pipeline have it written: \
             continue the run with --resume",
            file.display()
        );
    }
    if let Some(name) = &options.evaluation {
        check_name(name, &lines)?;
        lines.retain(|line| line.evaluation == *name);
    }
    let told = Told { sample: options.sample, facts: RunFacts::of(folder)? };
    answer(&(warned(&told.facts.warnings) + &told.text(&lines)?))
}

/// An error if there is no evaluation of this name.
fn check_name(name: &str, lines: &[Line]) -> Result<(), BadConfig> {
    let known: BTreeSet<&str> = lines.iter().map(|line| &*line.evaluation).collect();
    if known.contains(name) {
        return Ok(());
    }
    let near = nearest(name, known.iter().copied());
    let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    Err(BadConfig(format!("--evaluation {name}: no such evaluation; {hint}known: {}", known.join(", "))))
}

/// The contents of other files of the folder.
struct RunFacts {
    classes: Vec<String>,
    evaluations: Vec<Evaluation>,
    /// Warnings about all numbers.
    warnings: Vec<Warning>,
}

impl RunFacts {
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("results.json");
        // A run that was interrupted in its evaluations has no results.
        let results = if file.is_file() { Some(Results::read(&file)?) } else { None };
        let model = folder.join("model.safetensors");
        let about = if model.is_file() { Stored::about(&model)? } else { None };
        let named = match (about, &results) {
            (Some(about), _) => about.classes,
            (None, Some(results)) => {
                results.networks.first().map(|of| of.classes.clone()).unwrap_or_default()
            }
            (None, None) => vec![],
        };
        // If network and images name their classes differently, a label has no unique name.
        let other = results.as_ref().is_some_and(|results| results.dataset.other_classes);
        let (evaluations, warnings) = results.map(|of| (of.evaluations, of.warnings)).unwrap_or_default();
        Ok(Self { classes: if other { vec![] } else { named }, evaluations, warnings })
    }

    /// A class number with its name.
    fn class(&self, class: u32) -> String {
        match self.classes.get(class as usize) {
            Some(name) if *name != class.to_string() => format!("{class} ({})", escaped(name)),
            _ => class.to_string(),
        }
    }

    fn prediction(&self, class: Option<u32>) -> String {
        class.map_or_else(|| "no class: its logits are no numbers".into(), |class| self.class(class))
    }

    /// The result of the evaluation with this name and these weights.
    fn evaluation(&self, name: &str, weights: &str) -> Option<&Evaluation> {
        self.evaluations.iter().find(|e| e.name == name && e.weights.as_deref() == Some(weights))
    }
}

struct Told {
    sample: u64,
    facts: RunFacts,
}

impl Told {
    /// Everything about the sample. An error if these lines do not contain it.
    fn text(&self, lines: &[Line]) -> Result<String, BadConfig> {
        let mut seen: Vec<((&str, &str), Vec<&Line>)> = vec![];
        for line in lines {
            let key = (&*line.evaluation, &*line.weights);
            match seen.iter_mut().find(|(known, _)| *known == key) {
                Some((_, lines)) => lines.push(line),
                None => seen.push((key, vec![line])),
            }
        }
        let mut text = String::new();
        let mut without = vec![];
        for ((evaluation, weights), lines) in seen {
            let heading = format!("{evaluation}, {weights} weights");
            let found = self.records(&lines);
            if let Some(reason) = lines.iter().find_map(|line| line.unreadable.get(&self.sample)) {
                wrap(&mut text, &format!("\n{heading}:"), FURTHER, &format!("not decoded: {reason}"));
            } else if found.is_empty() {
                without.push(heading);
            } else if found.iter().any(|(corruption, _)| corruption.is_some()) {
                let _ = write!(text, "\n{heading}: {}", corrupted(&found));
            } else {
                for (_, record) in found {
                    self.record(&mut text, &heading, &record, self.facts.evaluation(evaluation, weights));
                }
            }
        }
        if text.is_empty() {
            return Err(BadConfig(unknown(self.sample, lines)));
        }
        if !without.is_empty() {
            wrap(&mut text, "\nnot among the images of:", FURTHER, &without.join("; "));
        }
        let label = lines.iter().flat_map(|line| line.samples.records()).find(|r| r.sample == self.sample);
        let label = label.map_or_else(String::new, |r| format!(", of class {}", self.facts.class(r.label)));
        Ok(format!("sample {}{label}\n{text}", self.sample))
    }

    /// The records of the sample in these lines, each with its corruption.
    fn records<'l>(&self, lines: &[&'l Line]) -> Vec<(Option<&'l str>, Record)> {
        let of = |line: &&'l Line| {
            let place = line.samples.samples().iter().position(|sample| *sample == self.sample)?;
            Some((line.corruption.as_deref(), line.samples.records().nth(place)?))
        };
        lines.iter().filter_map(of).collect()
    }

    /// The description of one record.
    fn record(&self, text: &mut String, heading: &str, record: &Record, result: Option<&Evaluation>) {
        let _ = writeln!(text);
        let attacked = record.distance.is_some() || record.min_norm.is_some() || record.steps.is_some();
        let at = record.radius.map_or_else(String::new, |radius| format!(" at radius {}", short(radius)));
        let verdict = match &record.broken_by {
            Some(attack) => format!("broken by {attack}{at}"),
            // An evaluation without an attack has no norm.
            None if record.natural != Some(record.label) && result.is_some_and(|r| r.norm.is_none()) => {
                "wrong".into()
            }
            None if record.natural != Some(record.label) => "wrong already without an attack".into(),
            None if attacked => "stands".into(),
            None => "right".into(),
        };
        wrap(text, &format!("{heading}:"), FURTHER, &verdict);
        let mut line = |words: &str| wrap(text, INDENT, FURTHER, words);
        line(&format!("unperturbed: {}", self.facts.prediction(record.natural)));
        let loss = match record.loss.is_finite() {
            true => format!("{:.4}", record.loss),
            false => "not a number".into(),
        };
        match record.distance {
            Some(distance) => {
                let norm = result.and_then(|result| result.norm);
                let norm = norm.map_or_else(String::new, |norm| format!("{norm} "));
                let radius = result.and_then(|result| result.radius);
                let of = radius.map_or_else(String::new, |radius| format!(" of {} allowed", short(radius)));
                let image = self.facts.prediction(record.prediction);
                line(&format!("under attack: {image}, loss {loss}, {norm}distance {}{of}", short(distance)));
            }
            None => line(&format!("loss {loss}")),
        }
        if let Some(target) = record.target {
            line(&format!("aimed at: {}", self.facts.class(target)));
        }
        match record.min_norm {
            Some(distance) if distance.is_finite() => {
                line(&format!("smallest distance found, whatever the radius: {}", short(distance)));
            }
            Some(_) => line("smallest distance found: none, the attack failed"),
            None => {}
        }
        if let Some(broken) = &record.steps {
            line(&after_steps(broken, result));
        }
    }
}

/// A length with a sensible number of digits.
fn short(length: f64) -> String {
    let text = format!("{length:.5}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// For a sweep over steps: the numbers of steps after which the sample stood or was broken.
fn after_steps(broken: &[bool], result: Option<&Evaluation>) -> String {
    let points = result.and_then(|result| result.curve.as_ref()).map(|curve| &curve.points);
    let at = |i: usize| match points.and_then(|points| points.get(i)) {
        Some(Point { at, .. }) => format!("{at}"),
        None => format!("point {} of the sweep", i + 1),
    };
    let those = |wanted: bool| -> Vec<String> {
        (0..broken.len()).filter(|i| broken[*i] == wanted).map(at).collect()
    };
    match (those(false), those(true)) {
        (stands, broken) if broken.is_empty() => format!("stands after step {}", stands.join(", ")),
        (stands, broken) if stands.is_empty() => format!("broken after step {}", broken.join(", ")),
        (stands, broken) => {
            format!("stands after step {}, broken after {}", stands.join(", "), broken.join(", "))
        }
    }
}

/// For corruptions: the kinds and severities at which the network misclassifies the sample.
fn corrupted(found: &[(Option<&str>, Record)]) -> String {
    let mut kinds: BTreeMap<&str, (Vec<&str>, usize)> = BTreeMap::new();
    for (corruption, record) in found {
        let Some((kind, severity)) = corruption.and_then(|cell| cell.rsplit_once(' ')) else { continue };
        let (wrong, all) = kinds.entry(kind).or_default();
        *all += 1;
        if !record.stands() {
            wrong.push(severity);
        }
    }
    let all: usize = kinds.values().map(|(_, all)| all).sum();
    let errs: usize = kinds.values().map(|(wrong, _)| wrong.len()).sum();
    let mut text = format!("wrong on {errs} of {all} corrupted images\n");
    let (mut every, mut never) = (vec![], vec![]);
    for (kind, (wrong, all)) in &mut kinds {
        wrong.sort_unstable();
        match wrong.len() {
            0 => never.push(*kind),
            n if n == *all => every.push(*kind),
            _ => wrap(&mut text, INDENT, FURTHER, &format!("{kind}: wrong at severity {}", wrong.join(", "))),
        }
    }
    for (words, kinds) in [("wrong at every severity:", every), ("right at every severity:", never)] {
        if !kinds.is_empty() {
            wrap(&mut text, INDENT, FURTHER, &format!("{words} {}", kinds.join(", ")));
        }
    }
    text
}

/// An error for an unknown sample, with the samples that exist.
fn unknown(sample: u64, lines: &[Line]) -> String {
    let known: BTreeSet<u64> = lines.iter().flat_map(|line| line.samples.samples()).copied().collect();
    let (Some(first), Some(last)) = (known.first(), known.last()) else {
        return format!("--sample {sample}: no sample could be decoded");
    };
    let near = known.range(..sample).next_back().into_iter().chain(known.range(sample..).next());
    let near: Vec<String> = near.map(ToString::to_string).collect();
    format!(
        "--sample {sample}: it was not judged; known: {} samples from {first} to {last}, the nearest {}",
        known.len(),
        near.join(" and ")
    )
}
