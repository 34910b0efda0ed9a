//! Inputs that fuzzing kept, each of which takes another way through the reader: an error or images, and never a panic.
//! `fuzz/README.md` says where they come from.

use std::fs;
use temper_core::prelude::*;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;

use crate::Npz;

#[test]
fn archives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/npz"), |input| {
        fs::write(&path, input).unwrap();
        read(&Npz { path: Some(path.clone()), ..Npz::default() });
    });
}

#[test]
fn arrays() {
    let folder = tempfile::tempdir().unwrap();
    let [images, labels] = ["x.npy", "y.npy"].map(|name| folder.path().join(name));
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/npy"), |input| {
        let Some([of_labels, of_images]) = kept::files(input) else { return };
        fs::write(&labels, of_labels).unwrap();
        fs::write(&images, of_images).unwrap();
        read(&Npz { images: Some(images.clone()), labels: Some(labels.clone()), ..Npz::default() });
    });
}

/// Opens the test images and reads those whose bytes it has.
fn read(dataset: &dyn Dataset) {
    let Ok(source) = dataset.open(Split::Test) else { return };
    for index in 0..source.len().min(4) {
        let (image, label) = source.read(index).unwrap();
        assert_eq!(image.shape.iter().product::<usize>(), image.bytes.len());
        assert!((label as usize) < source.classes().len());
    }
}
