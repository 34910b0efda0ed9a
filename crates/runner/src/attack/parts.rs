//! The images of each batch of an attack, on disk until the attack is complete.

use std::path::{Path, PathBuf};

use anyhow::bail;
use temper_core::{Device, Tensor};
use temper_evaluate::BatchGlimpse;
use temper_results::{Line, Record, Records, SavedImages};

/// The samples of an attack.
#[derive(Default)]
pub(super) struct Gathered {
    /// Clean and adversarial images, in the order of the records.
    pub(super) images: SavedImages,
    pub(super) records: Vec<Record>,
}

/// The folder with one file of images per batch.
pub(super) struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// The parts in this folder.
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.into() }
    }

    /// The file of a batch, by the index of its first sample in the whole split.
    fn file(&self, first: u64) -> PathBuf {
        self.folder.join(format!("{first:08}.safetensors"))
    }

    /// Writes the images of a batch.
    pub(super) fn write(&self, glimpse: &BatchGlimpse) -> anyhow::Result<()> {
        let Some(first) = glimpse.records.first() else { return Ok(()) };
        Ok(images(glimpse)?.write(&self.file(first.sample))?)
    }

    /// Whether the images of a batch are there.
    pub(super) fn has(&self, line: &Line) -> bool {
        line.samples.samples().first().is_none_or(|first| self.file(*first).exists())
    }

    /// All images of the evaluation with this key.
    pub(super) fn gather(&self, records: &Records, key: &str) -> anyhow::Result<Gathered> {
        let mut gathered = Gathered::default();
        for line in records.lines().filter(|line| line.key == key) {
            let samples = line.samples.samples();
            let Some(first) = samples.first() else { continue };
            let file = self.file(*first);
            let part = SavedImages::read(&file)?;
            if !part.index.iter().map(|index| *index as u64).eq(samples.iter().copied()) {
                bail!(
                    "{}: its images are not those of the records beside it\n  start anew with --force",
                    file.display()
                );
            }
            gathered.images.append(part);
            gathered.records.extend(line.samples.records());
        }
        Ok(gathered)
    }
}

/// The images of a batch, as they are written.
fn images(glimpse: &BatchGlimpse) -> anyhow::Result<SavedImages> {
    let floats = |images: &Tensor| -> anyhow::Result<Vec<f32>> {
        Ok(images.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
    };
    let (_, c, h, w) = glimpse.clean.dims4()?;
    let column = |of: fn(&Record) -> i64| glimpse.records.iter().map(of).collect::<Vec<i64>>();
    Ok(SavedImages {
        shape: [c, h, w],
        clean: floats(glimpse.clean)?,
        adversarial: floats(glimpse.images)?,
        index: column(|record| record.sample as i64),
        label: column(|record| i64::from(record.label)),
        // The prediction for the saved image; a record may refer to an image beyond the radius.
        prediction: column(|record| match record.stands() {
            true => i64::from(record.label),
            false => record.prediction.map_or(-1, i64::from),
        }),
        broken: column(|record| i64::from(!record.stands())),
    })
}
