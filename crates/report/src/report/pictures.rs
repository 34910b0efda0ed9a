//! Images that an attack saved: clean, adversarial, and their difference.

use std::collections::BTreeMap;

use temper_results::{Record, SavedImages};

use crate::figure::{FigureImage, ImageRow, ImageSheet, Tile};
use crate::measured::Measured;
use crate::page::Page;
use crate::table::radius_in_words;

/// Images of each sheet.
const SHOWN: usize = 6;

/// Adds the section, if images were saved.
pub(super) fn section(page: &mut Page, measured: &Measured) {
    let Some(images) = measured.images.as_ref().filter(|images| !images.is_empty()) else { return };
    page.heading("Images");
    let attacked = measured.results.evaluations.iter().find(|e| e.norm.is_some());
    let records: BTreeMap<i64, Record> = attacked
        .map(|e| measured.records(e))
        .unwrap_or_default()
        .into_iter()
        .map(|record| (record.sample as i64, record))
        .collect();
    let sheets = Sheets { measured, images, records: &records };
    let [easiest, hardest] = sheets.extremes();
    sheets.add(page, "The images that were broken most easily", &easiest);
    sheets.add(page, "The images that stood most firmly", &hardest);
    if let Some(saved) = &measured.results.saved {
        page.text(&format!(
            "Of {} saved images {} break the network as floats, and {} as PNG files of 8 bits.",
            saved.n, saved.floats_broken, saved.png.broken
        ));
    }
}

/// Saved images with their records.
struct Sheets<'m> {
    measured: &'m Measured,
    images: &'m SavedImages,
    records: &'m BTreeMap<i64, Record>,
}

