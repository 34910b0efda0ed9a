//! `images.safetensors`, what `temper attack --save` writes of images and of what the network took them for.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::figure::Image;
use crate::files;
use crate::results::Error;

/// One image after an attack.
#[derive(Debug, Clone)]
pub struct Attacked {
    /// Where it stands in the whole split that it is of.
    pub index: i64,
    /// Its class.
    pub label: i64,
    /// What the network takes the attacked image for; `None` where that is not known.
    pub prediction: Option<i64>,
    /// Whether the attack broke the network, or it was wrong before.
    pub broken: bool,
    /// As the attack left it. Images that were wrong before are not attacked.
    pub image: Image,
}

/// Reads them, in the file's order; pixels of [0, 1] become the nearest bytes.
pub fn read_attacked(folder: &Path) -> Result<Vec<Attacked>, Error> {
    let file = folder.join("images.safetensors");
    let bytes = files::tensors(&file)?;
    let unfit = |what: String| Error::Unfit { file: file.clone(), what };
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
    let images = view("adversarial", Dtype::F32, 4)?;
    let [n, c, h, w] = [0, 1, 2, 3].map(|i| images.shape()[i]);
    if [&index, &label, &prediction, &broken].iter().any(|column| column.len() != n) {
        return Err(unfit(format!("`adversarial` has {n} images, another tensor has not as many numbers")));
    }
    // Of no bytes there may be any number of pixels.
    if n > 0 && images.data().is_empty() {
        return Err(unfit(format!(
            "`adversarial` has the shape {:?}: images without pixels",
            images.shape()
        )));
    }
    let (floats, _) = images.data().as_chunks::<4>();
    let byte = |at: usize| (f32::from_le_bytes(floats[at]).clamp(0.0, 1.0) * 255.0).round() as u8;
    let mut all = vec![];
    for i in 0..n {
        // Planes become pixels.
        let pixels = (0..h * w).flat_map(|at| (0..c).map(move |plane| (i * c + plane) * h * w + at));
        let image = Image::new(w, h, pixels.map(byte).collect()).map_err(|error| unfit(error.to_string()))?;
        all.push(Attacked {
            index: index[i],
            label: label[i],
            prediction: (prediction[i] >= 0).then_some(prediction[i]),
            broken: broken[i] != 0,
            image,
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use safetensors::tensor::{TensorView, serialize_to_file};

    use super::*;

    /// Two images of three channels, one row, two columns.
    fn write(folder: &Path, leave_out: &str, shorten: &str) {
        let pixels: Vec<u8> = (0..12).map(|i| i as f32 / 255.0).flat_map(f32::to_le_bytes).collect();
        let column = |numbers: [i64; 2]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        let columns = BTreeMap::from([
            ("index", column([4, 9])),
            ("label", column([1, 2])),
            ("prediction", column([1, -1])),
            ("broken", column([0, 1])),
        ]);
        let mut views =
            vec![("adversarial", TensorView::new(Dtype::F32, vec![2, 3, 1, 2], &pixels).unwrap())];
        for (name, bytes) in columns.iter().filter(|(name, _)| **name != leave_out) {
            let n = if *name == shorten { 1 } else { 2 };
            views.push((name, TensorView::new(Dtype::I64, vec![n], &bytes[..8 * n]).unwrap()));
        }
        serialize_to_file(views, None, &folder.join("images.safetensors")).unwrap();
    }

    #[test]
    fn planes_become_pixels_and_unknown_predictions_none() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "", "");
        let all = read_attacked(folder.path()).unwrap();
        // Red, green and blue of the first pixel, then of the second.
        assert_eq!(all[0].image, Image::new(2, 1, vec![0, 2, 4, 1, 3, 5]).unwrap());
        assert_eq!(all[1].image, Image::new(2, 1, vec![6, 8, 10, 7, 9, 11]).unwrap());
        let said: Vec<_> = all.iter().map(|one| (one.index, one.label, one.prediction, one.broken)).collect();
        assert_eq!(said, [(4, 1, Some(1), false), (9, 2, None, true)]);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let fault = || read_attacked(folder.path()).unwrap_err().to_string();
        assert!(fault().contains("images.safetensors"), "{}", fault());
        write(folder.path(), "label", "");
        assert!(fault().ends_with("no tensor `label`"), "{}", fault());
        write(folder.path(), "", "broken");
        assert!(fault().contains("has 2 images"), "{}", fault());
        // Pixels without channels, more than can be counted.
        let (column, none) = (1i64.to_le_bytes(), vec![1, 0, 1 << 31, 1 << 31]);
        let view = TensorView::new(Dtype::F32, none, &[]).unwrap();
        let columns = ["index", "label", "prediction", "broken"];
        let columns = columns.map(|name| (name, TensorView::new(Dtype::I64, vec![1], &column).unwrap()));
        let views = columns.into_iter().chain([("adversarial", view)]);
        serialize_to_file(views, None, &folder.path().join("images.safetensors")).unwrap();
        assert!(
            fault().ends_with(
                "`adversarial` has the shape [1, 0, 2147483648, 2147483648]: images without pixels"
            ),
            "{}",
            fault()
        );
    }
}
