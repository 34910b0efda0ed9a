//! Hashes of labelled images, which identify the data of an evaluation.

use std::ops::ControlFlow;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use temper_core::Result;
use temper_data::{Batches, RawBatch, Source};
use temper_results::DataDigest;

/// The hash of a batch whose ids are indices in the whole data set.
pub(crate) fn of_batch(batch: &RawBatch) -> DataDigest {
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
        DataDigest(words)
    };
    samples.map(sample).reduce(DataDigest::default, DataDigest::plus)
}

/// The hash of all images of a source that can be decoded, in one pass over it. The callback `watch` gets the
/// number of images done and can cancel; the result is then `None`.
pub fn digest_of(
    source: &Arc<dyn Source>,
    watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<DataDigest>> {
    let (mut all, mut done) = (DataDigest::default(), 0);
    for batch in Batches::new(source.clone(), (0..source.len()).collect(), 256, None) {
        let mut batch = batch?;
        in_the_whole(&mut batch, &**source);
        all = all.plus(of_batch(&batch));
        done += batch.ids.len() + batch.skipped.len();
        if watch(done).is_break() && done < source.len() {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

/// Replaces sample ids by indices in the whole data set, so that a sample is attacked in the same way in
/// every subset.
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
        let all = of_batch(&batch(&[1, 2, 3], 0));
        let parts = of_batch(&batch(&[3], 0)).plus(of_batch(&batch(&[2, 1], 0)));
        assert_eq!(all, parts);
        assert_eq!(DataDigest::parse(&all.to_string()), Some(all));
        assert_ne!(all, of_batch(&batch(&[1, 2, 3], 1)));
        assert_ne!(all, of_batch(&batch(&[1, 2, 4], 0)));
        assert_eq!(DataDigest::parse("12"), None);
    }
}
