//! Runs the parts of a plan that are not finished yet, and reads the finished ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use temper_files::save_atomically;
use temper_results::{Line, RadiiFile, Results, read_metrics};

use crate::outcomes::outcomes;
use crate::plan::{RowPlan, Run, bytes};
use crate::statistics::Seen;
use crate::table::{Column, What};

/// The location of temper and the folder it runs in, which contains `runs` and `reports`, and may contain data.
#[derive(Debug, Clone)]
pub struct Place {
    /// The binary.
    pub binary: PathBuf,
    /// The folder.
    pub folder: PathBuf,
}

/// Runs the missing parts of a row, and reports them through `say`.
pub fn row(place: &Place, plan: &RowPlan, table: &str, say: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    for run in &plan.runs {
        if done(place, plan, run, table)? {
            say(&format!("{}, seed {}: done", plan.row.name, run.seed));
            continue;
        }
        if let Some((seed, pipeline)) = &run.second {
            let (file, pipeline) = (training(plan, *seed), text(plan, pipeline)?);
            let judged = plan.runs.iter().find(|run| run.seed == *seed);
            let judged = judged.map(|run| done(place, plan, run, table)).transpose()?.unwrap_or(false);
            if !judged && !ended(place, &file, &plan.run(*seed), &pipeline) {
                say(&format!("{}, seed {seed}: to craft on", plan.row.name));
                start(place, plan, *seed, &file, &pipeline)?;
            }
        }
        say(&format!("{}, seed {}", plan.row.name, run.seed));
        let file = plan.beside(run.seed, table, "toml");
        start(place, plan, run.seed, &file, &text(plan, &run.pipeline)?)?;
    }
    Ok(())
}

/// The file of the pipeline that only trains a seed.
fn training(plan: &RowPlan, seed: u64) -> PathBuf {
    plan.folder.join(format!("seed-{seed}.training.toml"))
}

/// Whether exactly this pipeline was run to its end, and its network still exists.
pub fn done(place: &Place, plan: &RowPlan, run: &Run, table: &str) -> anyhow::Result<bool> {
    let file = plan.beside(run.seed, table, "toml");
    Ok(ended(place, &file, &plan.run(run.seed), &text(plan, &run.pipeline)?))
}

/// Whether a run of this file into this folder has ended, and the file contained this pipeline.
fn ended(place: &Place, file: &Path, out: &Path, pipeline: &str) -> bool {
    let file = place.folder.join(file);
    fs::read_to_string(&file).is_ok_and(|was| body(&was) == body(pipeline))
        && hold(&file.with_extension("json"), &place.folder.join(out))
}

/// Whether these results belong to the network in the folder. The network may have been removed, or replaced by
/// another one.
fn hold(results: &Path, folder: &Path) -> bool {
    let network = |file: &Path| {
        let networks = Results::read(file).ok()?.networks;
        Some(networks.into_iter().map(|network| (network.label, network.sha256)).collect::<Vec<_>>())
    };
    let now = network(&folder.join("results.json"));
    folder.join("model.safetensors").exists()
        && network(results).is_some_and(|kept| now.is_none_or(|now| now == kept))
}

/// Whether a seed's network exists and was trained by the training part of this pipeline, no matter how and for
/// which table it was judged.
pub fn trained(place: &Place, plan: &RowPlan, seed: u64, pipeline: &toml::Table) -> bool {
    let training = |mut pipeline: toml::Table| {
        pipeline.remove("evaluate");
        pipeline
    };
    let wanted = training(pipeline.clone());
    let folder = place.folder.join(plan.run(seed));
    let beside = fs::read_dir(place.folder.join(&plan.folder)).into_iter().flatten().flatten();
    beside.map(|entry| entry.path()).any(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let ours = name.starts_with(&format!("seed-{seed}.")) && name.ends_with(".toml");
        let was = || fs::read_to_string(&file).ok()?.parse::<toml::Table>().ok();
        ours && was().is_some_and(|was| training(was) == wanted)
            && hold(&file.with_extension("json"), &folder)
    })
}

