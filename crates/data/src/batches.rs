//! Batches, decoded in parallel ahead of the step that uses them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use rayon::prelude::*;

use crate::augment::Augment;
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::source::Source;

/// Number of batches decoded ahead.
const AHEAD: usize = 2;

/// A batch as plain numbers in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct RawBatch {
    /// `[n, c, h, w]` in [0, 1].
    pub pixels: Vec<f32>,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Classes, `[n]`.
    pub labels: Vec<u32>,
    /// The index of each sample in its source.
    pub ids: Vec<u64>,
    /// Samples of this batch that cannot be decoded, with the reason. If all of them are skipped, the batch
    /// is empty.
    pub skipped: Vec<(u64, String)>,
}

/// An iterator over the batches of one pass. A separate thread decodes ahead.
#[derive(Debug)]
pub struct Batches {
    receiver: Option<Receiver<Result<RawBatch>>>,
    reader: Option<JoinHandle<()>>,
}

impl Batches {
    /// The samples `order` of `source` in batches of `size`; the last batch may be smaller. `augment`, if
    /// given, changes each image with random numbers keyed by the sample.
    pub fn new(
        source: Arc<dyn Source>,
        order: Vec<usize>,
        size: usize,
        augment: Option<(Augment, Rng)>,
    ) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        let reader = std::thread::spawn(move || {
            for indices in order.chunks(size.max(1)) {
                let batch = read(&*source, indices, augment);
                let failed = batch.is_err();
                // The receiver is gone: the pass was abandoned.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        });
        Self { receiver: Some(receiver), reader: Some(reader) }
    }
}

impl Iterator for Batches {
    type Item = Result<RawBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(batch) = self.receiver.as_ref()?.recv() {
            return Some(batch);
        }
        self.receiver = None;
        // A panic of the reader must not look like the end of the pass.
        if let Some(Err(panic)) = self.reader.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        None
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // Without a receiver the reader stops at its next batch.
        self.receiver = None;
        if let Some(reader) = self.reader.take() {
            // The pass was abandoned; a panic of the reader was already printed and has no further effect.
            let _ = reader.join();
        }
    }
}

fn read(source: &dyn Source, indices: &[usize], augment: Option<(Augment, Rng)>) -> Result<RawBatch> {
    let fit = source.fit();
    // A large image is dropped as soon as it has been copied.
    let image = |&index: &usize| match source.read(index) {
        Ok((image, label)) => Ok(Ok(match (augment, fit) {
            (Some((augment, rng)), fit) => (augment.apply(image, fit, &mut rng.sample(index as u64)), label),
            (None, Some(fit)) => (fit.apply(&image), label),
            (None, None) => (image, label),
        })),
        Err(skipped @ Error::Skipped { .. }) => Ok(Err(skipped.to_string())),
        Err(error) => Err(error),
    };
    let all: Vec<Result<_>> = indices.par_iter().map(image).collect();
    let (mut images, mut ids, mut skipped) = (Vec::with_capacity(all.len()), vec![], vec![]);
    for (image, &index) in all.into_iter().zip(indices) {
        match image? {
            Ok(image) => {
                images.push(image);
                ids.push(index as u64);
            }
            Err(why) => skipped.push((index as u64, why)),
        }
    }
    let classes = source.classes().len();
    let shape = images.first().map_or([0; 3], |(image, _)| image.shape);
    for ((image, label), id) in images.iter().zip(&ids) {
        let index = source.index(*id as usize);
        if image.shape != shape {
            return Err(Error::Shape { index, got: image.shape, expected: shape });
        }
        if image.len() != shape.iter().product::<usize>() {
            return Err(Error::Values { index, got: image.len(), shape });
        }
        if *label as usize >= classes {
            return Err(Error::Label { index, label: *label, classes });
        }
    }
    let len: usize = shape.iter().product();
    let mut pixels = vec![0.0; images.len() * len];
    pixels.par_chunks_mut(len.max(1)).zip(&images).for_each(|(row, (image, _))| {
        image.write(row);
    });
    let labels = images.iter().map(|(_, label)| *label).collect();
    Ok(RawBatch { pixels, shape, labels, ids, skipped })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{Crop, Fill};
    use crate::image::Image;

    struct Numbers(usize, Vec<String>);
    impl Source for Numbers {
        fn len(&self) -> usize {
            self.0
        }
        fn classes(&self) -> &[String] {
            &self.1
        }
        fn read(&self, index: usize) -> Result<(Image, u32)> {
            if index % 25 == 13 {
                return Err(Error::Skipped { file: format!("{index}.png").into(), what: "torn".into() });
            }
            let side = if index == 90 { 2 } else { 1 };
            let image = Image::of_bytes([1, side, 1], vec![index as u8; side]);
            Ok((image, index as u32 % 10))
        }
        fn origin(&self) -> String {
            "numbers".into()
        }
    }

    fn source(classes: usize) -> Arc<dyn Source> {
        Arc::new(Numbers(100, (0..classes).map(|c| c.to_string()).collect()))
    }

    #[test]
    fn batches_follow_the_order_and_keep_the_short_last_one() {
        let got: Vec<RawBatch> =
            Batches::new(source(10), vec![3, 1, 2, 0, 9], 2, None).map(Result::unwrap).collect();
        assert_eq!(got.len(), 3);
        assert_eq!((got[0].ids.clone(), got[0].labels.clone()), (vec![3, 1], vec![3, 1]));
        assert_eq!(got[2].ids, [9]);
        assert_eq!(got[2].pixels, [9.0 / 255.0]);
    }

    #[test]
    fn augmentation_depends_on_the_sample_not_on_its_batch() {
        let wide: Arc<dyn Source> = Arc::new(Wide);
        let augment = Some((
            Augment { crop: Crop::Padded { pad: 3, fill: Fill::Reflect }, flip: true },
            Rng::new(0, "augment"),
        ));
        let all = Batches::new(wide.clone(), vec![5, 2, 7, 1], 4, augment).next().unwrap().unwrap();
        let parts: Vec<RawBatch> =
            Batches::new(wide.clone(), vec![7, 5, 1, 2], 1, augment).map(Result::unwrap).collect();
        for (part, at) in parts.iter().zip([2, 0, 3, 1]) {
            assert_eq!(part.pixels, all.pixels[at * 16..][..16]);
        }
        let plain = Batches::new(wide, vec![5, 2, 7, 1], 4, None).next().unwrap().unwrap();
        assert_ne!(all.pixels, plain.pixels);
    }

    struct Wide;
    impl Source for Wide {
        fn len(&self) -> usize {
            10
        }
        fn classes(&self) -> &[String] {
            const { &[String::new()] }
        }
        fn read(&self, index: usize) -> Result<(Image, u32)> {
            Ok((Image::of_bytes([1, 4, 4], (0..16).map(|v| v + 16 * index as u8).collect()), 0))
        }
        fn origin(&self) -> String {
            "wide".into()
        }
    }

    #[test]
    fn a_pass_can_be_given_up() {
        let mut batches = Batches::new(source(10), (0..80).collect(), 1, None);
        assert!(batches.next().is_some());
        drop(batches);
    }

    #[test]
    fn what_cannot_be_decoded_leaves_its_batch_and_is_named() {
        let got: Vec<RawBatch> =
            Batches::new(source(10), vec![1, 13, 2, 38, 63], 3, None).map(Result::unwrap).collect();
        assert_eq!(
            (got[0].ids.clone(), got[0].labels.clone(), got[0].pixels.len()),
            (vec![1, 2], vec![1, 2], 2)
        );
        assert_eq!(got[0].skipped, [(13, "13.png: torn".to_string())]);
        // The last batch is empty.
        assert_eq!((got.len(), got[1].ids.len(), got[1].skipped.len()), (2, 0, 2));
    }

    #[test]
    fn odd_shapes_and_labels_are_named() {
        let fault = |order: Vec<usize>, classes| {
            Batches::new(source(classes), order, 8, None).find_map(Result::err).unwrap().to_string()
        };
        assert!(fault(vec![0, 90], 10).starts_with("image 90 is 1 x 2 x 1"));
        assert_eq!(fault(vec![4, 7], 7), "image 7 has label 7, but there are 7 classes");
    }
}
