//! The images of an evaluation: clean images, and corrupted images if the entry has `corruptions`.

use std::sync::Arc;

use temper_core::{DataError, Source};
use temper_corruptions::{
    CorruptedSource, CorruptionKind, Frost, Generator, Parameters, PublishedSet, Refusal,
};
use temper_evaluate::{Cell, Corruptions, Entry, Origin};

use crate::config::BadConfig;

/// The source of an evaluation's images.
pub(crate) struct CellImages<'a> {
    /// Name of the data set.
    pub(crate) dataset: &'a str,
    /// Name of the published set of corrupted versions of its test images, if there is one.
    pub(crate) corrupted: Option<&'a str>,
    /// The clean images of the evaluation.
    pub(crate) source: Arc<dyn Source>,
    /// Channels, height, width.
    pub(crate) shape: [usize; 3],
}

/// Opens the cells; the clean images come first. `bad` wraps errors in the evaluation's `corruptions`.
pub(crate) fn open(
    entry: &Entry,
    images: &CellImages,
    bad: impl Fn(&str) -> BadConfig,
) -> anyhow::Result<Vec<Cell>> {
    let mut cells = vec![Cell::clean(images.source.clone())];
    let Some(corruptions) = &entry.corruptions else { return Ok(cells) };
    let corrupted = match corruptions.from {
        Origin::Generated => generated(corruptions, images, bad)?,
        Origin::Published => published(corruptions, images, bad)?,
    };
    cells.extend(corrupted);
    Ok(cells)
}

/// Images corrupted by temper.
fn generated(
    corruptions: &Corruptions,
    images: &CellImages,
    bad: impl Fn(&str) -> BadConfig,
) -> anyhow::Result<Vec<Cell>> {
    // An error in a file is not an error of the pipeline.
    let refused = |refusal: Refusal| match refusal {
        Refusal::Texture(error) => temper_core::Error::from(error).into(),
        other => anyhow::Error::new(bad(&other.to_string())),
    };
    let [_, height, width] = images.shape;
    let parameters = corruptions.parameters.unwrap_or_else(|| Parameters::of_side(height.max(width)));
    let frost = match &corruptions.frost {
        Some(folder) => Frost::from_folder(folder).map_err(refused)?,
        None => Frost::drawn(),
    };
    let textures = frost.fingerprint();
    let generator = Arc::new(Generator::new(parameters, corruptions.seed, frost));
    let mut cells = vec![];
    for kind in corruptions.kinds() {
        for severity in corruptions.severities() {
            let source = CorruptedSource::new(images.source.clone(), generator.clone(), kind, severity);
            let source = Arc::new(source.map_err(refused)?);
            let origin = generator.origin(kind);
            let told = format!("{origin}, {textures}");
            cells.push(Cell::corrupted((kind, severity), source, origin, &told));
        }
    }
    Ok(cells)
}

/// Images read from the published files.
fn published(
    corruptions: &Corruptions,
    images: &CellImages,
    bad: impl Fn(&str) -> BadConfig,
) -> anyhow::Result<Vec<Cell>> {
    let Some(set) = images.corrupted.and_then(PublishedSet::by_name) else {
        let known: Vec<&str> = PublishedSet::ALL.iter().map(|set| set.name()).collect();
        let message = format!(
            "no corrupted `{}` is published, only {}: `from = \"generated\"` corrupts any images",
            images.dataset,
            known.join(", ")
        );
        return Err(bad(&message).into());
    };
    let core = |error: DataError| anyhow::Error::new(temper_core::Error::from(error));
    let folder = set.find(corruptions.root.as_deref()).map_err(core)?;
    let name = match set.title(images.source.classes().len()) {
        title if title == set.name() => format!("{title} as published"),
        title => title.into(),
    };
    let origin = format!("{name}, {}", folder.display());
    let open = |kind: CorruptionKind, severity| {
        let source = set.open(&folder, kind, severity, images.source.clone()).map_err(core)?;
        let told = set.fingerprint(&folder, kind, severity).map_err(core)?;
        anyhow::Ok(Cell::corrupted((kind, severity), source, origin.clone(), &told))
    };
    let mut cells = vec![];
    for kind in corruptions.kinds() {
        for severity in corruptions.severities() {
            cells.push(open(kind, severity)?);
        }
    }
    Ok(cells)
}
