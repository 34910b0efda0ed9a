//! The user's own images in `NumPy`'s files: `.npz` archives, or one `.npy` file of images and one of labels.
//!
//! ```toml
//! dataset.npz = { path = "test.npz" }
//! dataset.npz = { images = "x.npy", labels = "y.npy", classes = 10 }
//! dataset.npz = { path = "test.npz", train_path = "train.npz", layout = "nhwc" }
//! ```
//!
//! Images are bytes, or floating point in [0, 1]: `[n, h, w]` (grey), `[n, h, w, c]` or `[n, c, h, w]` with 1 or 3
//! channels. Labels are whole numbers `[n]` or `[n, 1]`, from 0 on.
//! No code in a file is run: arrays of Python's objects are refused. The format:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

mod archive;
mod array;
#[cfg(test)]
mod fuzzed;
mod images;
mod keys;
mod labels;

use std::path::Path;
use std::sync::Arc;

use archive::Archive;
use array::Array;
use images::{Images, Layout};
use temper_core::prelude::*;

plugin! { Dataset "npz";
    /// Images and labels in NumPy's files: `.npz` archives, or `.npy` files. Images are uint8, or float in [0, 1]:
    /// [n, h, w], [n, h, w, c] or [n, c, h, w].
    pub struct Npz {
        /// Archive of the test images and their labels. If it has arrays x_train and x_test, it serves both splits.
        pub path: Option<PathBuf> = None,
        /// Test images as a `.npy` file, instead of `path`.
        pub images: Option<PathBuf> = None,
        /// Their labels, [n] or [n, 1], as a `.npy` file.
        pub labels: Option<PathBuf> = None,
        /// Archive of the training images and their labels.
        pub train_path: Option<PathBuf> = None,
        /// Training images as a `.npy` file, instead of `train_path`.
        pub train_images: Option<PathBuf> = None,
        /// Their labels as a `.npy` file.
        pub train_labels: Option<PathBuf> = None,
        /// Name of the array of images in archives. Left out, it is found: images, x, x_test, x_train, data, arr_0.
        pub images_key: Option<String> = None,
        /// Name of the array of labels in archives. Left out, it is found: labels, y, y_test, y_train, targets, arr_1.
        pub labels_key: Option<String> = None,
        /// Order of the axes of images with channels. Left out, the axis of 1 or 3 tells it.
        pub layout: Option<Layout> = None,
        /// Number of classes. Left out, the number of `class_names`, or the largest label plus 1.
        pub classes: Option<NonZeroUsize> = None,
        /// Names of the classes, by label. Left out, the classes are called 0, 1, ...
        pub class_names: Option<Vec<String>> = None,
    }
}

/// The location of a split, according to the options.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    /// An archive.
    Archive(&'a Path),
    /// Images and labels.
    Arrays(&'a Path, &'a Path),
    /// Not given.
    Absent,
}

impl Dataset for Npz {
    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        let Some([images, labels]) = self.arrays(split)? else { return Err(absent(split)) };
        let [n, ..] = images::axes(&images, self.layout)?;
        let (labels, labels_place) = labels::read(labels, n)?;
        let largest = largest(&labels).max(self.largest_of_other(split)?);
        let classes = self.class_names(&labels, largest, &labels_place)?;
        let (images, place) = images::read(images, self.layout)?;
        let fine = match images.pixels {
            Pixels::Bytes(_) => "",
            Pixels::Floats(_) => ", some values between multiples of 1/255",
        };
        let origin = format!("{place}{fine}, labels: {labels_place}");
        Ok(Arc::new(Labelled { images, labels, classes, origin }))
    }
}