/// A pipeline as the text of its file.
fn text(plan: &RowPlan, pipeline: &toml::Table) -> anyhow::Result<String> {
    let head = format!("# Row {}: written by `temper reproduce`, which overwrites it.\n", plan.row.name);
    Ok(head + &toml::to_string(pipeline)?)
}

/// A file's pipeline without the comment at its head, whose wording may change.
fn body(text: &str) -> &str {
    match text.split_once('\n') {
        Some((head, body)) if head.starts_with('#') => body,
        _ => text,
    }
}

/// Starts or continues a run, waits for it, and copies its results and records beside its pipeline. The copies
/// are needed because the run's own files belong to the pipeline that was run last, and another build of temper
/// replaces them. Until the run has ended, its pipeline is named `pending`, and the copies of an earlier
/// pipeline stay, because the run may fail.
fn start(place: &Place, plan: &RowPlan, seed: u64, file: &Path, pipeline: &str) -> anyhow::Result<()> {
    let (pending, whole) = (file.with_extension("pending.toml"), place.folder.join(file));
    save(&place.folder.join(&pending), pipeline.as_bytes())?;
    let out = plan.run(seed);
    let resume = place.folder.join(&out).join("config.toml").exists();
    let mut command = Command::new(&place.binary);
    command.current_dir(&place.folder).args(arguments(&pending, &out)).args(resume.then_some("--resume"));
    let status = command.status().with_context(|| format!("cannot start {}", place.binary.display()))?;
    ensure!(
        status.success(),
        "row `{}`, seed {seed}: temper ended with {status}\n  its pipeline is {}, its folder {}; the same command goes on from \
         there, and without the folder it begins anew",
        plan.row.name,
        pending.display(),
        out.display()
    );
    // From here until the new pipeline has its final name, the run does not count as finished.
    if whole.exists() {
        fs::remove_file(&whole).with_context(|| format!("cannot remove {}", whole.display()))?;
    }
    let [results, records] = ["results.json", RECORDS].map(|name| place.folder.join(&out).join(name));
    let kept_records = whole.with_extension(RECORDS);
    if records.exists() {
        save(
            &kept_records,
            &fs::read(&records).with_context(|| format!("cannot read {}", records.display()))?,
        )?;
    } else if kept_records.exists() {
        fs::remove_file(&kept_records)
            .with_context(|| format!("cannot remove {}", kept_records.display()))?;
    }
    let bytes = fs::read(&results).with_context(|| format!("cannot read {}", results.display()))?;
    save(&whole.with_extension("json"), &bytes)?;
    let pending = place.folder.join(pending);
    fs::rename(&pending, &whole).with_context(|| format!("cannot rename {}", pending.display()))
}

fn arguments(file: &Path, out: &Path) -> Vec<String> {
    ["run".into(), file.display().to_string(), "--out".into(), out.display().to_string()].into()
}

/// Writes a file completely or not at all, and creates its folder.
pub fn save(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(save_atomically(file, bytes)?)
}

/// The file that a run writes about every image; also the end of its copy's name.
const RECORDS: &str = "records.jsonl";

/// The stored data of a finished run.
#[derive(Debug)]
pub struct Finished {
    /// Its seed.
    pub seed: u64,
    /// Its results.
    pub results: Results,
    /// Mean radius after the last epoch, in pixel values of [0, 1].
    pub mean_radius: Option<f64>,
    /// Radii of the training samples after the last epoch, in pixel values of [0, 1]; empty without a policy.
    pub radii: Vec<f64>,
    /// Bytes of its folder, and of the files kept beside it.
    pub disk: u64,
    /// Its folder, relative to the folder that temper runs in.
    pub relative: PathBuf,
    /// The file of records about every image.
    pub records: PathBuf,
    /// The commands that make it, to be run in the folder that temper runs in.
    pub commands: Vec<String>,
}

impl Finished {
    /// Its folder.
    pub fn folder(&self, place: &Place) -> PathBuf {
        place.folder.join(&self.relative)
    }

    /// Share of the training samples whose radii satisfy `such`, in per cent; `None` without radii.
    fn share_of_radii(&self, such: impl Fn(f64) -> bool) -> Option<f64> {
        let n = self.radii.len();
        (n > 0).then(|| self.radii.iter().filter(|radius| such(**radius)).count() as f64 / n as f64 * 100.0)
    }
}

