//! The interface of sources of images.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::{Error, Result};
use crate::fit::Fit;
use crate::image::Image;

/// A split of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Training images.
    Train,
    /// Test images.
    Test,
}

/// Labelled images with random access, in memory or decoded on demand.
pub trait Source: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;

    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes, by label.
    fn classes(&self) -> &[String];

    /// The image with this index, in its own size, and its label. The error [`Error::Skipped`] means that the
    /// image must be skipped.
    fn read(&self, index: usize) -> Result<(Image, u32)>;

    /// The index of this image in the whole data set. Indices of a subset start at 0.
    fn index(&self, index: usize) -> usize {
        index
    }

    /// The name of the image's file without folder and extension; `None` if it has no file, or the name is
    /// not UTF-8. Corrupted versions of the image have the same name.
    fn name(&self, index: usize) -> Option<String> {
        let _ = index;
        None
    }

    /// The label of this image, if it is known without decoding the image.
    fn label(&self, index: usize) -> Option<u32> {
        let _ = index;
        None
    }

    /// The size in bytes of the file that contains only this image, if it is known without reading the file;
    /// `None` if there is no such file.
    fn file_size(&self, index: usize) -> Option<u64> {
        let _ = index;
        None
    }

    /// A hash by which copies of this image are recognised, without its label: of its values, or of the file
    /// that contains only this image. `None` if it cannot be read.
    fn digest(&self, index: usize) -> Option<u64> {
        let (image, _) = self.read(index).ok()?;
        let mut hasher = DefaultHasher::new();
        image.hash(&mut hasher);
        Some(hasher.finish())
    }

    /// How images are brought to one size; `None` if they all have the same size.
    fn fit(&self) -> Option<Fit> {
        None
    }

    /// The image with this index in the size of a batch, as networks see it without augmentation, and its label. Errors
    /// are those of [`Self::read`].
    fn seen(&self, index: usize) -> Result<(Image, u32)> {
        let (image, label) = self.read(index)?;
        Ok((if let Some(fit) = self.fit() { fit.apply(&image) } else { image }, label))
    }

    /// Where the images come from, for the run's output: a folder, or "embedded: ...".
    fn origin(&self) -> String;
}

/// Channels, height and width of a source's images in a batch, from the first image. Errors that affect all
/// images are therefore found early.
pub fn shape(source: &dyn Source) -> Result<[usize; 3]> {
    match (source.read(0), source.fit()) {
        (Ok((image, _)), Some(fit)) => Ok([image.shape[0], fit.size(), fit.size()]),
        (Ok((image, _)), None) => Ok(image.shape),
        // Images of different sizes are photos, in colour.
        (Err(Error::Skipped { .. }), Some(fit)) => Ok([3, fit.size(), fit.size()]),
        (Err(error), _) => Err(error),
    }
}
