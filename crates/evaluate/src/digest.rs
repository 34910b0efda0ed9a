//! Hashes of data, by which a number says what it was measured on.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use temper_core::Result;
use temper_data::{Batches, RawBatch, Source};

/// A hash of labelled images, whatever their order and batches: the sum of the SHA-256 of every sample (index in the data set,
/// label, pixel values as f32), taken as four numbers of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataDigest([u64; 4]);

impl DataDigest {
    /// Of a batch whose ids are indices in the whole data set.
    pub fn of(batch: &RawBatch) -> Self {
        let len = batch.shape.iter().product::<usize>().max(1);
        let samples = batch.pixels.par_chunks(len).zip(&batch.labels).zip(&batch.ids);
        let sample = |((pixels, label), id): ((&[f32], &u32), &u64)| {
            let mut hash = Sha256::new();
            hash.update(id.to_le_bytes());
            hash.update(label.to_le_bytes());
            for value in pixels {
                hash.update(value.to_le_bytes());
            }
            let mut words = [0; 4];
            for (word, bytes) in words.iter_mut().zip(hash.finalize().chunks_exact(8)) {
                *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            }
            Self(words)
        };
        samples.map(sample).reduce(Self::default, Self::plus)
    }

    /// Of both.
    pub fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }

    /// As [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |i: usize| u64::from_str_radix(text.get(16 * i..16 * (i + 1))?, 16).ok();
        (text.len() == 64).then_some(())?;
        Some(Self([word(0)?, word(1)?, word(2)?, word(3)?]))
    }

    /// Of all images of a source that can be decoded: one pass over it. `watch` hears how many are done, and may break off: then
    /// there is none.
    pub fn of_source(
        source: &Arc<dyn Source>,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Self>> {
        let (mut all, mut done) = (Self::default(), 0);
        for batch in Batches::new(source.clone(), (0..source.len()).collect(), 256, None) {
            let mut batch = batch?;
            in_the_whole(&mut batch, &**source);
            all = all.plus(Self::of(&batch));
            done += batch.ids.len() + batch.skipped.len();
            if watch(done).is_break() && done < source.len() {
                return Ok(None);
            }
        }
        Ok(Some(all))
    }
}

impl fmt::Display for DataDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

/// Names samples by their index in the whole data set, so that a sample is attacked alike in every part of it.
pub(crate) fn in_the_whole(batch: &mut RawBatch, source: &dyn Source) {
    let whole = |id: &mut u64| *id = source.index(*id as usize) as u64;
    batch.ids.iter_mut().for_each(whole);
    batch.skipped.iter_mut().for_each(|(id, _)| whole(id));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(ids: &[u64], label: u32) -> RawBatch {
        let pixels = ids.iter().flat_map(|id| [*id as f32 / 255.0, 0.5]).collect();
        RawBatch {
            pixels,
            shape: [1, 1, 2],
            labels: vec![label; ids.len()],
            ids: ids.to_vec(),
            skipped: vec![],
        }
    }

    #[test]
    fn order_and_batches_do_not_matter_but_content_does() {
        let all = DataDigest::of(&batch(&[1, 2, 3], 0));
        let parts = DataDigest::of(&batch(&[3], 0)).plus(DataDigest::of(&batch(&[2, 1], 0)));
        assert_eq!(all, parts);
        assert_eq!(DataDigest::parse(&all.to_string()), Some(all));
        assert_ne!(all, DataDigest::of(&batch(&[1, 2, 3], 1)));
        assert_ne!(all, DataDigest::of(&batch(&[1, 2, 4], 0)));
        assert_eq!(DataDigest::parse("12"), None);
    }
}
