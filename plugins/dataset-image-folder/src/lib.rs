//! The user's own images: folders whose names are the classes, laid out as for torchvision's `ImageFolder`,
//! or a CSV file of files and labels. Images are JPEG or PNG in any size, grey or in colour, decoded on
//! demand.
//!
//! Deviations from `ImageFolder`: the classes are those of the training images, and other classes among the
//! test images are an error instead of other labels; hidden folders are not classes; images in other formats
//! than JPEG and PNG are an error.

mod csv;
#[cfg(test)]
mod fuzzed;

use std::path::Path;
use std::sync::Arc;

use temper_core::prelude::*;
use temper_core::{class_names, class_photos};

plugin! { Dataset "image-folder";
    /// Images in class folders or listed by CSV files: JPEG and PNG, of any size, as RGB.
    pub struct ImageFolder {
        /// Folder that holds `train` and `test`; left out, `image-folder` below `$TEMPER_DATA` (or `data`).
        pub root: Option<PathBuf> = None,
        /// Training images, below `root`: a folder of class folders, or a CSV file with the columns `file`
        /// and `label`, whose paths begin where it lies.
        pub train: PathBuf = PathBuf::from("train"),
        /// Test images, in the same way.
        pub test: PathBuf = PathBuf::from("test"),
        /// Side of the square that the network sees, in pixels: the middle of the image, or what `train.augment` crops.
        pub size: NonZeroUsize = nonzero(224),
        /// Shorter side, in pixels, to which an image is resized before its middle is cut out; left out, `size`.
        pub resize: Option<NonZeroUsize> = None,
        /// Leave out images that cannot be decoded, and count and list them; if false, the first one stops the run.
        pub skip_unreadable: bool = false,
    }
}

impl Dataset for ImageFolder {
    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        let size = self.size.get();
        let fit = Fit::new(self.resize.map_or(size, NonZeroUsize::get), size).map_err(Error::refused)?;
        let (train, test) = self.find()?;
        let path = if split == Split::Train { &train } else { &test };
        let Labelled { root, photos, classes, note } = match (train.is_dir(), path.is_dir()) {
            (true, true) => folders(&train, path)?,
            (false, false) => csv::read(&train, path)?,
            _ => return Err(Error::refused("`train` and `test` must both be folders, or both CSV files")),
        };
        let origin = format!("{}{note}", path.display());
        let skip_unreadable = self.skip_unreadable;
        Ok(Arc::new(Photos { root, photos, classes, fit, skip_unreadable, origin }))
    }

    fn free_to_change(&self) -> &'static [&'static str] {
        &["skip_unreadable"]
    }
}

impl ImageFolder {
    /// The paths of `train` and `test` in the first root that contains one of them.
    fn find(&self) -> Result<(PathBuf, PathBuf), DataError> {
        let roots = temper_core::folders("image-folder", self.root.as_deref());
        let mut looked = vec![];
        for root in &roots {
            let (train, test) = (root.join(&self.train), root.join(&self.test));
            let lacking: Vec<String> =
                [&train, &test].iter().filter(|p| !p.exists()).map(|p| p.display().to_string()).collect();
            match lacking.len() {
                0 => return Ok((train, test)),
                1 => {
                    let looked = vec![format!("{} lacks {}", root.display(), lacking[0])];
                    return Err(missing(looked));
                }
                _ => looked.extend(lacking),
            }
        }
        Err(missing(looked))
    }
}

fn missing(looked: Vec<String>) -> DataError {
    DataError::Missing {
        what: "images (training and test)".into(),
        looked,
        how: "name the folder that holds both with `root`, and the parts of it with `train` and `test`: folders of class \
              folders, or CSV files"
            .into(),
    }
}

/// Files with their labels.
struct Labelled {
    /// The root of their paths.
    root: PathBuf,
    photos: Vec<Photo>,
    classes: Vec<String>,
    /// A note about the files for the run's output.
    note: String,
}

/// The images of the class folders in `path`; the classes are those of `train`.
fn folders(train: &Path, path: &Path) -> Result<Labelled, DataError> {
    let fault = |file: &Path, what| DataError::Malformed { file: file.into(), at: None, what };
    let classes = class_names(train)?;
    if classes.len() < 2 {
        let what = match classes.first() {
            None => "no class folders; images that lie in one folder need a CSV file of `file,label`".into(),
            Some(only) => format!("a single class folder, `{only}`: there is nothing to classify"),
        };
        return Err(fault(train, what));
    }
    if path != train {
        let ours = class_names(path)?;
        let train = train.display();
        if let Some(extra) = ours.iter().find(|class| !classes.contains(class)) {
            return Err(fault(path, format!("class folder `{extra}`, which {train} does not have")));
        }
        if let Some(lacking) = classes.iter().find(|class| !ours.contains(class)) {
            return Err(fault(path, format!("no class folder `{lacking}`, which {train} has")));
        }
    }
    let (photos, others) = class_photos(path, &classes)?;
    let note = match others {
        0 => String::new(),
        1 => " (and a file there that is no image)".into(),
        n => format!(" (and {n} files there that are no images)"),
    };
    Ok(Labelled { root: path.into(), photos, classes, note })
}
