//! The output of `--dry-run`: rows and runs, their passes, and the time and disk space that they will need.
//! Rows with a finished seed use its time; for other rows the network is timed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use temper_report::Table as Printed;
use temper_results::Results;

use crate::compose::Version;
use crate::cost::{Engine, RunCost};
use crate::execute::{Place, disk, done, trained};
use crate::plan::RowPlan;
use crate::rates::Rates;
use crate::table::Scale;

const MIB: f64 = 1024.0 * 1024.0;
const HEADS: [&str; 11] = [
    "row",
    "seeds",
    "to craft on",
    "epochs",
    "images",
    "training",
    "judging",
    "done",
    "a seed",
    "MiB",
    "left",
];

/// What is known about a row before it is run.
struct Outlook<'a> {
    plan: &'a RowPlan<'a>,
    pipeline: &'a toml::Table,
    cost: RunCost,
    /// Number of networks that are trained only for the transfer attacks on others.
    extra: usize,
    /// Seconds, and bytes on disk, of each finished seed.
    measured: Vec<(f64, u64)>,
    /// Number of networks that are not trained yet.
    untrained: usize,
    /// Number of runs that are not judged yet.
    unjudged: usize,
}

/// Upper estimates for a row.
struct Estimate {
    /// Seconds and bytes of a seed.
    seed: [f64; 2],
    /// Seconds and bytes of the missing parts.
    left: [f64; 2],
}

impl<'a> Outlook<'a> {
    fn of(plan: &'a RowPlan<'a>, table: &str, place: &Place, engine: &dyn Engine) -> anyhow::Result<Self> {
        let pipeline = &plan.runs.first().context("a row without seeds")?.pipeline;
        // Each network counts once, whether it is judged or only crafted on.
        let crafted = plan.runs.iter().filter_map(|run| run.second.as_ref());
        let judged = plan.runs.iter().map(|run| (run.seed, &run.pipeline));
        let networks: BTreeMap<u64, &toml::Table> =
            crafted.map(|(seed, pipeline)| (*seed, pipeline)).chain(judged).collect();
        let mut measured = vec![];
        for run in &plan.runs {
            if done(place, plan, run, table)? {
                let seconds = seconds(&place.folder.join(plan.beside(run.seed, table, "json")));
                measured.extend(seconds.map(|seconds| (seconds, disk(place, plan, run.seed, table))));
            }
        }
        let there = |(seed, pipeline): &(&u64, &&toml::Table)| trained(place, plan, **seed, pipeline);
        Ok(Self {
            plan,
            pipeline,
            cost: RunCost::of(pipeline, engine),
            extra: networks.len() - plan.runs.len(),
            untrained: networks.len() - networks.iter().filter(there).count(),
            unjudged: plan.runs.len() - measured.len(),
            measured,
        })
    }

    fn is_done(&self) -> bool {
        self.untrained + self.unjudged == 0
    }

    /// Whether the row's network must be timed first.
    fn needs_rate(&self) -> bool {
        !self.is_done() && self.measured.is_empty()
    }

    /// Measured seconds and bytes of a seed, averaged over the finished seeds.
    fn mean(&self) -> Option<[f64; 2]> {
        let n = self.measured.len() as f64;
        let mean = |value: &dyn Fn(&(f64, u64)) -> f64| self.measured.iter().map(value).sum::<f64>() / n;
        (n > 0.0).then(|| [mean(&|m| m.0), mean(&|m| m.1 as f64)])
    }

    /// Estimates the row from its own seeds if one is finished, otherwise from its network's rate.
    fn estimate(&self, rates: &Rates) -> Option<Estimate> {
        let (untrained, unjudged) = (self.untrained as f64, self.unjudged as f64);
        let RunCost { training, judging, kept, .. } = self.cost;
        if let Some(seed) = self.mean() {
            let share = (training * untrained + judging * unjudged) / (training + judging).max(1.0);
            return Some(Estimate { seed, left: [seed[0] * share, seed[1] * untrained.max(unjudged)] });
        }
        if self.is_done() {
            return None;
        }
        let rate = rates.of(self.pipeline)?;
        let [train, judge] = rate.seconds(&self.cost);
        let seed = rate.checkpoints as f64 + kept;
        Some(Estimate {
            seed: [train + judge, seed],
            left: [train * untrained + judge * unjudged, seed * untrained.max(unjudged)],
        })
    }

    /// The row's line of the table.
    fn line(&self, estimate: Option<&Estimate>) -> Vec<String> {
        let seeds = self.plan.runs.len();
        let about = if self.measured.is_empty() { "~" } else { "" };
        let of_seed = |text: &dyn Fn(&Estimate) -> String| {
            estimate.map_or_else(|| "-".into(), |estimate| format!("{about}{}", text(estimate)))
        };
        let left = match estimate {
            _ if self.is_done() => duration(0.0),
            Some(estimate) => format!("~{}", duration(estimate.left[0])),
            None => "-".into(),
        };
        vec![
            self.plan.row.name.clone(),
            seeds.to_string(),
            self.extra.to_string(),
            self.cost.epochs.to_string(),
            self.cost.images.map_or_else(|| "?".into(), |images| images.to_string()),
            millions(self.training()),
            millions(self.judging()),
            format!("{} of {seeds}", self.measured.len()),
            of_seed(&|estimate| duration(estimate.seed[0])),
            of_seed(&|estimate| format!("{:.1}", estimate.seed[1] / MIB)),
            left,
        ]
    }

