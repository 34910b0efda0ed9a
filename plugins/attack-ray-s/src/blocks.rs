//! Blocks of pixel values whose signs are flipped together.

use std::ops::Range;

/// An endless iteration over blocks of an image's `len` values: all at once, halves, quarters, and so on to single
/// values, which are repeated forever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks {
    len: usize,
    /// Values in a block; the last block may have fewer.
    size: usize,
    /// The image is cut into two to the power of this many blocks.
    level: u32,
    start: usize,
}

impl Blocks {
    pub(crate) fn new(len: usize) -> Self {
        Self { len, size: len, level: 0, start: 0 }
    }

    /// The values of the current block.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.len.min(self.start + self.size)
    }

    /// Goes to the next block.
    pub(crate) fn advance(&mut self) {
        self.start += self.size;
        if self.start < self.len {
            return;
        }
        self.start = 0;
        // While blocks have more than one value, there are fewer blocks than values, so the shift does not overflow.
        if self.size > 1 {
            self.level += 1;
            self.size = self.len.div_ceil(1 << self.level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_an_image_of_any_size_and_end_at_single_values() {
        for len in [1, 2, 5, 48, 784] {
            let (mut blocks, mut sizes) = (Blocks::new(len), vec![]);
            loop {
                let (size, mut end) = (blocks.range().len(), 0);
                while end < len {
                    let range = blocks.range();
                    assert!(range.start == end && range.end > range.start, "{len}: {range:?}");
                    end = range.end;
                    blocks.advance();
                }
                sizes.push(size);
                if size == 1 {
                    break;
                }
            }
            let halves: Vec<usize> = (0..sizes.len()).map(|level| len.div_ceil(1 << level)).collect();
            assert_eq!(sizes, halves, "{len}");
            assert_eq!(blocks.range(), 0..1, "{len}: single values again");
        }
    }
}
