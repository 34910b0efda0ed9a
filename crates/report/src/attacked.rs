//! Images and predictions from the `images.safetensors` of `temper attack --save`.

use std::path::Path;

use temper_results::{Error, SavedImages};

use crate::figure::FigureImage;

/// One image after an attack.
#[derive(Debug, Clone)]
pub struct Attacked {
    /// Its index in the whole split.
    pub index: i64,
    /// Its class.
    pub label: i64,
    /// The prediction for the attacked image; `None` if it is not known.
    pub prediction: Option<i64>,
    /// Whether the attack broke it, or it was misclassified before.
    pub broken: bool,
    /// The attacked image. Images that were misclassified before are not attacked.
    pub image: FigureImage,
}

/// Reads the images from a folder of `temper attack --save`, in the file's order. Pixels of [0, 1] are
/// rounded to bytes.
pub fn read_attacked(folder: &Path) -> Result<Vec<Attacked>, Error> {
    let file = folder.join("images.safetensors");
    let saved = SavedImages::read(&file)?;
    let mut all = vec![];
    for i in 0..saved.len() {
        let (_, adversarial) = saved.pixels(i);
        let byte = |at: usize| (adversarial[at].clamp(0.0, 1.0) * 255.0).round() as u8;
        let image = FigureImage::of_planes(saved.shape, byte)
            .map_err(|error| Error::Unfit { file: file.clone(), what: error.to_string() })?;
        all.push(Attacked {
            index: saved.index[i],
            label: saved.label[i],
            prediction: (saved.prediction[i] >= 0).then_some(saved.prediction[i]),
            broken: saved.broken[i] != 0,
            image,
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pixels_and_unknown_predictions_none() {
        let folder = tempfile::tempdir().unwrap();
        // Two images of three channels, one row, two columns.
        let saved = SavedImages {
            shape: [3, 1, 2],
            clean: vec![0.0; 12],
            adversarial: (0..12u8).map(|i| f32::from(i) / 255.0).collect(),
            index: vec![4, 9],
            label: vec![1, 2],
            prediction: vec![1, -1],
            broken: vec![0, 1],
        };
        saved.write(&folder.path().join("images.safetensors")).unwrap();
        let all = read_attacked(folder.path()).unwrap();
        // RGB of the first pixel, then of the second.
        assert_eq!(all[0].image, FigureImage::new(2, 1, vec![0, 2, 4, 1, 3, 5]).unwrap());
        assert_eq!(all[1].image, FigureImage::new(2, 1, vec![6, 8, 10, 7, 9, 11]).unwrap());
        let said: Vec<_> = all.iter().map(|one| (one.index, one.label, one.prediction, one.broken)).collect();
        assert_eq!(said, [(4, 1, Some(1), false), (9, 2, None, true)]);
    }
}
