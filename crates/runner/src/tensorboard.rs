//! `temper run --tensorboard`: the course of a run as event files of TensorBoard, in the folder `tensorboard` of the
//! run. They show what `metrics.jsonl`, `epsilon` and `results.json` hold, and nothing is read from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use temper_core::Source;
use temper_report::{Figure, ImageRow, ImageSheet, Tile, radius_in_words};
use temper_results::{Epoch, RadiiFile, Results};
use temper_tensorboard::EventFile;

use crate::output::say;
use crate::png::figure_image;

/// The folder of event files in that of a run.
pub(crate) const EVENTS: &str = "tensorboard";

/// Images of a sheet.
const TILES: usize = 10;

/// The event file of a run, if it is wanted and can be written.
#[derive(Debug, Default)]
pub(crate) struct Board(Option<EventFile>);

impl Board {
    /// Makes the event file of a run if it is wanted, or if the run has had one, and writes the epochs that are already
    /// done. `skipped` are the places of the images that could not be decoded.
    pub(crate) fn create(wanted: bool, run: &Path, done: &[Epoch], skipped: &BTreeMap<u64, String>) -> Self {
        let mut board = Self::default();
        if !wanted && !EventFile::is_in(&run.join(EVENTS)) {
            return board;
        }
        match EventFile::create(&run.join(EVENTS)) {
            Ok(file) => board.0 = Some(file),
            Err(error) => board.give_up(&error),
        }
        // A run without an epsilon policy has no files of radii.
        let files = RadiiFile::of(run).unwrap_or_default();
        for epoch in done {
            let file = files.iter().find(|file| file.epoch == epoch.epoch);
            let radii = file.and_then(|file| file.read().ok()).map(|read| read.radii).unwrap_or_default();
            let decoded = radii.into_iter().zip(0..).filter(|(_, place)| !skipped.contains_key(place));
            board.epoch(epoch, &decoded.map(|(radius, _)| radius).collect::<Vec<_>>());
        }
        board
    }

    /// Writes an epoch and the radii after it of the images that could be decoded, which may be none.
    pub(crate) fn epoch(&mut self, epoch: &Epoch, radii: &[f64]) {
        self.write(|file| {
            let mut scalar = |tag: &str, value: f64| file.scalar(tag, epoch.epoch, value);
            scalar("loss/train", epoch.loss)?;
            scalar("accuracy/train", epoch.accuracy)?;
            if let Some(held_out) = &epoch.held_out {
                scalar("accuracy/held out", held_out.accuracy)?;
            }
            scalar("learning rate", epoch.lr)?;
            for (name, value) in [
                ("radii/p5", epoch.radii.map(|radii| radii.p5)),
                ("radii/p50", epoch.radii.map(|radii| radii.p50)),
                ("radii/p95", epoch.radii.map(|radii| radii.p95)),
                ("radii/mean", epoch.mean_radius),
            ] {
                value.map(|value| scalar(name, value)).transpose()?;
            }
            scalar("cost/forwards per sample", epoch.forwards)?;
            scalar("cost/backwards per sample", epoch.backwards)?;
            scalar("cost/seconds", epoch.seconds)?;
            scalar("cost/share of time waiting for data", epoch.waiting_share)?;
            match radii.is_empty() {
                true => Ok(()),
                false => file.histogram("radii", epoch.epoch, radii),
            }
        });
    }

    /// Writes the accuracies of all evaluations, at the epoch of the weights that were judged.
    pub(crate) fn results(&mut self, results: &Results) {
        self.write(|file| {
            results.evaluations.iter().try_for_each(|e| {
                let weights = e.weights.as_deref().unwrap_or("last");
                file.scalar(
                    &format!("evaluation/{}/{weights} weights", e.name),
                    e.epoch.unwrap_or(0),
                    e.accuracy,
                )
            })
        });
    }

    /// Writes training images: those with the smallest and the largest of these radii, or, without radii, some of all.
    pub(crate) fn images(&mut self, train: &Arc<dyn Source>, radii: &[f64], epoch: usize) {
        if self.0.is_none() {
            return;
        }
        let mut places: Vec<usize> = (0..train.len()).collect();
        let groups: Vec<(&str, Vec<usize>)> = if radii.len() == train.len() {
            places.sort_by(|a, b| radii[*a].total_cmp(&radii[*b]));
            let smallest = places.iter().take(TILES).copied().collect();
            vec![
                ("smallest radii", smallest),
                ("largest radii", places.into_iter().rev().take(TILES).collect()),
            ]
        } else {
            vec![("training", places.into_iter().step_by(train.len().div_ceil(TILES).max(1)).collect())]
        };
        for (name, places) in groups {
            match sheet(train, name, &places, radii) {
                Ok(Some(png)) => self.write(|file| file.image(&format!("images/{name}"), epoch, &png)),
                Ok(None) => {}
                Err(error) => say(&format!("note    TensorBoard shows no images: {error}\n")),
            }
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut EventFile) -> temper_tensorboard::Result<()>) {
        if let Some(Err(error)) = self.0.as_mut().map(write) {
            self.give_up(&error);
        }
    }

    /// The run goes on: all that the file shows is kept elsewhere.
    fn give_up(&mut self, error: &temper_tensorboard::Error) {
        self.0 = None;
        say(&format!("note    TensorBoard shows no more of this run: {error}\n"));
    }
}

/// A sheet of images with their classes and radii, as a PNG file; `None` if no image can be decoded.
fn sheet(
    train: &Arc<dyn Source>,
    name: &str,
    places: &[usize],
    radii: &[f64],
) -> anyhow::Result<Option<Vec<u8>>> {
    let mut tiles = vec![];
    for place in places {
        // Images that cannot be decoded are told elsewhere.
        let Ok((image, label)) = train.seen(*place) else { continue };
        let class = train.classes().get(label as usize).filter(|name| !name.is_empty());
        let class = class.cloned().unwrap_or_else(|| label.to_string());
        let radius =
            radii.get(*place).map(|radius| format!(", {}", radius_in_words(*radius))).unwrap_or_default();
        tiles.push(Some(Tile {
            image: figure_image(&image)?,
            caption: format!("{}: {class}{radius}", train.index(*place)),
        }));
    }
    if tiles.is_empty() {
        return Ok(None);
    }
    let columns = vec![String::new(); tiles.len().div_ceil(2)];
    tiles.resize(2 * columns.len(), None);
    let rows = tiles
        .chunks(columns.len())
        .map(|tiles| ImageRow { name: String::new(), tiles: tiles.to_vec() })
        .collect();
    Ok(Some(ImageSheet { shows: name.into(), columns, rows }.png()?))
}
