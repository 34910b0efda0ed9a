//! How well a network stands: unperturbed, under attacks, transferred ones too, and on corrupted images.
//!
//! Batch norm runs in evaluation mode. Natural errors count as broken, and only samples that are classified correctly
//! unperturbed are attacked: the same accuracy by definition. Labels are the true ones. Several attacks, restarts and radii
//! follow each other on what still stands. What is judged is kept, a line a batch, and never judged again.

mod cell;
mod corrupted;
mod corruptions;
mod digest;
mod doubts;
mod entry;
mod evaluation;
mod judge;
mod record;
mod records;
mod statistics;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use temper_core::nn::Frozen;
use temper_core::{Device, Norm, Tensor};

pub use cell::{Cell, superseded};
pub use corrupted::{Corrupted, Corruption};
pub use corruptions::{Corruptions, Origin};
pub use digest::DataDigest;
pub use entry::{Entry, Sweep};
pub use evaluation::{Curve, Evaluation, Hits, Point};
pub use record::{Columns, Cost, Line, Record};
pub use records::{Records, RecordsError};
pub use statistics::{Distances, wilson};

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
    /// Where images are crafted, if not on that network.
    pub crafted_on: Option<Crafting<'a>>,
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

/// A network that images are crafted on, and another judges.
#[derive(Clone, Copy)]
pub struct Crafting<'a> {
    /// The network.
    pub network: &'a Frozen,
    /// SHA-256 of its file.
    pub sha256: &'a str,
}

impl<'a> Setting<'a> {
    /// For numbers that nobody keeps.
    pub fn new(network: &'a Frozen, batch: usize, seed: u64, device: &'a Device) -> Self {
        Self {
            network,
            weights: "last",
            crafted_on: None,
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

/// Judges a network by an entry on all images of `cells`: one cell, but for corruptions, where that of the images unperturbed comes
/// first. Batches that `records` holds are not judged again. `watch` hears of each batch, and may break off: then there is no
/// result, and what is judged is kept.
pub fn evaluate(
    setting: &Setting,
    entry: &Entry,
    cells: &[Cell],
    records: &mut Records,
    watch: &mut Watch,
) -> Result<Option<Evaluation>> {
    let mut progress = Progress::default();
    for (i, cell) in cells.iter().enumerate() {
        let (flow, left) = cell::judge(setting, entry, cell, records, (&mut progress, watch))?;
        if flow.is_break() && (left > 0 || i + 1 < cells.len()) {
            return Ok(None);
        }
    }
    let sums: Vec<Sum> = cells.iter().map(|cell| Sum::of(entry, cell.lines(&setting.key, records))).collect();
    if let Some(first) = sums.iter().find(|sum| sum.counts().0 == 0).and_then(|sum| sum.first_unreadable()) {
        let all = cells[0].source.len();
        return Err(temper_core::Error::refused(format!(
            "none of the {all} images can be decoded; the first: {first}"
        ))
        .into());
    }
    let table = entry.corruptions.as_ref().map(|_| corrupted::table(cells, &sums)).transpose()?;
    let whole = Sum::of(entry, cells.iter().flat_map(|cell| cell.lines(&setting.key, records)));
    let (right, undefined) = (whole.right(), whole.undefined());
    let mut evaluation = whole.evaluation(entry);
    evaluation.key.clone_from(&setting.key);
    evaluation.crafted_on_sha256 = setting.crafted_on.map(|crafting| crafting.sha256.into());
    evaluation.doubts = doubts::doubts(entry, &evaluation, right, setting.radii.is_some());
    evaluation.doubts.extend(doubts::of_norms(entry, setting.trained_in));
    evaluation.doubts.extend(doubts::of_undefined(undefined, evaluation.n));
    Ok(Some(match table {
        Some(table) => corrupted::evaluation(evaluation, table),
        None => evaluation,
    }))
}
