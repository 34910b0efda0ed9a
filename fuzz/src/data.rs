//! What must be true of a source of images that was opened.

use temper_core::{DataError, Dataset, Split};

/// Samples that are read of a source.
const SAMPLES: usize = 4;

/// Opens the test images of a data set, and checks that its images have as many bytes as their shape says, and labels
/// that name classes.
pub fn opened(dataset: &dyn Dataset) {
    let Ok(source) = crate::bounded(|| dataset.open(Split::Test)) else { return };
    for index in 0..source.len().min(SAMPLES) {
        let (image, label) = match source.read(index) {
            Ok(sample) => sample,
            // What lies in files of their own is read only now.
            Err(DataError::Io { .. } | DataError::Unreadable { .. }) => continue,
            Err(error) => panic!("image {index} of {}: {error}", source.len()),
        };
        assert_eq!(image.shape.iter().product::<usize>(), image.len());
        assert!((label as usize) < source.classes().len(), "label {label}");
    }
    assert!(source.read(source.len()).is_err(), "an image after the last");
}
