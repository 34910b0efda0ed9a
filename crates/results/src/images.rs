//! `images.safetensors`, what `temper attack --save` writes of images and of what the network took them for.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use temper_files::save_atomically;

use crate::error::Error;
use crate::files;

/// Images before and after an attack. Vectors have an entry a sample.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SavedImages {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Clean pixels of [0, 1], `[n, c, h, w]`.
    pub clean: Vec<f32>,
    /// Pixels after the attack, `[n, c, h, w]`. Images that were wrong before are not attacked.
    pub adversarial: Vec<f32>,
    /// Where each image stands in the whole split that it is of.
    pub index: Vec<i64>,
    /// Its class.
    pub label: Vec<i64>,
    /// What the network takes the attacked image for; -1 where that is not known.
    pub prediction: Vec<i64>,
    /// 1 if the attack broke the network, or it was wrong before, else 0.
    pub broken: Vec<i64>,
}

impl SavedImages {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Clean and adversarial pixels of the i-th image, `[c, h, w]` each.
    pub fn pixels(&self, i: usize) -> (&[f32], &[f32]) {
        let len: usize = self.shape.iter().product();
        (&self.clean[i * len..][..len], &self.adversarial[i * len..][..len])
    }

    /// Adds images of the same shape.
    pub fn append(&mut self, other: Self) {
        self.shape = other.shape;
        self.clean.extend(other.clean);
        self.adversarial.extend(other.adversarial);
        for (own, other) in [
            (&mut self.index, other.index),
            (&mut self.label, other.label),
            (&mut self.prediction, other.prediction),
            (&mut self.broken, other.broken),
        ] {
            own.extend(other);
        }
    }

    /// Writes them, whole or not at all.
    pub fn write(&self, file: &Path) -> Result<(), Error> {
        let unfit = |what: String| Error::Unfit { file: file.into(), what };
        let floats = |numbers: &[f32]| numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let integers = |numbers: &[i64]| numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let [c, h, w] = self.shape;
        let pixels = [("adversarial", floats(&self.adversarial)), ("clean", floats(&self.clean))];
        let columns = [
            ("broken", integers(&self.broken)),
            ("index", integers(&self.index)),
            ("label", integers(&self.label)),
            ("prediction", integers(&self.prediction)),
        ];
        let n = self.len();
        let pixels = pixels.iter().map(|(name, bytes)| (*name, Dtype::F32, vec![n, c, h, w], bytes));
        let columns = columns.iter().map(|(name, bytes)| (*name, Dtype::I64, vec![n], bytes));
        let views = pixels
            .chain(columns)
            .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(dtype, shape, bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let bytes = views.and_then(|views| safetensors::serialize(views, None));
        Ok(save_atomically(file, &bytes.map_err(|error| unfit(format!("cannot be written: {error}")))?)?)
    }

    /// Reads them.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let bytes = files::tensors(file)?;
        let unfit = |what: String| Error::Unfit { file: file.into(), what };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| unfit(format!("not safetensors: {e}")))?;
        let view = |name: &str, dtype: Dtype, dimensions: usize| {
            let view = tensors.tensor(name).map_err(|_| unfit(format!("no tensor `{name}`")))?;
            match view.dtype() == dtype && view.shape().len() == dimensions {
                true => Ok(view),
                false => Err(unfit(format!(
                    "tensor `{name}` is {:?} of shape {:?}, expected {dtype:?} of {dimensions} dimensions",
                    view.dtype(),
                    view.shape()
                ))),
            }
        };
        let column = |name: &str| {
            let view = view(name, Dtype::I64, 1)?;
            let (numbers, _) = view.data().as_chunks::<8>();
            Ok::<Vec<i64>, Error>(numbers.iter().copied().map(i64::from_le_bytes).collect())
        };
        let (index, label) = (column("index")?, column("label")?);
        let (prediction, broken) = (column("prediction")?, column("broken")?);
        let adversarial = view("adversarial", Dtype::F32, 4)?;
        let [n, c, h, w] = [0, 1, 2, 3].map(|i| adversarial.shape()[i]);
        if [&index, &label, &prediction, &broken].iter().any(|column| column.len() != n) {
            return Err(unfit(format!(
                "`adversarial` has {n} images, another tensor has not as many numbers"
            )));
        }
        // Of no bytes there may be any number of pixels.
        if n > 0 && adversarial.data().is_empty() {
            return Err(unfit(format!(
                "`adversarial` has the shape {:?}: images without pixels",
                adversarial.shape()
            )));
        }
        let clean = view("clean", Dtype::F32, 4)?;
        if clean.shape() != adversarial.shape() {
            return Err(unfit(format!(
                "`clean` is of shape {:?}, `adversarial` of {:?}",
                clean.shape(),
                adversarial.shape()
            )));
        }
        let floats =
            |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes).collect();
        let (clean, adversarial) = (floats(clean.data()), floats(adversarial.data()));
        Ok(Self { shape: [c, h, w], clean, adversarial, index, label, prediction, broken })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> SavedImages {
        SavedImages {
            shape: [3, 1, 2],
            clean: vec![0.5; 12],
            adversarial: (0..12u8).map(|i| f32::from(i) / 255.0).collect(),
            index: vec![4, 9],
            label: vec![1, 2],
            prediction: vec![1, -1],
            broken: vec![0, 1],
        }
    }

    #[test]
    fn images_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("images.safetensors");
        images().write(&file).unwrap();
        let back = SavedImages::read(&file).unwrap();
        assert_eq!(back, images());
        assert_eq!(back.pixels(1).1[0], 6.0 / 255.0);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("images.safetensors");
        let fault = || SavedImages::read(&file).unwrap_err().to_string();
        assert!(fault().contains("images.safetensors"), "{}", fault());
        let column = 1i64.to_le_bytes();
        let one = || TensorView::new(Dtype::I64, vec![1], &column).unwrap();
        let write = |columns: &[&str], shape: Vec<usize>, pixels: &[u8]| {
            let view = TensorView::new(Dtype::F32, shape, pixels).unwrap();
            let columns = columns.iter().map(|name| (*name, one()));
            safetensors::serialize_to_file(columns.chain([("adversarial", view)]), None, &file).unwrap();
        };
        write(&["index", "prediction", "broken"], vec![1, 1, 1, 1], &[0; 4]);
        assert!(fault().ends_with("no tensor `label`"), "{}", fault());
        let all = ["index", "label", "prediction", "broken"];
        write(&all, vec![2, 1, 1, 1], &[0; 8]);
        assert!(fault().contains("has 2 images"), "{}", fault());
        write(&all, vec![1, 1, 1, 1], &[0; 4]);
        assert!(fault().ends_with("no tensor `clean`"), "{}", fault());
        // Pixels without channels, more than can be counted.
        write(&all, vec![1, 0, 1 << 31, 1 << 31], &[]);
        let told = "`adversarial` has the shape [1, 0, 2147483648, 2147483648]: images without pixels";
        assert!(fault().ends_with(told), "{}", fault());
    }
}
