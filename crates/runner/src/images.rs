//! The images of a data set that a command attacks.

use std::sync::Arc;

use anyhow::bail;
use serde::Serialize;
use temper_core::{Chosen, Dataset, Source, Split};
use temper_evaluate::Entry;

use crate::config::BadConfig;
use crate::material;
use crate::own_radii::OwnRadii;

/// A part of a data set, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SplitOption {
    Test,
    Train,
}

impl SplitOption {
    fn split(self) -> Split {
        match self {
            Self::Test => Split::Test,
            Self::Train => Split::Train,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Train => "training",
        }
    }
}

/// The images of a data set that an entry selects.
pub(crate) fn opened_images(
    dataset: &Chosen<dyn Dataset>,
    images: SplitOption,
    entry: &Entry,
    own: Option<&OwnRadii>,
) -> anyhow::Result<Arc<dyn Source>> {
    let bad = |message: &str| BadConfig(format!("dataset `{}`: {message}", dataset.name()));
    let source = material::open(dataset, images.split(), bad)?;
    if source.is_empty() {
        bail!("dataset `{}` has no {} images", dataset.name(), images.word());
    }
    let source = match (own, &entry.indices) {
        (None, _) => source,
        (Some(own), None) => own.with_one(&source)?,
        (Some(own), Some(indices)) => {
            indices.iter().try_for_each(|image| own.check(*image))?;
            source
        }
    };
    let chosen = material::chosen(entry, source, images.word());
    chosen.map_err(|message| BadConfig(format!("--indices: {message}")).into())
}