/// The runs of a row that are finished with exactly these pipelines.
pub fn finished(place: &Place, plan: &RowPlan, table: &str) -> anyhow::Result<Vec<Finished>> {
    let mut all = vec![];
    for run in &plan.runs {
        if !done(place, plan, run, table)? {
            continue;
        }
        let file = place.folder.join(plan.beside(run.seed, table, "json"));
        let folder = place.folder.join(plan.run(run.seed));
        let command = |file: &Path, seed| format!("temper {}", arguments(file, &plan.run(seed)).join(" "));
        // A network to craft on that is also judged has its command in its own run.
        let seconds = run.second.iter().map(|(seed, _)| *seed);
        let seconds = seconds.filter(|seed| place.folder.join(training(plan, *seed)).exists());
        let mut commands: Vec<String> = seconds.map(|seed| command(&training(plan, seed), seed)).collect();
        commands.push(command(&plan.beside(run.seed, table, "toml"), run.seed));
        let kept = place.folder.join(plan.beside(run.seed, table, RECORDS));
        let results = Results::read(&file)?;
        let radii = match results.radii {
            Some(_) => RadiiFile::of(&folder)?.pop().context("no epoch left its radii")?.read()?.radii,
            None => vec![],
        };
        all.push(Finished {
            seed: run.seed,
            results,
            mean_radius: read_metrics(&folder.join("metrics.jsonl"))?
                .last()
                .and_then(|epoch| epoch.mean_radius),
            radii,
            disk: disk(place, plan, run.seed, table),
            relative: plan.run(run.seed),
            records: if kept.exists() { kept } else { folder.join(RECORDS) },
            commands,
        });
    }
    Ok(all)
}

/// Bytes of a seed's folder, and of a table's copy of the records beside it.
pub fn disk(place: &Place, plan: &RowPlan, seed: u64, table: &str) -> u64 {
    let kept = fs::metadata(place.folder.join(plan.beside(seed, table, RECORDS)));
    bytes(&place.folder.join(plan.run(seed))) + kept.map_or(0, |data| data.len())
}

