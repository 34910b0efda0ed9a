//! The part of Fashion-MNIST that is compiled in, so that a first run needs no download.

use std::path::Path;

use crate::idx::{Begun, Labelled};
use temper_core::prelude::*;

macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../embedded/", $name)).as_slice())
    };
}

/// Opens the embedded images.
pub(crate) fn open(split: Split, classes: &[&str]) -> Result<Labelled, DataError> {
    let (images, labels) = match split {
        Split::Train => {
            (vec![file!("train-images-0.gz"), file!("train-images-1.gz")], file!("train-labels.gz"))
        }
        Split::Test => (vec![file!("test-images.gz")], file!("test-labels.gz")),
    };
    let read = |(name, bytes): (&str, &'static [u8])| {
        Begun::new(&Path::new("embedded").join(name), bytes, bytes.len() as u64)
    };
    let images = images.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let origin = "embedded: a part of the official files, drawn evenly over the classes".to_string();
    Labelled::new(images, read(labels)?, classes, origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_images_are_complete_and_even() {
        for (split, count) in [(Split::Train, 10_000), (Split::Test, 2_000)] {
            let source = open(split, &crate::CLOTHES).unwrap();
            assert_eq!(source.len(), count);
            let mut classes = [0; 10];
            for i in 0..count {
                let (image, label) = source.read(i).unwrap();
                assert_eq!(image.shape, [1, 28, 28]);
                classes[label as usize] += 1;
            }
            assert_eq!(classes, [count / 10; 10]);
        }
    }
}
