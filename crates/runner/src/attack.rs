//! `temper attack`: attacks a trained network without a pipeline.

mod bytes;
mod folder;
mod parts;
mod saved;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use temper_core::Distance;
use temper_evaluate::{BatchGlimpse, Compared, Entry, Outcome, compare};
use temper_report::table_of;
use temper_results::{CommandName, Records, Results};

use crate::attacked::{self, Opened};
use crate::config::BadConfig;
use crate::interrupt::Interrupt;
use crate::material::skipped;
use crate::output::{Logging, event, inform, say_as_text};
use crate::png;
use crate::progress::evaluated;
use crate::report;
use crate::run_dir::Mode;
use crate::warnings::{strictly, warn, warn_of_results};
use bytes::ByteBall;
use folder::Folder;
use parts::Parts;
use saved::{Rereading, only_as_floats, save, told_of};

/// Options of `temper attack`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A run's folder, or a network's file (.onnx, .safetensors, .pth, .pt)
    #[arg(value_name = "RUN_OR_MODEL")]
    network: PathBuf,
    #[command(flatten)]
    attacked: attacked::Shared,
    /// Write the images, as floats and as PNG files, records and results into this folder
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Continue the interrupted attack in that folder
    #[arg(long, requires = "save")]
    resume: bool,
    /// Replace the attack in that folder
    #[arg(long, requires = "save", conflicts_with = "resume")]
    force: bool,
    /// End with exit code 1 if a warning is severe: if a number is probably wrong
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    logging: Logging,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    options.logging.choose();
    let plan = options.attacked.plan()?;
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    if !plan.entry.attacked() && options.save.is_some() {
        return Err(BadConfig("--save: `--attack none` makes no images that could be saved".into()).into());
    }
    let mode = Mode::of(options.resume, options.force);
    let folder = options.save.clone().map(|path| Folder::choose(path, mode)).transpose()?;
    let (mut opened, entry) = Opened::open(std::slice::from_ref(&options.network), plan, &interrupt)?;
    if folder.is_some() {
        png::check(opened.input)?;
    }
    let mut folder = folder.map(Folder::take).transpose()?;
    inform(&opened.heading(&entry));
    warn(&opened.warnings);
    let inspection = opened.inspect(&opened.targets[0], &entry, &interrupt)?;
    let natural = Entry { name: "natural".into(), ..Entry::default() };
    let arguments = opened.words("attack", &entry)?;
    let mut measured = Measured::new(&opened, (&natural, &entry), folder.as_ref(), &arguments)?;
    let unperturbed = measured.judge(&opened, &natural, &interrupt)?;
    let known = opened.warnings.len();
    opened.warn_of_normalisation(0, unperturbed, &interrupt)?;
    warn(&opened.warnings[known..]);
    if entry.attacked() {
        measured.judge(&opened, &entry, &interrupt)?;
    }
    let Measured { outcomes, records, unreadable, .. } = measured;
    let Compared { evaluations, warnings } = compare(outcomes, vec![], inspection.as_slice());
    let told = opened.warnings.clone();
    opened.warnings.extend(warnings);
    let results = opened.results(CommandName::Attack, arguments, evaluations, &unreadable)?;
    let skipped =
        skipped(opened.images.word(), opened.source.len(), &unreadable, "--save writes all of them");
    say_as_text(&format!("\n{}\n{skipped}", table_of(&results)));
    let results = match &mut folder {
        None => results,
        Some(folder) => write((&opened, &entry), folder, &records, results, &interrupt)?,
    };
    let told = [told, results.saved.as_ref().and_then(only_as_floats).into_iter().collect()].concat();
    warn_of_results(&results, &told);
    event("results", &results);
    if options.strict { strictly(&results) } else { Ok(()) }
}

/// The results of the evaluations.
struct Measured {
    outcomes: Vec<Outcome>,
    records: Records,
    unreadable: BTreeMap<u64, String>,
    /// The images of each batch, if they are to be saved.
    parts: Option<Parts>,
}

impl Measured {
    /// Nothing measured, or what an interrupted attack measured.
    fn new(
        opened: &Opened,
        (natural, entry): (&Entry, &Entry),
        folder: Option<&Folder>,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        let (mut records, mut parts) = (Records::in_memory(), None);
        if let Some(folder) = folder {
            let unfinished = folder.begin(&opened.resolved(entry, arguments)?)?;
            let key = |entry: &Entry| opened.key(entry, (&opened.targets[0], None));
            let [natural, attack] = [key(natural)?, key(entry)?];
            let images = Parts::at(&unfinished.images());
            records = unfinished
                .records(&[natural, attack.clone()], |line| line.key != attack || images.has(line))?;
            parts = Some(images);
        }
        Ok(Self { outcomes: vec![], records, unreadable: BTreeMap::new(), parts })
    }

    /// Evaluates the network as an entry specifies; returns the accuracy, 0 to 1.
    fn judge(&mut self, opened: &Opened, entry: &Entry, interrupt: &Interrupt) -> anyhow::Result<f64> {
        let target = &opened.targets[0];
        let parts = self.parts.as_ref().filter(|_| entry.attacked());
        let mut hear = |glimpse: &BatchGlimpse| parts.map_or(Ok(()), |parts| parts.write(glimpse));
        let judged = opened.judge(entry, (target, None), &mut self.records, interrupt, &mut hear)?;
        let Some(outcome) = judged else {
            let at = format!("in `{}`", entry.name);
            let kept = self.parts.is_some() && self.records.lines().next().is_some();
            return Err(match kept {
                true => interrupt.stopped(&format!("{at}; all judged images are kept")),
                false => interrupt.ended(&format!("{at}; with --save DIR it could be resumed")),
            });
        };
        let accuracy = outcome.evaluation.accuracy;
        evaluated(&outcome.evaluation);
        self.unreadable.clone_from(&outcome.unreadable);
        self.outcomes.push(outcome);
        Ok(accuracy)
    }
}

/// Writes all files into the folder. The results are written last, and returned as written.
fn write(
    (opened, entry): (&Opened, &Entry),
    folder: &mut Folder,
    records: &Records,
    mut results: Results,
    interrupt: &Interrupt,
) -> anyhow::Result<Results> {
    folder.prepare()?;
    let mut kept = Records::open(&folder.records(), |_| false)?;
    for line in records.lines() {
        kept.append(line.clone())?;
    }
    let rereading = Rereading {
        network: &opened.targets[0].frozen,
        device: opened.device(),
        batch: opened.batch(),
        ball: &|sample| {
            let own = opened.own.as_ref().and_then(|own| own.radii.get(&sample).copied());
            ByteBall { norm: entry.norm(), radius: own.or(entry.radius.map(Distance::get)).unwrap_or(0.0) }
        },
        interrupt,
    };
    let key = opened.key(entry, (&opened.targets[0], None))?;
    let gathered = Parts::at(&folder.unfinished().images()).gather(records, &key)?;
    let saved = save(folder, gathered, &rereading)?;
    say_as_text(&told_of(&saved));
    let warning = only_as_floats(&saved);
    warn(warning.as_slice());
    results.warnings.extend(warning);
    results.saved = Some(saved);
    results.write(&folder.results())?;
    let mut words = results.arguments.clone();
    words.extend(["--save".into(), folder.path().display().to_string(), "--force".into()]);
    folder.publish(&opened.resolved(entry, &words)?)?;
    inform(&format!("written to {}\n", folder.path().display()));
    report::beside(folder.path());
    Ok(results)
}
