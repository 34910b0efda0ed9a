//! Evaluations of a network: natural accuracy, robust accuracy under attacks and transfer attacks, and
//! accuracy on corrupted images.
//!
//! Batch norm runs in evaluation mode and labels are the true ones. Natural errors count as broken, and only
//! samples that are classified correctly unperturbed are attacked, which gives the same accuracy by
//! definition. A sample *stands* if no attack has broken it so far. Attacks, restarts and radii run one after
//! the other on the samples that still stand. Each evaluated batch is recorded and never evaluated again.

mod cell;
mod checks;
mod compare;
mod corrupted;
mod corruptions;
mod digest;
mod entry;
mod estimate;
mod evaluation;
mod inspection;
mod judge;
mod optimality;
mod quantiles;
mod seen;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use temper_core::nn::Frozen;
use temper_core::{Device, Member, Norm, Pulse, Tensor};
use temper_results::{Evaluation, Line, Record, Records, RecordsError};

pub use cell::{Cell, superseded};
pub use checks::checks;
pub use compare::{Compared, compare};
pub use corruptions::{Corruptions, Origin};
pub use digest::digest_of;
pub use entry::{Entry, Sweep};
pub use estimate::{TimeEstimate, estimate};
pub use inspection::{Inspection, inspect};

use cell::CellProgress;
use evaluation::Sum;
use seen::Seen;

/// An error of an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An error of data, networks or attacks.
    #[error(transparent)]
    Core(#[from] temper_core::Error),
    /// An error of the file of records.
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

/// The network to evaluate, and the settings that all entries share.
pub struct Setting<'a> {
    /// The evaluated network.
    pub network: &'a Frozen,
    /// The name of its weights in records: `last` or `best`.
    pub weights: &'a str,
    /// The epoch of these weights, if it is known.
    pub epoch: Option<usize>,
    /// The name of the network in a transfer matrix, if it is part of one.
    pub judged_by: Option<&'a str>,
    /// The surrogate network on which images are crafted, if it is not the evaluated one.
    pub surrogate: Option<Surrogate<'a>>,
    /// The norm of the radii of its training attack; `None` if it was trained without attack, or if that is
    /// unknown.
    pub trained_in: Option<Norm>,
    /// The radius of each image, by its index in the whole data set. It replaces the radius of the entry,
    /// which is the largest of them.
    pub radii: Option<&'a BTreeMap<u64, f64>>,
    /// Batch size.
    pub batch: usize,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The device of all tensors.
    pub device: &'a Device,
    /// A hash of everything that the numbers depend on. Records with another key belong to other evaluations.
    pub key: String,
    /// Called at every pass; can cancel the evaluation within a batch.
    pub pulse: Option<Pulse>,
}

/// A surrogate network: images are crafted on it and evaluated on another network.
#[derive(Clone, Copy)]
pub struct Surrogate<'a> {
    /// The network.
    pub network: &'a Frozen,
    /// Its name in results.
    pub name: &'a str,
    /// SHA-256 of its file.
    pub sha256: &'a str,
}

impl Setting<'_> {
    /// The largest number of passes, forward and backward together, that an entry's attacks make per image;
    /// `None` if an attack does not report it.
    pub fn most_passes(&self, entry: &Entry) -> Option<u64> {
        let [forwards, backwards] = estimate::most_passes(entry, self.network.network().classes())?;
        Some(forwards.saturating_add(backwards))
    }
}

impl<'a> Setting<'a> {
    /// Settings for results that are not stored.
    pub fn new(network: &'a Frozen, batch: usize, seed: u64, device: &'a Device) -> Self {
        Self {
            network,
            weights: "last",
            epoch: None,
            judged_by: None,
            surrogate: None,
            trained_in: None,
            radii: None,
            batch,
            seed,
            device,
            key: String::new(),
            pulse: None,
        }
    }
}

/// Progress of an evaluation, after each batch.
pub struct BatchGlimpse<'a> {
    /// Samples done so far, of all samples of the evaluation.
    pub done: usize,
    /// Samples that stand so far.
    pub standing: usize,
    /// The records of the last batch.
    pub records: &'a [Record],
    /// Its clean images, `[n, c, h, w]`.
    pub clean: &'a Tensor,
    /// The image that broke each sample, otherwise the last one tried within the radius, otherwise the clean
    /// one, `[n, c, h, w]`.
    pub images: &'a Tensor,
}

/// A callback that is called after each batch and can cancel the evaluation.
pub type BatchWatch<'w> = dyn FnMut(&BatchGlimpse) -> ControlFlow<()> + 'w;

/// The outcome of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The result.
    pub evaluation: Evaluation,
    /// Samples that could not be decoded, by index in the whole data set, with the reason.
    pub unreadable: BTreeMap<u64, String>,
    /// The data that checks of several evaluations need.
    seen: Seen,
}

/// Evaluates a network on all images of `cells`: one cell, or with corruptions the clean cell followed by one
/// per corruption and severity. Batches that `records` contains are not evaluated again. The callback `watch`
/// is called after each batch and can cancel; the result is then `None`, and the records so far are kept.
pub fn evaluate(
    setting: &Setting,
    entry: &Entry,
    cells: &[Cell],
    records: &mut Records,
    watch: &mut BatchWatch,
) -> Result<Option<Outcome>> {
    let members = entry.members(setting.network.network().classes()).map_err(temper_core::Error::refused)?;
    let mut progress = CellProgress::default();
    for (i, cell) in cells.iter().enumerate() {
        let (flow, left) = cell::judge(setting, (entry, &members), cell, records, (&mut progress, watch))?;
        if flow.is_break() && (left > 0 || i + 1 < cells.len()) {
            return Ok(None);
        }
    }
    let sums: Vec<Sum> = cells.iter().map(|cell| Sum::of(entry, cell.lines(&setting.key, records))).collect();
    let mut empty = sums.iter().filter(|sum| sum.counts().0 == 0);
    if let Some(first) = empty.find_map(|sum| sum.unreadable().values().next()) {
        let all = cells[0].source.len();
        return Err(temper_core::Error::refused(format!(
            "none of the {all} images can be decoded; the first: {first}"
        ))
        .into());
    }
    let table = entry.corruptions.as_ref().map(|_| corrupted::table(cells, &sums)).transpose()?;
    let lines = || cells.iter().flat_map(|cell| cell.lines(&setting.key, records));
    let whole = Sum::of(entry, lines());
    let (unreadable, seen) = (whole.unreadable().clone(), seen(setting, (entry, &members), lines()));
    let evaluation = whole.evaluation(setting, (entry, &members), table);
    Ok(Some(Outcome { evaluation, unreadable, seen }))
}

/// The data of an evaluation that checks of several evaluations need.
fn seen<'l>(
    setting: &Setting,
    (entry, members): (&Entry, &[Member]),
    lines: impl Iterator<Item = &'l Line>,
) -> Seen {
    let mut seen = Seen::new(setting, entry, members);
    let mut probabilities = true;
    for line in lines.filter(|line| line.corruption.is_none()) {
        probabilities &= line.probabilities || line.samples.is_empty();
        line.samples.records().for_each(|record| seen.hear(&record));
    }
    seen.clean.probabilities = probabilities && seen.clean.n() > 0;
    seen
}