impl Sheets<'_> {
    /// Places of the images that were broken most easily and of those that stood most firmly. By distance if a
    /// minimum-norm attack measured it, otherwise by the loss of the adversarial image. Images that were
    /// misclassified before the attack are left out.
    fn extremes(&self) -> [Vec<usize>; 2] {
        let right = |i: &usize| {
            let (clean, adversarial) = self.images.pixels(*i);
            let record = self.records.get(&self.images.index[*i]);
            // Without records: attacked images differ from the clean ones.
            record.map_or(clean != adversarial, |record| record.natural == Some(record.label))
        };
        let chosen = |broken: bool| -> Vec<usize> {
            (0..self.images.len()).filter(|i| (self.images.broken[*i] != 0) == broken).filter(right).collect()
        };
        let (mut easiest, mut hardest) = (chosen(true), chosen(false));
        let [of_broken, of_standing] = [&easiest, &hardest].map(|places| self.ease(places));
        easiest.sort_by(|a, b| of_broken[b].total_cmp(&of_broken[a]));
        hardest.sort_by(|a, b| of_standing[a].total_cmp(&of_standing[b]));
        [easiest, hardest].map(|places| places.into_iter().take(SHOWN).collect())
    }

    /// How easily each of these images was broken: by distance if it is known of all of them, otherwise by loss.
    fn ease(&self, places: &[usize]) -> BTreeMap<usize, f64> {
        let record = |i: &usize| self.records.get(&self.images.index[*i]);
        let distance = |i: &usize| record(i).and_then(|record| record.min_norm).map(|distance| -distance);
        let loss = |i: &usize| record(i).map(|record| f64::from(record.loss)).filter(|loss| !loss.is_nan());
        let by_distance = places.iter().all(|i| distance(i).is_some());
        let ease = |i: &usize| if by_distance { distance(i) } else { loss(i) };
        places.iter().map(|i| (*i, ease(i).unwrap_or(0.0))).collect()
    }

    /// Adds a sheet, if there are images for it.
    fn add(&self, page: &mut Page, what: &str, places: &[usize]) {
        if places.is_empty() {
            return;
        }
        let caption = format!(
            "{what}: clean, adversarial, and the difference around grey, scaled so that the largest is black or white."
        );
        let rows: Result<Vec<ImageRow>, _> = places.iter().map(|i| self.row(*i)).collect();
        match rows {
            Ok(rows) => {
                let columns = ["clean", "adversarial", "difference"].map(String::from).to_vec();
                page.figure_or_reason(&caption, &ImageSheet { shows: what.to_lowercase(), columns, rows });
            }
            Err(error) => page.text(&format!("Not drawn: {caption} Reason: {error}.")),
        }
    }

    fn row(&self, i: usize) -> Result<ImageRow, crate::figure::FigureError> {
        let (clean, adversarial) = self.images.pixels(i);
        let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
        let image =
            |value: &dyn Fn(usize) -> f32| FigureImage::of_planes(self.images.shape, |at| byte(value(at)));
        let largest = clean.iter().zip(adversarial).map(|(a, b)| (b - a).abs()).fold(0.0, f32::max);
        let scale = if largest > 0.0 { 0.5 / largest } else { 0.0 };
        let class =
            |class: i64| u32::try_from(class).map_or("not known".into(), |class| self.measured.class(class));
        let record = self.records.get(&self.images.index[i]);
        // Of a minimum-norm attack the loss is that of an image which may lie beyond the radius.
        let shown =
            |record: &&Record| record.loss.is_finite() && (record.min_norm.is_none() || !record.stands());
        let loss = record.filter(shown).map(|record| format!("loss {:.2}", record.loss));
        let taken = format!("taken for {}", class(self.images.prediction[i]));
        let tiles = [
            (image(&|at| clean[at])?, class(self.images.label[i])),
            (
                image(&|at| adversarial[at])?,
                [Some(taken), loss].into_iter().flatten().collect::<Vec<_>>().join(", "),
            ),
            (
                image(&|at| 0.5 + (adversarial[at] - clean[at]) * scale)?,
                format!("largest {}", radius_in_words((f64::from(largest) * 2550.0).round() / 2550.0)),
            ),
        ];
        Ok(ImageRow {
            name: format!("image {}", self.images.index[i]),
            tiles: tiles.map(|(image, caption)| Some(Tile { image, caption })).to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_by_distance_and_leave_out_what_was_wrong_before() {
        let images = SavedImages {
            shape: [1, 1, 1],
            clean: vec![0.5; 5],
            adversarial: vec![0.6, 0.7, 0.5, 0.6, 0.6],
            index: vec![10, 11, 12, 13, 14],
            label: vec![0; 5],
            prediction: vec![1, 1, 1, 0, 0],
            broken: vec![1, 1, 1, 0, 0],
        };
        let record = |sample: u64, natural, min_norm, loss| {
            (sample as i64, Record { sample, natural: Some(natural), min_norm, loss, ..Record::default() })
        };
        let records = BTreeMap::from([
            record(10, 0, Some(0.3), 9.0),
            record(11, 0, Some(0.1), 1.0),
            record(12, 1, Some(0.0), 5.0),
            record(13, 0, None, 0.5),
            record(14, 0, None, 0.25),
        ]);
        let results = serde_json::json!({
            "seed": 0, "evaluations": [], "networks": [], "dataset": { "name": "made" },
            "versions": { "temper": "0", "candle": "0" }, "machine": { "processor": "none", "threads": 1 },
        });
        let measured = Measured {
            name: "made".into(),
            results: serde_json::from_value(results).unwrap(),
            lines: vec![],
            epochs: vec![],
            radii: vec![],
            images: None,
            config: None,
        };
        let sheets = Sheets { measured: &measured, images: &images, records: &records };
        assert_eq!(sheets.extremes(), [vec![1, 0], vec![4, 3]]);
        let without = BTreeMap::new();
        let sheets = Sheets { records: &without, ..sheets };
        // Without records only images that were changed are known to have been attacked.
        assert_eq!(sheets.extremes(), [vec![0, 1], vec![3, 4]]);
    }
}