/// The value of a run for a column, with the run's records; an error names what is missing.
pub fn seen(finished: &Finished, column: &Column, records: &[Line]) -> anyhow::Result<Seen> {
    let lacks = |what: &str| {
        format!("the results of seed {} hold no {what} for column `{}`", finished.seed, column.name)
    };
    let at = column.place()?;
    let Some(name) = column.evaluation() else {
        let radii = finished.results.radii;
        let scaled = |radius: Option<f64>| Some(radius? * 255.0);
        let value = match column.value {
            What::RadiusP5 => scaled(radii.map(|radii| radii.p5)),
            What::RadiusP50 => scaled(radii.map(|radii| radii.p50)),
            What::RadiusP95 => scaled(radii.map(|radii| radii.p95)),
            // Radii change in steps, and may equal `at` except for rounding.
            What::RadiiAbove => at.and_then(|at| finished.share_of_radii(|radius| radius > at + 1e-6)),
            What::RadiiBelow => at.and_then(|at| finished.share_of_radii(|radius| radius < at - 1e-6)),
            What::Accuracy | What::MeanCorruptionError | What::MeanRadius => scaled(finished.mean_radius),
        };
        return Ok(Seen { value: value.with_context(|| lacks("radii"))?, ..Seen::default() });
    };
    let evaluation = finished.results.get(name).with_context(|| lacks(&format!("evaluation `{name}`")))?;
    if column.value == What::MeanCorruptionError {
        let error = evaluation.corruptions.as_ref().and_then(|c| c.mean_corruption_error);
        let value = error.with_context(|| lacks("mean corruption error"))?;
        return Ok(Seen { value, n: Some(evaluation.n), ..Seen::default() });
    }
    let (accuracy, interval) = match at {
        None => (evaluation.accuracy, evaluation.interval),
        Some(at) => {
            let Some(curve) = &evaluation.curve else { bail!(lacks("curve")) };
            let point = curve.points.iter().find(|point| (point.at - at).abs() < 1e-9);
            let point = point.with_context(|| lacks(&format!("point of the curve at {at}")))?;
            (point.accuracy, point.interval)
        }
    };
    Ok(Seen {
        value: accuracy * 100.0,
        interval: Some(interval.map(|end| end * 100.0)),
        n: Some(evaluation.n),
        images: outcomes(records, evaluation, at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether this pipeline's network exists in a row where `was` was run to its end with weights `sha`, and
    /// whose folder now contains the weights `now`.
    fn there(was: &str, sha: &str, now: &str, wanted: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| save(&folder.path().join(name), text.as_bytes()).unwrap();
        let results = |sha: &str| {
            let network = format!(
                "{{\"name\": \"n\", \"label\": \"last\", \"file\": \"model.safetensors\", \"sha256\": \"{sha}\", \"parameters\": 1}}"
            );
            format!(
                "{{\"seed\": 0, \"evaluations\": [], \"networks\": [{network}], \"dataset\": {{\"name\": \"d\"}}, \"versions\": \
                 {{\"temper\": \"0\", \"candle\": \"0\"}}, \"machine\": {{\"processor\": \"p\", \"threads\": 1}}}}"
            )
        };
        put("row/seed-0.table1.toml", was);
        put("row/seed-0.table1.json", &results(sha));
        put("row/seed-0/results.json", &results(now));
        if now != "none" {
            put("row/seed-0/model.safetensors", now);
        }
        let place = Place { binary: "temper".into(), folder: folder.path().into() };
        let row = toml::from_str("name = \"row\"\nnetwork = \"n\"\nrecipe = \"r\"").unwrap();
        let plan = RowPlan { row: &row, folder: "row".into(), runs: vec![] };
        trained(&place, &plan, 0, &wanted.parse().unwrap())
    }

    /// A program that does nothing, and succeeds or fails, stands in for temper.
    #[cfg(unix)]
    #[test]
    fn what_was_kept_stays_until_a_new_run_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| save(&folder.path().join(name), text.as_bytes()).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        put("row/seed-0.t.toml", "old = 1");
        put("row/seed-0.t.json", "old results");
        put("row/seed-0.t.records.jsonl", "old records");
        let place = |binary: &str| Place { binary: binary.into(), folder: folder.path().into() };
        let row = toml::from_str("name = \"row\"\nnetwork = \"n\"\nrecipe = \"r\"").unwrap();
        let plan = RowPlan { row: &row, folder: "row".into(), runs: vec![] };
        let file = Path::new("row/seed-0.t.toml");
        let error = start(&place("false"), &plan, 0, file, "new = 1").unwrap_err().to_string();
        assert!(error.contains("its pipeline is row/seed-0.t.pending.toml"), "{error}");
        assert_eq!(read("row/seed-0.t.toml").unwrap(), "old = 1");
        assert_eq!(read("row/seed-0.t.json").unwrap(), "old results");
        assert_eq!(read("row/seed-0.t.records.jsonl").unwrap(), "old records");

        put(&format!("{}/results.json", plan.run(0).display()), "new results");
        start(&place("true"), &plan, 0, file, "new = 1").unwrap();
        assert_eq!(read("row/seed-0.t.toml").unwrap(), "new = 1");
        assert_eq!(read("row/seed-0.t.json").unwrap(), "new results");
        assert_eq!(read("row/seed-0.t.records.jsonl"), None, "records of another pipeline");
        assert_eq!(read("row/seed-0.t.pending.toml"), None);
    }

    #[test]
    fn a_network_is_there_if_its_own_training_left_it() {
        let was = "seed = 0\ntrain.epochs = 2\n[[evaluate]]\nname = \"natural\"";
        assert!(there(was, "a", "a", was));
        assert!(there(was, "a", "a", "seed = 0\ntrain.epochs = 2"), "judged otherwise, trained alike");
        assert!(!there(was, "a", "a", "seed = 0\ntrain.epochs = 3"));
        assert!(!there(was, "a", "b", was), "another network was trained there");
        assert!(!there(was, "a", "none", was), "its network was removed");
    }
}
