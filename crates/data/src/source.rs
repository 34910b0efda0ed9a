//! Where images come from.

use crate::error::Result;

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

    /// None at all?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes, by label.
    fn classes(&self) -> &[String];

    /// The image with this index, and its label.
    fn read(&self, index: usize) -> Result<(Image, u32)>;

    /// Where the images come from, for the run's report: a folder, or "embedded: ...".
    fn origin(&self) -> String;
}
