//! Images in memory, with one byte vector per file.

use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};

use temper_core::{Bounded, DataError, Image, Source};

/// Pixel bytes of an image: three planes of 32 rows.
pub(crate) const PIXELS: usize = 3 * 32 * 32;
/// Larger than any image file of these data sets; a wrong file must not fill the memory.
const LARGEST: u64 = 1 << 30;
/// Larger than any file of class names.
const NAMES: u64 = 1 << 20;
/// Number of bytes that identify the format of a file.
const START: u64 = 16;

/// Images of one file.
#[derive(Debug)]
pub(crate) struct BatchFile {
    /// The file's contents, with headers before and between the pixels.
    pub(crate) bytes: Vec<u8>,
    /// Offset of the first image's pixels, and distance from one image to the next.
    pub(crate) offset: usize,
    pub(crate) stride: usize,
    pub(crate) labels: Vec<u8>,
}

/// Images of several files, in order.
#[derive(Debug)]
pub(crate) struct CifarImages {
    pub(crate) parts: Vec<BatchFile>,
    pub(crate) classes: Vec<String>,
    pub(crate) origin: String,
}

impl Source for CifarImages {
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
                return Ok((Image::of_bytes([3, 32, 32], bytes), u32::from(*label)));
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

/// A complete image file. Errors that its length and its first bytes (at most [`START`]) show are reported
/// before the rest is read: the offset, and the message.
pub(crate) fn load(
    file: &Path,
    look: impl Fn(u64, &[u8]) -> Result<(), (usize, String)>,
) -> Result<Vec<u8>, DataError> {
    let bounded = Bounded { file, most: LARGEST, what: "a file of CIFAR's images" };
    let (mut input, size) = bounded.open()?;
    let mut start = vec![];
    let read = input.by_ref().take(START).read_to_end(&mut start);
    read.map_err(|source| DataError::Io { file: file.into(), source })?;
    look(size, &start).map_err(|(at, what)| DataError::Malformed {
        file: file.into(),
        at: Some(at as u64),
        what,
    })?;
    Ok(bounded.bytes()?)
}

/// A complete file of class names.
pub(crate) fn load_names(file: &Path) -> Result<Vec<u8>, DataError> {
    Ok(Bounded { file, most: NAMES, what: "a file of the names of CIFAR's classes" }.bytes()?)
}

/// The message about a label that is not a class; `image` counts within its file.
pub(crate) fn wrong_label(label: impl Display, image: usize, classes: usize) -> String {
    format!("label {label} of image {image}, expected 0 to {}", classes - 1)
}

/// The message about a wrong number of classes.
pub(crate) fn wrong_count(found: usize, classes: usize) -> String {
    format!("{found} class names, expected {classes}")
}
