//! `temper radii`: the radii that training gave to its images, and the images with the smallest and the largest.

mod folder;
mod pictures;
mod samples;
mod text;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use temper_report::epochs_in_words;
use temper_results::{EpochRadii, Norm, RadiiFile, Warning};

use crate::attacked::count;
use crate::config::BadConfig;
use crate::output::answer;
use crate::stored::{Stored, epoch_of};
use crate::trained::{Trained, TrainingImages};
use crate::warnings::told;
use folder::Folder;
use samples::{Group, Predictor, development, grouped, look};

/// Options of `temper radii`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A run's folder
    run: PathBuf,
    /// The training images with the smallest radii; without this and --largest a summary of all radii
    #[arg(long, value_name = "N", value_parser = count)]
    smallest: Option<NonZeroUsize>,
    /// The training images with the largest radii
    #[arg(long, value_name = "N", value_parser = count)]
    largest: Option<NonZeroUsize>,
    /// The radii after this epoch, from 1 [default: that of the best weights, else the last one]
    #[arg(long, value_name = "E")]
    epoch: Option<usize>,
    /// Write the listed images as PNG files, a sheet of them and the table as JSON into this folder
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

/// Number of the smallest and of the largest radii that a summary lists.
const LISTED: usize = 10;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = options.save.clone().map(Folder::choose).transpose()?;
    let listing = Listing::of(options)?;
    let saved = folder.map(|folder| listing.save(folder)).transpose()?.unwrap_or_default();
    answer(&(told(&listing.warnings) + &listing.text() + &saved))
}

/// The radii after an epoch, and the samples that are listed.
pub(crate) struct Listing {
    run: PathBuf,
    norm: Option<Norm>,
    /// The epochs with radii, in words.
    epochs: String,
    epoch: usize,
    /// All radii in ascending order, without those of images that could not be decoded.
    sorted: Vec<f64>,
    /// The epochs of [`samples::Sample::development`].
    shown: Vec<usize>,
    groups: Vec<Group>,
    /// Whether the radii are summarised.
    summary: bool,
    /// The training images, or why they are not known.
    images: Result<TrainingImages, String>,
    /// The network that predicts; `None` if the run has no weights yet.
    network: Option<PathBuf>,
    warnings: Vec<Warning>,
    notes: Vec<String>,
}

impl Listing {
    fn of(options: &Options) -> anyhow::Result<Self> {
        let run = Trained::read(&options.run)?;
        let files = run.radii()?;
        let weights = Stored::file(&options.run).ok();
        let selected = weights.as_deref().map(epoch_of).transpose()?.flatten();
        let file = chosen(&files, options, selected)?;
        let radii = file.read()?;
        let images = run.images(Some(&radii))?;
        let mut notes = vec![];
        let decoded = decoded(&run, &radii, &mut notes)?;
        if decoded.is_empty() {
            bail!("{} has no radius of an image that could be decoded", file.file.display());
        }
        let wanted = match (options.smallest, options.largest) {
            (None, None) => [Some(LISTED); 2],
            (smallest, largest) => [smallest, largest].map(|n| n.map(NonZeroUsize::get)),
        };
        let mut groups = grouped(&radii, &decoded, wanted, &mut notes);
        let shown = development(&files, &mut groups)?;
        let mut warnings = run.warnings()?;
        let predictor = match (&images, &weights) {
            (Ok(images), Some(file)) => Some(Predictor::open(&run, file, images, &mut warnings)?),
            _ => None,
        };
        if let Ok(images) = &images {
            look(images, predictor.as_ref(), &mut groups)?;
        }
        notes.extend(missing(&images, weights.is_none()));
        let mut sorted: Vec<f64> = decoded.iter().map(|place| radii.radii[*place]).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Ok(Self {
            run: options.run.clone(),
            norm: run.pipeline.train.attacked_in(),
            epochs: epochs_in_words(&files),
            epoch: file.epoch,
            sorted,
            shown,
            groups,
            summary: options.smallest.is_none() && options.largest.is_none(),
            images,
            network: predictor.and(weights),
            warnings,
            notes,
        })
    }
}

/// The file of `--epoch`, or else of the selected weights, or else the last one. The error names the epochs that exist.
fn chosen<'f>(
    files: &'f [RadiiFile],
    options: &Options,
    selected: Option<usize>,
) -> Result<&'f RadiiFile, BadConfig> {
    let epoch = options.epoch.or(selected);
    let file = files.iter().rfind(|file| epoch.is_none_or(|epoch| file.epoch == epoch));
    file.ok_or_else(|| {
        let (epoch, there) = (epoch.unwrap_or_default(), epochs_in_words(files));
        let run = options.run.display();
        BadConfig(match options.epoch {
            Some(_) => format!("--epoch {epoch}: {run} has no radii of that epoch, those of {there} are there"),
            None => format!(
                "{run} has no radii of epoch {epoch}, that of its best weights, those of {there} are there: choose one \
                 with --epoch"
            ),
        })
    })
}

/// The places of the radii whose images could be decoded. Adds a note about the others.
fn decoded(run: &Trained, radii: &EpochRadii, notes: &mut Vec<String>) -> anyhow::Result<Vec<usize>> {
    let (undecoded, skipped) = run.undecoded(radii.epoch)?;
    match (undecoded.len(), skipped) {
        (0, 0) => {}
        (0, n) => notes.push(format!(
            "images that cannot be decoded and are counted with the radius that they began with: {n}; the checkpoint, \
             which names them, is not there"
        )),
        (n, _) => notes.push(format!("images left out because they cannot be decoded: {n}")),
    }
    Ok((0..radii.radii.len()).filter(|place| !undecoded.contains_key(&(*place as u64))).collect())
}

/// What is left out of the table, and why.
fn missing(images: &Result<TrainingImages, String>, without_weights: bool) -> Option<String> {
    match images {
        Err(why) => Some(format!("classes, file names and predictions are not known: {why}")),
        Ok(_) if without_weights => Some(
            "there are no predictions: the run has no weights yet, it writes model.safetensors when training ends"
                .into(),
        ),
        Ok(_) => None,
    }
}

/// The radii by place in the whole training split.
fn by_index(radii: &EpochRadii) -> impl Iterator<Item = (i64, f64)> + '_ {
    radii.index.iter().copied().zip(radii.radii.iter().copied())
}
