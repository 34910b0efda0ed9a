//! How well a network stands: unperturbed, under attacks, transferred ones too, and on corrupted images.
//!
//! Batch norm runs in evaluation mode. Natural errors count as broken, and only samples that are classified correctly
//! unperturbed are attacked: the same accuracy by definition. Labels are the true ones. Several attacks, restarts and radii
//! follow each other on what still stands. What is judged is kept, a line a batch, and never judged again.

mod corruptions;
mod digest;
mod entry;
mod evaluation;
mod judge;
mod record;
mod records;
mod statistics;

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use temper_core::nn::Frozen;
use temper_core::{Batch, Device, Source, Tensor};
use temper_corruptions::{Kind, Severity};
use temper_data::{Batches, RawBatch, Rng};

pub use corruptions::{Corruptions, Origin};
pub use digest::DataDigest;
pub use entry::{Entry, Sweep};
pub use evaluation::{Corrupted, Curve, Evaluation, Hits, Point};
pub use record::{Columns, Cost, Line, Record};
pub use records::{Records, RecordsError};
pub use statistics::{Distances, wilson};

use evaluation::Sum;
use judge::Judging;

/// What can go wrong in an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of data, networks, attacks.
    #[error(transparent)]
    Core(#[from] temper_core::Error),
    /// Of the file of records.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl From<temper_data::Error> for Error {
    fn from(error: temper_data::Error) -> Self {
        Self::Core(error.into())
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who judges, and how.
pub struct Setting<'a> {
    /// The network that is judged.
    pub network: &'a Frozen,
    /// The word for its weights in records.
    pub weights: &'a str,
    /// Where images are crafted, if not on that network.
    pub crafted_on: Option<&'a Frozen>,
    /// Samples judged at a time.
    pub batch: usize,
    /// Where all randomness begins.
    pub seed: u64,
    /// Where tensors live.
    pub device: &'a Device,
    /// All that the numbers depend on, hashed: records of another key are not these.
    pub key: String,
}

impl<'a> Setting<'a> {
    /// For numbers that nobody keeps.
    pub fn new(network: &'a Frozen, batch: usize, seed: u64, device: &'a Device) -> Self {
        Self { network, weights: "last", crafted_on: None, batch, seed, device, key: String::new() }
    }
}

/// Images to judge.
pub struct Cell {
    /// How they are corrupted, if they are.
    pub corruption: Option<(Kind, Severity)>,
    /// The images.
    pub source: Arc<dyn Source>,
}

impl Cell {
    /// Images as they are.
    pub fn clean(source: Arc<dyn Source>) -> Self {
        Self { corruption: None, source }
    }

    /// As records name the corruption.
    fn name(&self) -> Option<String> {
        self.corruption.map(|(kind, severity)| format!("{} {}", kind.name(), severity.get()))
    }
}

/// How far an evaluation is.
pub struct Glimpse<'a> {
    /// Samples done, of all that are to be judged.
    pub done: usize,
    /// Those that stand.
    pub standing: usize,
    /// What was seen of the last batch.
    pub records: &'a [Record],
    /// Its images unperturbed, `[n, c, h, w]`.
    pub clean: &'a Tensor,
    /// The images that its records speak of, `[n, c, h, w]`.
    pub images: &'a Tensor,
}

/// Hears of each batch, and may break the evaluation off.
pub type Watch<'w> = dyn FnMut(&Glimpse) -> ControlFlow<()> + 'w;

