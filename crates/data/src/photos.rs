//! Images that lie in files of their own and are decoded when they are asked for.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::decode::decode;
use crate::error::{Error, Result};
use crate::fit::Fit;
use crate::source::{Image, Source};

/// Bytes in the middle of a file by which copies of it are known.
const WINDOW: u64 = 1 << 14;

/// One file and its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Where it lies below the root of its [`Photos`].
    pub file: Box<Path>,
    /// Its class.
    pub label: u32,
}

/// JPEG and PNG files of any size, in colour or not.
#[derive(Debug)]
pub struct Photos {
    /// What the files' paths begin with.
    pub root: PathBuf,
    /// The files.
    pub photos: Vec<Photo>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// How images become one size.
    pub fit: Fit,
    /// Leave out images that cannot be decoded? Else the first is an error.
    pub skip_unreadable: bool,
    /// For the run's report.
    pub origin: String,
}

impl Source for Photos {
    fn len(&self) -> usize {
        self.photos.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, index: usize) -> Result<(Image, u32)> {
        let Some(Photo { file, label }) = self.photos.get(index) else {
            let what = format!("image {index} was asked for, there are {}", self.photos.len());
            return Err(Error::Malformed { file: self.root.clone(), at: None, what });
        };
        let file = self.root.join(file);
        // A file that is not there, or a disk that fails, is no fault of an image: that is never skipped.
        let bytes = fs::read(&file).map_err(|source| Error::Io { file: file.clone(), source })?;
        match decode(&bytes) {
            Ok(image) => Ok((image, *label)),
            Err(what) if self.skip_unreadable => Err(Error::Skipped { file, what }),
            Err(what) => Err(Error::Unreadable { file, what }),
        }
    }

    fn name(&self, index: usize) -> Option<String> {
        self.photos.get(index)?.file.file_stem()?.to_str().map(String::from)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.photos.get(index).map(|photo| photo.label)
    }

    fn file_size(&self, index: usize) -> Option<u64> {
        let file = self.root.join(&self.photos.get(index)?.file);
        fs::metadata(file).ok().map(|told| told.len())
    }

    /// Of the file's size and of a window in its middle: images of a camera share their heads, and large sets must not be read
    /// whole.
    fn digest(&self, index: usize) -> Option<u64> {
        let mut file = fs::File::open(self.root.join(&self.photos.get(index)?.file)).ok()?;
        let size = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(WINDOW) / 2)).ok()?;
        let mut window = vec![];
        file.take(WINDOW).read_to_end(&mut window).ok()?;
        let mut hasher = DefaultHasher::new();
        (size, window).hash(&mut hasher);
        Some(hasher.finish())
    }

    fn fit(&self) -> Option<Fit> {
        Some(self.fit)
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_and_labels_are_known_undecoded() {
        let photo = |file: &str, label| Photo { file: Path::new(file).into(), label };
        let photos = Photos {
            root: "nowhere".into(),
            photos: vec![photo("b/ILSVRC2012_val_00000002.JPEG", 1), photo("a/x.y/one.two.png", 0)],
            classes: vec!["a".into(), "b".into()],
            fit: Fit::new(4, 2).unwrap(),
            skip_unreadable: false,
            origin: "photos".into(),
        };
        assert_eq!(photos.name(0).as_deref(), Some("ILSVRC2012_val_00000002"));
        assert_eq!(photos.name(1).as_deref(), Some("one.two"));
        assert_eq!([0, 1, 2].map(|index| photos.label(index)), [Some(1), Some(0), None]);
        assert_eq!(photos.name(2), None);
    }
}
