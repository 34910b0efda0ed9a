//! How well a network stands: unperturbed, under attacks, transferred ones too, and on corrupted images.
//!
//! Batch norm runs in evaluation mode. Natural errors count as broken, and only samples that are classified correctly
//! unperturbed are attacked: the same accuracy by definition. Labels are the true ones. Several attacks, restarts and radii
//! follow each other on what still stands. What is judged is kept, a line a batch, and never judged again.

mod cell;
mod checks;
mod corrupted;
mod corruptions;
mod digest;
mod entry;
mod evaluation;
mod judge;
mod statistics;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use temper_core::nn::Frozen;
use temper_core::{Device, Norm, Tensor};
use temper_results::{Evaluation, Record, Records, RecordsError};

pub use cell::{Cell, superseded};
pub use corruptions::{Corruptions, Origin};
pub use digest::digest_of;
pub use entry::{Entry, Sweep};
pub use statistics::wilson;

use cell::Progress;
use evaluation::Sum;

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
    /// The epoch that left these weights, if that is known.
    pub epoch: Option<usize>,
    /// The name of the network in a transfer matrix, if it is judged for one.
    pub judged_by: Option<&'a str>,
    /// The network on which images are crafted, if not the one that is judged.
    pub surrogate: Option<Surrogate<'a>>,
    /// The norm that its training attack measured radii in; `None`: it was trained without one, or that is not known.
    pub trained_in: Option<Norm>,
    /// Radius of each image, by its index in the whole data set, in place of the entry's, which is the largest of them.
    pub radii: Option<&'a BTreeMap<u64, f64>>,
    /// Samples judged at a time.
    pub batch: usize,
    /// Where all randomness begins.
    pub seed: u64,
    /// Where tensors live.
    pub device: &'a Device,
    /// All that the numbers depend on, hashed: records of another key are not these.
    pub key: String,
}

/// A network on which images are crafted that another network judges.
#[derive(Clone, Copy)]
pub struct Surrogate<'a> {
    /// The network.
    pub network: &'a Frozen,
    /// What results call it.
    pub name: &'a str,
    /// SHA-256 of its file.
    pub sha256: &'a str,
}

impl<'a> Setting<'a> {
    /// For numbers that nobody keeps.
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
        }
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
    /// The image that broke each sample, else the last one tried within the radius, else the clean one, `[n, c, h, w]`.
    pub images: &'a Tensor,
}

/// Hears of each batch, and may break the evaluation off.
pub type Watch<'w> = dyn FnMut(&Glimpse) -> ControlFlow<()> + 'w;

/// What an evaluation gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The result.
    pub evaluation: Evaluation,
    /// Samples that could not be decoded, by index in the whole data set, with the reason.
    pub unreadable: BTreeMap<u64, String>,
}

/// Judges a network by an entry on all images of `cells`: one cell, but for corruptions, where that of the images unperturbed comes
/// first. Batches that `records` holds are not judged again. `watch` hears of each batch, and may break off: then there is no
/// result, and what is judged is kept.
pub fn evaluate(
    setting: &Setting,
    entry: &Entry,
    cells: &[Cell],
    records: &mut Records,
    watch: &mut Watch,
) -> Result<Option<Outcome>> {
    let members = entry.members(setting.network.network().classes()).map_err(temper_core::Error::refused)?;
    let mut progress = Progress::default();
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
    let whole = Sum::of(entry, cells.iter().flat_map(|cell| cell.lines(&setting.key, records)));
    let unreadable = whole.unreadable().clone();
    Ok(Some(Outcome { evaluation: whole.evaluation(setting, (entry, &members), table), unreadable }))
}
