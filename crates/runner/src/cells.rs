//! The images that an evaluation judges: as they are, or corrupted in every way that it asks for.

use std::sync::Arc;

use temper_core::Source;
use temper_evaluate::{Cell, Entry};

use crate::config::BadConfig;

/// Opens them. `bad` words what is wrong with the evaluation's corruptions.
pub(crate) fn open(
    entry: &Entry,
    source: Arc<dyn Source>,
    _seed: u64,
    _input: [usize; 3],
    _bad: impl Fn(&str) -> BadConfig,
) -> anyhow::Result<Vec<Cell>> {
    let Some(_corruptions) = &entry.corruptions else { return Ok(vec![Cell::clean(source)]) };
    anyhow::bail!("corruptions are on their way")
}
