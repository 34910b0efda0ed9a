//! Where images come from.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::{Error, Result};
use crate::fit::Fit;

/// One image: bytes of `[c, h, w]`, 0 to 255.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Planes, then rows.
    pub bytes: Vec<u8>,
}

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// To train on.
    Train,
    /// To judge by.
    Test,
}

/// Labelled images with random access, in memory or decoded on demand.
pub trait Source: Send + Sync {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes, by label.
    fn classes(&self) -> &[String];

    /// The image with this index, of the size that it has, and its label. [`Error::Skipped`]: it is to be left out.
    fn read(&self, index: usize) -> Result<(Image, u32)>;

    /// Where the image with this index stands in the whole data set: a part of one counts its images anew.
    fn index(&self, index: usize) -> usize {
        index
    }

    /// The name of the file that holds the image with this index, without folder and ending; `None`: it has none, or none in UTF-8.
    /// Sets that were made of these images, say corrupted ones, keep it.
    fn name(&self, index: usize) -> Option<String> {
        let _ = index;
        None
    }

    /// The label of the image with this index where it is known without decoding the image.
    fn label(&self, index: usize) -> Option<u32> {
        let _ = index;
        None
    }

    /// Bytes of the file that holds the image with this index alone, where that is known without reading it; `None`: it has none.
    fn file_size(&self, index: usize) -> Option<u64> {
        let _ = index;
        None
    }

    /// A hash of the image with this index by which copies of it are known, not of its label: of its values, or of the file that
    /// holds it alone. `None`: it cannot be read.
    fn digest(&self, index: usize) -> Option<u64> {
        let (image, _) = self.read(index).ok()?;
        let mut hasher = DefaultHasher::new();
        (image.shape, &image.bytes).hash(&mut hasher);
        Some(hasher.finish())
    }

    /// How images of many sizes become images of one size; `None`: they are of one size.
    fn fit(&self) -> Option<Fit> {
        None
    }

    /// Where the images come from, for the run's report: a folder, or "embedded: ...".
    fn origin(&self) -> String;
}

/// Channels, height and width of a source's images in a batch, after a look at the first one: what is wrong with all of
/// them shows before any work.
pub fn shape(source: &dyn Source) -> Result<[usize; 3]> {
    match (source.read(0), source.fit()) {
        (Ok((image, _)), Some(fit)) => Ok([image.shape[0], fit.size(), fit.size()]),
        (Ok((image, _)), None) => Ok(image.shape),
        // Those that come in many sizes are photos, in colour.
        (Err(Error::Skipped { .. }), Some(fit)) => Ok([3, fit.size(), fit.size()]),
        (Err(error), _) => Err(error),
    }
}