    /// Passes of all training of the row.
    fn training(&self) -> f64 {
        self.cost.training * (self.plan.runs.len() + self.extra) as f64
    }

    /// Passes of all evaluations of the row.
    fn judging(&self) -> f64 {
        self.cost.judging * self.plan.runs.len() as f64
    }
}

/// The plan as text. Networks of rows that were never run here are timed first; `say` announces that this takes
/// a while. Failed timings are reported in the text.
pub fn printed(
    version: Version,
    plans: &[RowPlan],
    place: &Place,
    engine: &mut dyn Engine,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<String> {
    let (name, title) = (&version.table.name, &version.table.title);
    let rows = plans.iter().map(|plan| Outlook::of(plan, name, place, &*engine));
    let rows: Vec<Outlook> = rows.collect::<anyhow::Result<_>>()?;
    let asked: Vec<_> = rows
        .iter()
        .filter(|row| row.needs_rate())
        .map(|row| (row.plan.row.network.as_str(), row.pipeline))
        .collect();
    let rates = Rates::measured(&asked, version.scale, engine, say);
    let mut table = Printed::new(&HEADS);
    let mut left = Some([0.0; 2]);
    for row in &rows {
        let estimate = row.estimate(&rates);
        table.row(row.line(estimate.as_ref()));
        if !row.is_done() {
            let sum = |(a, b): ([f64; 2], Estimate)| [a[0] + b.left[0], a[1] + b.left[1]];
            left = left.zip(estimate).map(sum);
        }
    }
    let mut text = format!("{name} at {} scale: {title}\n\n{table}\n", version.part());
    let training = millions(rows.iter().map(Outlook::training).sum());
    let judging = millions(rows.iter().map(Outlook::judging).sum());
    let _ = writeln!(
        text,
        "training, judging: millions of passes forward and backward of an image, at most; {training} and {judging} in all\n\
         a seed, MiB: time and disk of one seed of the row, measured by runs in this folder, or estimated (~)\n\
         estimates are upper ones: attacks run only on what still stands, IAAT probes only what it must, and every forward pass counts \
         as a whole one. Making corrupted images is not in them"
    );
    text += &rates.told();
    text += &closing(left);
    text += &absent(version);
    Ok(text)
}

/// A line about the remaining work of all rows, in seconds and bytes.
fn closing(left: Option<[f64; 2]>) -> String {
    match left {
        Some([0.0, _]) => "about 0 s are left\n".into(),
        Some([seconds, bytes]) => {
            format!(
                "about {} are left, at most, and about {:.0} MiB on disk\n",
                duration(seconds),
                bytes / MIB
            )
        }
        None => "what has no number there could not be estimated: there is no sum of it\n".into(),
    }
}

/// The rows that the scale leaves out, and a note on the limits of the smoke scale.
fn absent(version: Version) -> String {
    let mut text = String::new();
    let there: Vec<&str> = version.rows().map(|row| row.name.as_str()).collect();
    let all = version.table.row.iter().map(|row| row.name.as_str());
    let absent: Vec<&str> = all.filter(|name| !there.contains(name)).collect();
    if !absent.is_empty() {
        let _ = writeln!(text, "left out at this scale: {}", absent.join(", "));
    }
    if version.scale == Scale::Smoke {
        text += "this scale shows that everything works, and nothing of the paper\n";
    }
    text
}

fn millions(passes: f64) -> String {
    format!("{:.1}", passes / 1e6)
}

/// Seconds as a readable duration.
fn duration(seconds: f64) -> String {
    let (minutes, hours, days) = (seconds / 60.0, seconds / 3600.0, seconds / 86400.0);
    match seconds {
        0.0 => "0 s".into(),
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        _ if seconds < 120.0 => format!("{seconds:.0} s"),
        _ if minutes < 90.0 => format!("{minutes:.0} min"),
        _ if hours < 48.0 => format!("{hours:.1} h"),
        _ if days < 730.0 => format!("{days:.0} days"),
        _ => format!("{:.1} years", days / 365.25),
    }
}

/// Seconds of training and judging that a results file records.
fn seconds(results: &Path) -> Option<f64> {
    let results = Results::read(results).ok()?;
    let judging: f64 = results.evaluations.iter().map(|evaluation| evaluation.seconds).sum();
    Some(results.training.map_or(0.0, |of| of.seconds) + judging)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_their_unit() {
        let said = [0.0, 0.24, 9.97, 119.0, 840.0, 11_520.0, 1_036_800.0, 1e9].map(duration);
        assert_eq!(said, ["0 s", "0.2 s", "10 s", "119 s", "14 min", "3.2 h", "12 days", "31.7 years"]);
    }
}
