//! `temper attack`: a trained network under attack, in one line.

mod bytes;
mod folder;
mod saved;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use temper_core::Pixels;
use temper_evaluate::{Entry, Glimpse, Records};
use temper_report::Results;
use temper_train::save_atomically;

use crate::attacked::{self, Opened};
use crate::interrupt::Interrupt;
use crate::material::skipped;
use crate::output::say;
use crate::warnings::told;
use bytes::Ball;
use folder::Folder;
use saved::{Gathered, Judge, save};

/// Options of `temper attack`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A run's folder, or a file of weights (.safetensors)
    #[arg(value_name = "RUN_OR_MODEL")]
    network: PathBuf,
    #[command(flatten)]
    attacked: attacked::Shared,
    /// Write the images, as floats and as PNG files, records and results into this folder
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Replace the attack in that folder
    #[arg(long, requires = "save")]
    force: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let plan = options.attacked.plan()?;
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let folder = options.save.clone().map(|path| Folder::choose(path, options.force)).transpose()?;
    let (mut opened, entry) = Opened::open(std::slice::from_ref(&options.network), plan, &interrupt)?;
    if folder.is_some() {
        saved::check(opened.input)?;
    }
    let folder = folder.map(Folder::take).transpose()?;
    say(&opened.heading(&entry));
    say(&told(&opened.warnings));
    let mut outcome = Outcome::default();
    let natural = Entry { name: "natural".into(), ..Entry::default() };
    let unperturbed = outcome.judge(&opened, &natural, &interrupt, &mut |_| {})?;
    let known = opened.warnings.len();
    opened.doubt_normalisation(0, unperturbed)?;
    say(&told(&opened.warnings[known..]));
    let mut gathered = Gathered::default();
    let mut hear = |glimpse: &Glimpse| {
        if folder.is_some() {
            gathered.hear(glimpse);
        }
    };
    outcome.judge(&opened, &entry, &interrupt, &mut hear)?;
    let results = outcome.results(&opened);
    let table = serde_json::from_value::<Results>(results.clone())?.table();
    let what = opened.images.word();
    let skipped = skipped(what, opened.source.len(), &outcome.unreadable, "--save writes all of them");
    say(&format!("\n{table}\n{skipped}"));
    match folder {
        None => Ok(()),
        Some(folder) => outcome.write((&opened, &entry), folder, gathered, results, &interrupt),
    }
}

/// What evaluations gave.
#[derive(Default)]
struct Outcome {
    evaluations: Vec<Value>,
    records: Records,
    unreadable: BTreeMap<u64, String>,
}

impl Outcome {
    /// Judges the network by an entry; returns the accuracy.
    fn judge(
        &mut self,
        opened: &Opened,
        entry: &Entry,
        interrupt: &Interrupt,
        hear: &mut dyn FnMut(&Glimpse),
    ) -> anyhow::Result<f64> {
        let target = &opened.targets[0];
        let judged = opened.judge(entry, (target, None), &mut self.records, interrupt, hear)?;
        let Some(evaluation) = judged else {
            let what = format!("in `{}`; nothing is kept that could be resumed", entry.name);
            return Err(interrupt.ended(&what));
        };
        self.evaluations.push(target.marked(&evaluation)?);
        self.unreadable = evaluation.unreadable;
        Ok(evaluation.accuracy)
    }

    /// As a file of results holds them.
    fn results(&self, opened: &Opened) -> Value {
        let mut results = opened.results("attack", &self.evaluations);
        results["model"] = opened.targets[0].about();
        results["model"]["classes"] = json!(opened.source.classes());
        if !self.unreadable.is_empty() {
            results["data"]["unreadable"] = self.unreadable.values().cloned().collect();
        }
        results
    }

    /// Writes all there is into the folder, the results last.
    fn write(
        &self,
        (opened, entry): (&Opened, &Entry),
        mut folder: Folder,
        gathered: Gathered,
        mut results: Value,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        let mut words = opened.words("attack", entry)?;
        results["arguments"] = json!(words);
        words.extend(["--save".into(), folder.path().display().to_string(), "--force".into()]);
        folder.prepare(&opened.resolved(entry, &words)?)?;
        let mut kept = Records::open(&folder.records(), |_| false)?;
        for line in self.records.lines() {
            kept.append(line.clone())?;
        }
        let judge = Judge {
            network: &opened.targets[0].frozen,
            device: opened.device(),
            batch: opened.batch(),
            ball: &|sample| {
                let own = opened.own.as_ref().and_then(|own| own.radii.get(&sample).copied());
                Ball { norm: entry.norm(), radius: own.or(entry.radius.map(Pixels::get)).unwrap_or(0.0) }
            },
            interrupt,
        };
        let saved = save(&folder, gathered, &judge)?;
        results["saved"] = saved.json();
        save_atomically(&folder.results(), (serde_json::to_string_pretty(&results)? + "\n").as_bytes())?;
        say(&format!("{}written to {}\n", saved.told(), folder.path().display()));
        Ok(())
    }
}
