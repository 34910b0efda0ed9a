//! `temper compare`: the same evaluations of several runs, image by image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use temper_experiments::outcomes::{Outcomes, outcomes};
use temper_experiments::statistics::{Estimate, weighted};
use temper_report::{Table, percent};
use temper_results::{Evaluation, Line, Records, Results, wilson};

use crate::catalogue::wrap;
use crate::config::BadConfig;
use crate::output::answer;

/// Options of `temper compare`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folders of runs, or of attacks that were saved: each of the others is compared with the first
    #[arg(value_name = "RUN", num_args = 2.., required = true)]
    runs: Vec<PathBuf>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runs = options.runs.iter().map(|path| Judged::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let Some((first, others)) = runs.split_first() else { return Ok(()) };
    let texts = others.iter().map(|other| beside(first, other)).collect::<anyhow::Result<Vec<_>>>()?;
    answer(&texts.join("\n"))
}

/// What was judged in a folder.
struct Judged {
    path: PathBuf,
    results: Results,
    records: Vec<Line>,
}

impl Judged {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let file = path.join("results.json");
        if !file.is_file() {
            return Err(BadConfig(format!(
                "{} holds no results.json: expected the folder of a run that has ended, or of `temper attack --save`",
                path.display()
            ))
            .into());
        }
        let results = Results::read(&file)?;
        Ok(Self { path: path.into(), results, records: Records::read(&path.join("records.jsonl"))? })
    }

    /// Its evaluation of this name and these weights.
    fn evaluation(&self, like: &Evaluation) -> Option<&Evaluation> {
        let same = |other: &&Evaluation| other.name == like.name && other.weights == like.weights;
        self.results.evaluations.iter().find(same)
    }

    /// The outcome of each image. An error if the records do not belong to the results.
    fn outcomes(&self, evaluation: &Evaluation) -> anyhow::Result<Outcomes> {
        match outcomes(&self.records, evaluation, None) {
            Some(outcomes) => Ok(outcomes),
            None => bail!(
                "{}: the records of `{}` are not those of its results: continue the run with --resume",
                self.path.join("records.jsonl").display(),
                evaluation.name
            ),
        }
    }
}

/// Where a folder's images come from: data set, split and origin, without the number of images that were used.
fn source(results: &Results) -> String {
    let dataset = &results.dataset;
    let (split, summary) = match &dataset.test {
        Some(test) => ("test images", Some(test)),
        None => ("training images", dataset.train.as_ref()),
    };
    let origin = summary.map_or("", |summary| &*summary.origin);
    let origin =
        origin.rsplit_once(", ").filter(|(_, n)| n.contains(" of ")).map_or(origin, |(origin, _)| origin);
    format!("{} ({split}, {origin})", dataset.name)
}

/// The table of two runs.
fn beside(first: &Judged, other: &Judged) -> anyhow::Result<String> {
    let mut table =
        Table::new(&["evaluation", "first", "second", "diff", "95 % interval", "n", "only 1st", "only 2nd"]);
    let mut notes = vec![];
    for one in &first.results.evaluations {
        let Some(two) = other.evaluation(one) else {
            notes.push(format!("`{}` is only in {}", one.name, first.path.display()));
            continue;
        };
        if described(one) != described(two) {
            notes.push(format!(
                "`{}`: {} in the first, {} in the second",
                one.name,
                described(one),
                described(two)
            ));
        }
        let both = [first.outcomes(one)?, other.outcomes(two)?];
        must_be_same_images([first, other], [one, two], &both)?;
        match row(one, &both) {
            Some(cells) => table.row(cells),
            None => notes.push(format!("`{}`: no image in common", one.name)),
        }
    }
    let only = other.results.evaluations.iter().filter(|two| first.evaluation(two).is_none());
    notes.extend(only.map(|two| format!("`{}` is only in {}", two.name, other.path.display())));
    let mut text = format!(
        "first   {}\nsecond  {}\naccuracy on the images that both judged; intervals of paired differences\n\n{table}",
        first.path.display(),
        other.path.display()
    );
    for note in notes {
        wrap(&mut text, "note   ", "       ", &note);
    }
    Ok(text)
}

/// An error unless images of the same index are the same image: the hashes of all of them are equal, or, if one
/// evaluation has images that the other one does not have, both took them from the same source.
fn must_be_same_images(
    runs: [&Judged; 2],
    evaluations: [&Evaluation; 2],
    both: &[Outcomes; 2],
) -> anyhow::Result<()> {
    let [a, b] = runs.map(|run| source(&run.results));
    let same = match both[0].keys().eq(both[1].keys()) {
        true => evaluations[0].data == evaluations[1].data,
        false => a == b,
    };
    if same {
        return Ok(());
    }
    let [first, other] = runs.map(|run| run.path.display());
    Err(BadConfig(format!(
        "`{}`: {first} was judged on {a},\n  {other} on {b}: only outcomes of the same images can be compared",
        evaluations[0].name
    ))
    .into())
}

/// The attack and the radius of an evaluation, in words.
fn described(evaluation: &Evaluation) -> String {
    let attacks: Vec<&str> = evaluation.attacks.iter().map(|cost| &*cost.attack).collect();
    let attacks = if attacks.is_empty() { "no attack".into() } else { attacks.join("+") };
    match (evaluation.norm, evaluation.radius) {
        (Some(norm), Some(radius)) => format!("{attacks} within an {norm} radius of {radius:.5}"),
        _ => attacks,
    }
}

/// A row of the table; `None` if no image is common.
fn row(evaluation: &Evaluation, both: &[Outcomes; 2]) -> Option<Vec<String>> {
    let common = |of: usize| -> Outcomes {
        let other = &both[1 - of];
        both[of].iter().filter(|(image, _)| other.contains_key(image)).map(|(i, v)| (*i, *v)).collect()
    };
    let [one, two] = [common(0), common(1)];
    let n = one.len();
    if n == 0 {
        return None;
    }
    let estimate = |images: &Outcomes| {
        let mean = images.values().sum::<f64>() / n as f64;
        let interval = wilson((mean / 100.0 * n as f64).round() as usize, n).map(|share| share * 100.0);
        Estimate {
            mean,
            interval: Some(interval),
            n: Some(n),
            seeds: vec![],
            images: Some(images.clone()),
            spread: 0.0,
        }
    };
    let estimates = [estimate(&one), estimate(&two)];
    let difference = weighted(&[(1.0, &estimates[1]), (-1.0, &estimates[0])])?;
    let [below, above] = difference.widths;
    let more =
        |a: &BTreeMap<u64, f64>, b: &Outcomes| a.iter().filter(|(i, v)| **v > b[*i]).count().to_string();
    let name = match evaluation.weights.as_deref() {
        Some(weights @ "best") => format!("{} ({weights})", evaluation.name),
        _ => evaluation.name.clone(),
    };
    Some(vec![
        name,
        percent(estimates[0].mean / 100.0),
        percent(estimates[1].mean / 100.0),
        format!("{:+.1}", difference.mean),
        format!("{:+.1} to {:+.1}", difference.mean - below, difference.mean + above),
        n.to_string(),
        more(&one, &two),
        more(&two, &one),
    ])
}
