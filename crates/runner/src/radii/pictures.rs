//! What `temper radii --save` writes: the listed images, a sheet of them, and the table as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Context;
use serde::Serialize;
use temper_core::Image;
use temper_data::escaped;
use temper_report::{Figure, ImageRow, ImageSheet, Tile, radius_in_words};

use super::Listing;
use super::folder::{Folder, SHEETS, TABLE};
use super::samples::{Group, Sample, Seen};
use crate::catalogue::wrap;
use crate::config::BadConfig;
use crate::material;
use crate::png::{self, figure_image};
use crate::trained::TrainingImages;

/// Images in a row of the sheet.
const COLUMNS: usize = 5;
/// Images of each group on the sheet; more would make it too long.
const SHOWN: usize = 8 * COLUMNS;

/// The table.
#[derive(Serialize)]
struct TableOfRadii<'a> {
    run: String,
    epoch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    norm: Option<temper_results::Norm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    classes: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [temper_results::Warning],
    smallest: Vec<RowOfRadii<'a>>,
    largest: Vec<RowOfRadii<'a>>,
}

/// A sample of the table.
#[derive(Serialize)]
struct RowOfRadii<'a> {
    /// Its index in the whole training split.
    sample: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
    label: Option<u32>,
    /// The predicted class; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<u32>,
    /// In pixel values of [0, 1].
    radius: f64,
    /// By epoch.
    radii: BTreeMap<usize, f64>,
}

impl Listing {
    /// Writes the pictures; returns the text that says so. All images are read before anything in the folder changes.
    pub(super) fn save(&self, folder: Folder) -> anyhow::Result<String> {
        let images = self.images.as_ref().map_err(|why| BadConfig(format!("--save: no images: {why}")))?;
        png::check(material::look(&images.train, "of the run")?)?;
        let mut files = BTreeMap::new();
        let mut rows = vec![];
        for group in &self.groups {
            let mut tiles = vec![];
            for sample in &group.samples {
                let (Some(image), Some(name)) = (image(images, sample)?, self.picture(sample)) else {
                    continue;
                };
                if tiles.len() < SHOWN {
                    tiles.push(Some(Tile { image: figure_image(&image)?, caption: self.caption(sample) }));
                }
                let at = folder.path().join(&name);
                files.insert(name, png::encoded(&at, &image)?);
            }
            rows.extend(in_rows(group, tiles));
        }
        let mut written = format!("to {}: {} images", folder.path().display(), files.len());
        if !rows.is_empty() {
            let sheet = ImageSheet {
                shows: format!("the training set by their radius after epoch {}", self.epoch),
                columns: vec![String::new(); COLUMNS],
                rows,
            };
            let [svg, png] = SHEETS.map(String::from);
            let shown = match self.groups.iter().any(|group| group.samples.len() > SHOWN) {
                true => format!("the first {SHOWN} of each end"),
                false => "all of them".into(),
            };
            let _ = write!(written, ", {svg} and {png} with {shown}");
            files.insert(svg, sheet.svg().context("the sheet of images")?.into_bytes());
            files.insert(png, sheet.png().context("the sheet of images")?);
        }
        let _ = write!(written, ", {TABLE} with the table");
        let files: Vec<(String, Vec<u8>)> = files.into_iter().collect();
        folder.write(&files, &self.table_of_radii(images))?;
        let mut text = String::new();
        wrap(&mut text, "written", "       ", &written);
        Ok(text)
    }

    /// The name of a sample's picture; `None` if it cannot be decoded.
    fn picture(&self, sample: &Sample) -> Option<String> {
        let index = u64::try_from(sample.index).ok().filter(|_| sample.seen != Seen::Undecoded)?;
        let classes = self.images.as_ref().ok()?.train.classes();
        let label = sample.label?;
        Some(png::name(index, &word(classes.get(label as usize).map_or("", String::as_str), label)))
    }

