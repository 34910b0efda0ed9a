//! Inputs that fuzzing kept, each of which takes another way through the reader: an error or images, and never a panic.
//! `fuzz/README.md` says where they come from.

use std::fs;
use temper_core::prelude::*;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;

use crate::Mnist;

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/idx"), |input| {
        let Some([labels, images]) = kept::files(input) else { return };
        for part in ["train", "t10k"] {
            fs::write(folder.path().join(format!("{part}-images-idx3-ubyte")), images).unwrap();
            fs::write(folder.path().join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
        }
        read(&Mnist { root: Some(folder.path().into()) });
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
