//! What `--dry-run` prints: rows and runs, their passes, and what was measured of them here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use temper_report::Table as Printed;

use super::compose::Version;
use super::cost::Cost;
use super::plan::{RowPlan, bytes};
use super::table::Scale;

/// What is known of a row before it is run.
struct Outlook<'a> {
    plan: &'a RowPlan<'a>,
    cost: Cost,
    /// Networks that are trained only for others' transfer attacks.
    extra: usize,
    /// Of each seed that came to its end: seconds, and bytes on disk.
    measured: Vec<(f64, u64)>,
    /// Passes, at most, of what is not there yet.
    left: f64,
}

impl<'a> Outlook<'a> {
    fn of(plan: &'a RowPlan<'a>, table: &str, folder: &Path) -> Option<Self> {
        let cost = Cost::of(&plan.runs.first()?.pipeline);
        let judged: Vec<u64> = plan.runs.iter().map(|run| run.seed).collect();
        let mut trained = judged.clone();
        trained.extend(plan.runs.iter().filter_map(|run| Some(run.second.as_ref()?.0)));
        trained.sort_unstable();
        trained.dedup();
        let results = |seed: &u64| folder.join(plan.beside(*seed, table, "json"));
        let untrained = |seed: &&u64| !folder.join(plan.run(**seed)).join("model.safetensors").exists();
        let untrained = trained.iter().filter(untrained).count();
        let unjudged = judged.iter().filter(|seed| !results(seed).exists()).count();
        let measured =
            judged.iter().filter_map(|seed| measured(&results(seed), &folder.join(plan.run(*seed))));
        Some(Self {
            plan,
            cost,
            extra: trained.len() - judged.len(),
            measured: measured.collect(),
            left: cost.training * untrained as f64 + cost.judging * unjudged as f64,
        })
    }
}

/// The plan as text, for runs below `folder`.
pub fn printed(version: Version, plans: &[RowPlan], folder: &Path) -> String {
    let (name, title) = (&version.table.name, &version.table.title);
    let rows: Vec<Outlook> = plans.iter().filter_map(|plan| Outlook::of(plan, name, folder)).collect();
    let rates = rates(&rows);
    let heads = [
        "row",
        "seeds",
        "to craft on",
        "epochs",
        "images",
        "training",
        "judging",
        "done",
        "seconds",
        "MiB",
        "left, s",
    ];
    let mut table = Printed::new(&heads);
    let (mut training, mut judging, mut left) = (0.0, 0.0, Some(0.0));
    for row in &rows {
        let seeds = row.plan.runs.len();
        let trained = row.cost.training * (seeds + row.extra) as f64;
        let judged = row.cost.judging * seeds as f64;
        let estimate = match rates.get(row.plan.row.network.as_str()) {
            _ if row.left == 0.0 => Some(0.0),
            rate => rate.map(|rate| rate * row.left),
        };
        training += trained;
        judging += judged;
        left = left.zip(estimate).map(|(sum, estimate)| sum + estimate);
        let n = row.measured.len() as f64;
        let mean = |value: &dyn Fn(&(f64, u64)) -> f64| row.measured.iter().map(value).sum::<f64>() / n;
        let known = |text: String| if row.measured.is_empty() { "-".into() } else { text };
        table.row(vec![
            row.plan.row.name.clone(),
            seeds.to_string(),
            row.extra.to_string(),
            row.cost.epochs.to_string(),
            row.cost.images.map_or_else(|| "?".into(), |images| images.to_string()),
            millions(trained),
            millions(judged),
            format!("{} of {seeds}", row.measured.len()),
            known(format!("{:.0}", mean(&|m| m.0))),
            known(format!("{:.1}", mean(&|m| m.1 as f64 / 1024.0 / 1024.0))),
            estimate.map_or_else(|| "-".into(), |seconds| format!("{seconds:.0}")),
        ]);
    }
    let mut text = format!("{name} at {} scale: {title}\n\n{table}\n", version.part());
    let (training, judging) = (millions(training), millions(judging));
    let _ = writeln!(
        text,
        "training, judging: millions of passes forward and backward of an image, at most; {training} and {judging} in all\n\
         seconds, MiB: measured, a seed of the row, by runs in this folder\n\
         left: estimated by the seconds a pass of finished rows with the same network"
    );
    let _ = match left {
        Some(seconds) => writeln!(text, "about {seconds:.0} s are left"),
        None => {
            writeln!(text, "what has no number there is not measured: run one of its rows, and ask again")
        }
    };
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

/// Seconds a pass, counted at most, of the rows with each network that were measured.
fn rates<'a>(rows: &'a [Outlook]) -> BTreeMap<&'a str, f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for row in rows {
        let (seconds, passes) = sums.entry(&row.plan.row.network).or_default();
        *seconds += row.measured.iter().map(|measured| measured.0).sum::<f64>();
        *passes += (row.cost.training + row.cost.judging) * row.measured.len() as f64;
    }
    let known = sums.into_iter().filter(|(_, (_, passes))| *passes > 0.0);
    known.map(|(network, (seconds, passes))| (network, seconds / passes)).collect()
}

fn millions(passes: f64) -> String {
    format!("{:.1}", passes / 1e6)
}

/// Seconds of training and judging by these results, and bytes of the run's folder.
fn measured(results: &Path, run: &Path) -> Option<(f64, u64)> {
    let results: serde_json::Value = serde_json::from_str(&fs::read_to_string(results).ok()?).ok()?;
    let judging = results["evaluations"].as_array()?.iter().filter_map(|e| e["seconds"].as_f64());
    Some((results["training"]["seconds"].as_f64()? + judging.sum::<f64>(), bytes(run)))
}