    /// Number and class of a sample, what the network takes it for, and its radius.
    fn caption(&self, sample: &Sample) -> String {
        let class = sample.label.map_or_else(String::new, |label| self.name(label));
        let seen = match sample.seen {
            Seen::Predicted(None) => ", taken for no class".into(),
            Seen::Predicted(Some(class)) if Some(class) == sample.label => ", right".into(),
            Seen::Predicted(Some(class)) => format!(", taken for {}", self.name(class)),
            Seen::Unknown | Seen::Undecoded => String::new(),
        };
        let tenths = (sample.radius * 2550.0).round() / 2550.0;
        format!("{}: {class}{seen}, radius {}", sample.index, radius_in_words(tenths))
    }

    /// The name of a class.
    fn name(&self, class: u32) -> String {
        let classes = self.images.as_ref().map_or(&[][..], |images| images.train.classes());
        classes.get(class as usize).map_or_else(|| class.to_string(), |name| escaped(name))
    }

    fn table_of_radii<'a>(&'a self, images: &'a TrainingImages) -> TableOfRadii<'a> {
        let rows = |name: &str| -> Vec<RowOfRadii<'a>> {
            let groups = self.groups.iter().filter(|group| group.name == name);
            groups.flat_map(|group| &group.samples).map(|sample| self.row_of_radii(sample)).collect()
        };
        TableOfRadii {
            run: self.run.display().to_string(),
            epoch: self.epoch,
            norm: self.norm,
            network: self.network.as_ref().map(|file| file.display().to_string()),
            classes: images.train.classes(),
            warnings: &self.warnings,
            smallest: rows("smallest"),
            largest: rows("largest"),
        }
    }

    fn row_of_radii<'a>(&self, sample: &'a Sample) -> RowOfRadii<'a> {
        let after = self.shown.iter().copied().zip(&sample.development);
        RowOfRadii {
            sample: sample.index,
            file: &sample.file,
            picture: self.picture(sample),
            label: sample.label,
            prediction: match sample.seen {
                Seen::Predicted(class) => class,
                Seen::Unknown | Seen::Undecoded => None,
            },
            radius: sample.radius,
            radii: after.filter_map(|(epoch, radius)| Some((epoch, (*radius)?))).collect(),
        }
    }
}

/// The image of a sample as the network sees it; `None` if it cannot be decoded.
fn image(images: &TrainingImages, sample: &Sample) -> anyhow::Result<Option<Image>> {
    if sample.seen == Seen::Undecoded {
        return Ok(None);
    }
    let (image, _) = images.train.seen(sample.place).map_err(temper_core::Error::from)?;
    Ok(Some(image))
}

/// The tiles of a group in rows, the first with the name of the group.
fn in_rows(group: &Group, mut tiles: Vec<Option<Tile>>) -> Vec<ImageRow> {
    let mut rows: Vec<ImageRow> = vec![];
    while !tiles.is_empty() {
        let rest = tiles.split_off(COLUMNS.min(tiles.len()));
        tiles.resize(COLUMNS, None);
        let name = if rows.is_empty() { group.name.into() } else { String::new() };
        rows.push(ImageRow { name, tiles });
        tiles = rest;
    }
    rows
}

/// A class in a file name: its name in lower case, with hyphens for everything that is no letter or digit of ASCII, or
/// its number if nothing is left.
fn word(class: &str, label: u32) -> String {
    let letters: String = class
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { ' ' })
        .collect();
    let word = letters.split_whitespace().collect::<Vec<_>>().join("-");
    // File systems limit the length of names.
    let word: String = word.chars().take(60).collect();
    if word.is_empty() { label.to_string() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_become_words_that_every_file_system_takes() {
        let of = |class: &str| word(class, 7);
        assert_eq!(
            [of("T-shirt/top"), of("Ankle boot"), of("../x"), of("猫"), of("7")],
            ["t-shirt-top", "ankle-boot", "x", "7", "7"]
        );
        assert_eq!(of(&"a".repeat(300)).len(), 60);
    }
}
