//! ImageNet of the 2012 challenge (Russakovsky et al., IJCV 2015, <https://arxiv.org/abs/1409.0575>):
//! 1,281,167 training and 50,000 validation images of 1,000 classes, JPEG files of any size, in folders named
//! by synset.
//!
//! The label of a class is the index of its synset among all sorted synsets, as in torchvision. For testing
//! the shorter side is resized to 256 and the central 224 x 224 is cropped; training does the same unless
//! `train.augment` crops differently. Any number of synset folders is accepted, so that a subset of ImageNet
//! can be used.

#[cfg(test)]
mod fuzzed;
mod labels;

use std::path::Path;
use std::sync::Arc;

use temper_core::prelude::*;
use temper_core::{class_names, class_photos, list};

plugin! { Dataset "imagenet";
    /// ImageNet (ILSVRC 2012): 1,281,167 + 50,000 colour images of any size, 1,000
    /// classes; it tests on the validation images.
    /// The usual crops of training are `train.augment = { crop = "resized" }`.
    pub struct ImageNet {
        /// Folder that holds `train` and `val`; left out, `imagenet` below `$TEMPER_DATA` (or `data`).
        pub root: Option<PathBuf> = None,
        /// Labels of the validation images where these lie in one folder, below `root`; left out, the usual
        /// names are tried. A line each: `FILE SYNSET`, `FILE INDEX` (from 0), `SYNSET`, or the challenge's
        /// number from 1 to 1000.
        pub val_list: Option<PathBuf> = None,
        /// What the challenge's numbers mean, below `root`: lines `SYNSET NUMBER`, as in `map_clsloc.txt`.
        pub numbers: Option<PathBuf> = None,
        /// Side of the square that the network sees, in pixels.
        pub size: NonZeroUsize = nonzero(224),
        /// Shorter side, in pixels, to which an image is resized before its middle is cut out.
        pub resize: NonZeroUsize = nonzero(256),
        /// Leave out images that cannot be decoded, and count and list them; if false, the first one stops the run.
        pub skip_unreadable: bool = false,
    }
}

impl Dataset for ImageNet {
    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        let fit = Fit::new(self.resize.get(), self.size.get()).map_err(Error::refused)?;
        let root = self.find()?;
        let train = root.join("train");
        let classes = synsets(&train)?;
        let (path, photos, note) = match split {
            Split::Train => {
                let (photos, others) = class_photos(&train, &classes)?;
                (train, photos, beside(others))
            }
            Split::Test => {
                let val = root.join("val");
                let (photos, note) = self.validation(&root, &val, &classes)?;
                (val, photos, note)
            }
        };
        let origin = format!("{}{note}", path.display());
        let skip_unreadable = self.skip_unreadable;
        Ok(Arc::new(Photos { root: path, photos, classes, fit, skip_unreadable, origin }))
    }

    fn free_to_change(&self) -> &'static [&'static str] {
        &["skip_unreadable"]
    }

    fn facts(&self) -> Facts {
        let side = self.size.get();
        Facts {
            size: Some(Size { train: 1_281_167, test: 50_000, shape: [3, side, side], classes: 1000 }),
            normalisation: Some(Normalisation {
                name: "ImageNet's",
                mean: &[0.485, 0.456, 0.406],
                std: &[0.229, 0.224, 0.225],
            }),
            corrupted: Some("ImageNet-C"),
        }
    }
}

impl ImageNet {
    /// The first folder that contains `train` and `val`.
    fn find(&self) -> Result<PathBuf, DataError> {
        let mut looked = vec![];
        for root in temper_core::folders("imagenet", self.root.as_deref()) {
            let lacking: Vec<&str> =
                ["train", "val"].into_iter().filter(|part| !root.join(part).is_dir()).collect();
            match lacking[..] {
                [] => return Ok(root),
                [one] => {
                    looked = vec![format!("{} lacks {one}", root.display())];
                    break;
                }
                _ => looked.push(root.display().to_string()),
            }
        }
        Err(DataError::Missing {
            what: "imagenet (folders `train` and `val`)".into(),
            looked,
            how: "ImageNet is given out at https://image-net.org to those who ask; unpack its training images to \
                  train/SYNSET/*.JPEG and its validation images to val, in folders by synset or with a list of labels, \
                  and name the folder of both with `root`"
                .into(),
        })
    }

    /// The validation images, in class folders or in one folder.
    fn validation(
        &self,
        root: &Path,
        val: &Path,
        classes: &[String],
    ) -> Result<(Vec<Photo>, String), DataError> {
        let fault = |what| DataError::Malformed { file: val.into(), at: None, what };
        let folders = class_names(val)?;
        if folders.is_empty() {
            let images = list(val)?.images;
            if images.is_empty() {
                return Err(fault("no class folders and no images".into()));
            }
            let (labels, from) = labels::read(
                (root, val),
                &images,
                classes,
                (self.val_list.as_deref(), self.numbers.as_deref()),
            )?;
            let photo = |(file, label): (PathBuf, u32)| Photo { file: file.into(), label };
            return Ok((
                images.into_iter().zip(labels).map(photo).collect(),
                format!(", labels of {}", from.display()),
            ));
        }
        if self.val_list.is_some() {
            return Err(fault("`val_list` is for images in one folder, but here are class folders".into()));
        }
        if let Some(extra) = folders.iter().find(|folder| classes.binary_search(folder).is_err()) {
            return Err(fault(format!("class folder `{extra}`, which the training images do not have")));
        }
        if let Some(lacking) = classes.iter().find(|class| folders.binary_search(class).is_err()) {
            return Err(fault(format!("no class folder `{lacking}`, which the training images have")));
        }
        let (photos, others) = class_photos(val, classes)?;
        Ok((photos, beside(others)))
    }
}

/// The class folders of the training images.
fn synsets(train: &Path) -> Result<Vec<String>, DataError> {
    let fault = |what| DataError::Malformed { file: train.into(), at: None, what };
    let classes = class_names(train)?;
    if let Some(stranger) = classes.iter().find(|class| !is_synset(class)) {
        let what = format!(
            "class folder `{stranger}`, expected names of synsets such as n01440764; other folders are for the data set \
             `image-folder`"
        );
        return Err(fault(what));
    }
    match classes.len() {
        0 | 1 => {
            let n = classes.len();
            Err(fault(format!(
                "{n} class folders, expected two or more, 1000 for all of ImageNet (unpacked archives?)"
            )))
        }
        _ => Ok(classes),
    }
}

fn is_synset(name: &str) -> bool {
    name.strip_prefix('n')
        .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The note about files that are not images.
fn beside(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => " (and a file there that is no image)".into(),
        n => format!(" (and {n} files there that are no images)"),
    }
}