impl Npz {
    /// The location of a split. An error if its options contradict each other.
    fn place(&self, split: Split) -> Result<Place<'_>> {
        let (names, options) = match split {
            Split::Test => (["path", "images", "labels"], [&self.path, &self.images, &self.labels]),
            Split::Train => (
                ["train_path", "train_images", "train_labels"],
                [&self.train_path, &self.train_images, &self.train_labels],
            ),
        };
        let [path, images, labels] = options.map(Option::as_deref);
        match (path, images, labels) {
            (Some(path), None, None) => Ok(Place::Archive(path)),
            (None, Some(images), Some(labels)) => Ok(Place::Arrays(images, labels)),
            (None, None, None) => Ok(Place::Absent),
            (Some(_), ..) => Err(Error::refused(format!(
                "`{}` names an archive of images and labels: leave `{}` and `{}` out, or `{0}`",
                names[0], names[1], names[2]
            ))),
            (None, one, _) => {
                let (given, lacks) = if one.is_some() { (names[1], names[2]) } else { (names[2], names[1]) };
                Err(Error::refused(format!("`{given}` without `{lacks}`: both name a `.npy` file")))
            }
        }
    }

    /// The images and the labels of a split, of which only headers are read; `None` if the options do not name them.
    fn arrays(&self, split: Split) -> Result<Option<[Array; 2]>> {
        let archive = match self.place(split)? {
            Place::Archive(path) => Archive::open(path)?,
            Place::Arrays(images, labels) => return Ok(Some([Array::open(images)?, Array::open(labels)?])),
            Place::Absent => match (split, self.place(Split::Test)?) {
                (Split::Train, Place::Archive(path)) if self.images_key.is_none() => {
                    let archive = Archive::open(path)?;
                    if !keys::both(&archive.keys()) {
                        return Ok(None);
                    }
                    archive
                }
                _ => return Ok(None),
            },
        };
        let given = [self.images_key.as_deref(), self.labels_key.as_deref()];
        let keys = keys::choose(&archive.keys(), split, given);
        let [images, labels] =
            keys.map_err(|what| DataError::Malformed { file: archive.path.clone(), at: None, what })?;
        Ok(Some([Array::within(&archive, &images)?, Array::within(&archive, &labels)?]))
    }

    /// The largest label of the other split, so that both splits have the same classes. If the options determine the
    /// number of classes, no file is read and the result is 0.
    fn largest_of_other(&self, split: Split) -> Result<u32> {
        if self.classes.is_some() || self.class_names.is_some() {
            return Ok(0);
        }
        let other = if split == Split::Train { Split::Test } else { Split::Train };
        let Some([images, labels]) = self.arrays(other)? else { return Ok(0) };
        let [n, ..] = images::axes(&images, self.layout)?;
        Ok(largest(&labels::read(labels, n)?.0))
    }

    /// Names of the classes. An error if a label has no name.
    fn class_names(&self, labels: &[u32], largest: u32, place: &str) -> Result<Vec<String>> {
        let named = self.class_names.as_ref().map(Vec::len);
        let given = self.classes.map(NonZeroUsize::get);
        if let (Some(named), Some(given)) = (named, given)
            && named != given
        {
            return Err(Error::refused(format!("`class_names` has {named} names, but `classes` is {given}")));
        }
        let n = given.or(named).unwrap_or(largest as usize + 1);
        if n as u64 > labels::CLASSES {
            return Err(Error::refused(format!("`classes` is {n}, expected at most {}", labels::CLASSES)));
        }
        if let Some(image) = labels.iter().position(|label| *label as usize >= n) {
            let what =
                format!("image {image} has label {}, but there are {n} classes, from 0 on", labels[image]);
            return Err(Error::refused(format!("{place}: {what}")));
        }
        Ok(self.class_names.clone().unwrap_or_else(|| (0..n).map(|class| class.to_string()).collect()))
    }
}

/// The error about a split that the options do not give.
fn absent(split: Split) -> Error {
    Error::refused(match split {
        Split::Test => {
            "npz has no test images: add `path`, a `.npz` archive, or `images` and `labels`, two `.npy` files"
        }
        Split::Train => {
            "npz has no training images: add `train_path`, a `.npz` archive, or `train_images` and `train_labels`, two \
             `.npy` files"
        }
    })
}

fn largest(labels: &[u32]) -> u32 {
    labels.iter().copied().max().unwrap_or(0)
}

/// Images and their labels, in memory.
#[derive(Debug)]
struct Labelled {
    images: Images,
    labels: Vec<u32>,
    classes: Vec<String>,
    origin: String,
}

impl Source for Labelled {
    fn len(&self) -> usize {
        self.images.n
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, index: usize) -> Result<(Image, u32), DataError> {
        let (Some(image), Some(label)) = (self.images.image(index), self.labels.get(index)) else {
            let what = format!("image {index} was asked for, there are {}", self.len());
            return Err(DataError::Malformed { file: PathBuf::from(&self.origin), at: None, what });
        };
        Ok((image, *label))
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied()
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}

#[cfg(test)]
mod tests;
