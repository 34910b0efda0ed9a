//! What must be true of samples whose bytes a source has. Tests of the data sets' crates include this file by its path.

use temper_core::prelude::*;

/// Opens the test images of a data set. If that succeeds, the first ones must have as many bytes as their shape says,
/// and labels that name classes.
pub(crate) fn read(dataset: &dyn Dataset) {
    let Ok(source) = dataset.open(Split::Test) else { return };
    for index in 0..source.len().min(4) {
        let (image, label) = source.read(index).unwrap();
        assert_eq!(image.shape.iter().product::<usize>(), image.len());
        assert!((label as usize) < source.classes().len());
    }
}
