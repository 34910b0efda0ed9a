//! Images in memory, one byte vector a file.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use temper_core::{DataError, Image, Source};

/// Pixel bytes of an image: three planes of 32 rows.
pub(crate) const PIXELS: usize = 3 * 32 * 32;
/// More than any file of these data sets holds; a wrong file must not fill the memory.
const LARGEST: u64 = 1 << 30;

/// Images of one file.
#[derive(Debug)]
pub(crate) struct Part {
    /// Where the pixels lie, with whatever stands before and between them.
    pub(crate) bytes: Vec<u8>,
    /// Where those of the first image begin, and how far it is from one image to the next.
    pub(crate) offset: usize,
    pub(crate) stride: usize,
    pub(crate) labels: Vec<u8>,
}

/// Images of several files, in their order.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) parts: Vec<Part>,
    pub(crate) classes: Vec<String>,
    pub(crate) origin: String,
}

impl Source for Images {
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.labels.len()).sum()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, index: usize) -> Result<(Image, u32), DataError> {
        let mut at = index;
        for part in &self.parts {
            if let Some(label) = part.labels.get(at) {
                let bytes = part.bytes[part.offset + at * part.stride..][..PIXELS].to_vec();
                return Ok((Image { shape: [3, 32, 32], bytes }, u32::from(*label)));
            }
            at -= part.labels.len();
        }
        let what = format!("image {index} was asked for, there are {}", self.len());
        Err(DataError::Malformed { file: PathBuf::from(&self.origin), at: None, what })
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}

/// A whole file.
pub(crate) fn load(file: &Path) -> Result<Vec<u8>, DataError> {
    let io = |source| DataError::Io { file: file.into(), source };
    let size = fs::metadata(file).map_err(io)?.len();
    if size > LARGEST {
        let what = format!("{size} bytes, and no file of CIFAR has more than {LARGEST}");
        return Err(DataError::Malformed { file: file.into(), at: None, what });
    }
    fs::read(file).map_err(io)
}

/// What is said of a label that no class has; `image` counts within its file.
pub(crate) fn wrong_label(label: impl Display, image: usize, classes: usize) -> String {
    format!("label {label} of image {image}, expected 0 to {}", classes - 1)
}

/// What is said of too many or too few classes.
pub(crate) fn wrong_count(found: usize, classes: usize) -> String {
    format!("{found} class names, expected {classes}")
}