/// Judges a network by an entry on all images of `cells`: one cell, but for corruptions. Batches that `records` holds are not judged
/// again. `watch` hears of each batch, and may break off: then there is no result, and what is judged is kept.
pub fn evaluate(
    setting: &Setting,
    entry: &Entry,
    cells: &[Cell],
    records: &mut Records,
    watch: &mut Watch,
) -> Result<Option<Evaluation>> {
    let mut progress = Progress::default();
    for (i, cell) in cells.iter().enumerate() {
        let (flow, left) = judge_cell(setting, entry, cell, records, (&mut progress, watch))?;
        if flow.is_break() && (left > 0 || i + 1 < cells.len()) {
            return Ok(None);
        }
    }
    let sum = |cell: &Cell| Sum::of(entry, records.of(&setting.key, cell.name().as_deref()));
    let sums: Vec<Sum> = cells.iter().map(sum).collect();
    if let Some(first) = sums.iter().find(|sum| sum.counts().0 == 0).and_then(|sum| sum.first_unreadable()) {
        let all = cells[0].source.len();
        return Err(temper_core::Error::refused(format!(
            "none of the {all} images can be decoded; the first: {first}"
        ))
        .into());
    }
    if cells.iter().all(|cell| cell.corruption.is_none()) {
        return Ok(sums.into_iter().next().map(|sum| sum.evaluation(entry)));
    }
    let corrupted = |(cell, sum): (&Cell, &Sum)| {
        let (kind, severity) = cell.corruption?;
        Some(sum.corrupted(cell.name()?, kind.name(), severity.get(), cell.source.origin()))
    };
    let cells_of: Vec<Corrupted> = cells.iter().zip(&sums).filter_map(corrupted).collect();
    let names: Vec<Option<String>> = cells.iter().map(Cell::name).collect();
    let lines = names.iter().flat_map(|name| records.of(&setting.key, name.as_deref()));
    Ok(Some(Evaluation::of_corruptions(entry, Sum::of(entry, lines), cells_of)))
}

/// What all cells so far add up to.
#[derive(Default)]
struct Progress {
    done: usize,
    standing: usize,
}

/// Judges what is not judged yet of a cell. Returns how many samples are left, if it was broken off.
fn judge_cell(
    setting: &Setting,
    entry: &Entry,
    cell: &Cell,
    records: &mut Records,
    (progress, watch): (&mut Progress, &mut Watch),
) -> Result<(ControlFlow<()>, usize)> {
    let (source, name) = (&cell.source, cell.name());
    let mut known: HashSet<u64> = HashSet::new();
    for line in records.of(&setting.key, name.as_deref()) {
        known.extend(line.samples.samples());
        known.extend(line.unreadable.keys());
        progress.done += line.samples.len();
        progress.standing += line.samples.records().filter(Record::stands).count();
    }
    let order = (0..source.len()).filter(|i| !known.contains(&(source.index(*i) as u64))).collect();
    let rng = Rng::new(setting.seed, "evaluate").named(&entry.name);
    let judging = Judging { network: setting.network, crafted_on: setting.crafted_on, entry, rng };
    let mut left = source.len() - known.len();
    let mut started = Instant::now();
    for raw in Batches::new(source.clone(), order, setting.batch, None) {
        let mut raw: RawBatch = raw?;
        digest::in_the_whole(&mut raw, &**source);
        left -= raw.ids.len() + raw.skipped.len();
        let data = DataDigest::of(&raw).to_string();
        let unreadable: BTreeMap<u64, String> = raw.skipped.drain(..).collect();
        let line = |samples, costs| Line {
            evaluation: entry.name.clone(),
            weights: setting.weights.into(),
            corruption: name.clone(),
            key: setting.key.clone(),
            data,
            samples,
            unreadable,
            costs,
        };
        if raw.ids.is_empty() {
            records.append(line(Columns::default(), vec![]))?;
            continue;
        }
        let batch = Batch::new(raw, setting.device)?;
        let mut judged = judging.batch(&batch)?;
        // Waiting for data is part of the time, too.
        let attacks: f64 = judged.costs[1..].iter().map(|cost| cost.seconds).sum();
        judged.costs[0].seconds = started.elapsed().as_secs_f64() - attacks;
        started = Instant::now();
        progress.done += judged.records.len();
        progress.standing += judged.records.iter().filter(|record| record.stands()).count();
        let (done, standing) = (progress.done, progress.standing);
        let glimpse = Glimpse {
            done,
            standing,
            records: &judged.records,
            clean: &batch.pixels,
            images: &judged.images,
        };
        let flow = watch(&glimpse);
        records.append(line(Columns::of(judged.records), judged.costs))?;
        if flow.is_break() {
            return Ok((flow, left));
        }
    }
    Ok((ControlFlow::Continue(()), left))
}
