//! Inputs found by fuzzing, each with a different path through the reader. The result is an error or images, never a
//! panic. `fuzz/README.md` describes their origin.

use std::fs;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;
#[path = "../../../fuzz/src/samples.rs"]
mod samples;

use crate::{Cifar10, Cifar100};

/// Names of the files of each version: of classes, of test images, of training images.
const NAMES: [[&str; 3]; 4] = [
    ["batches.meta.txt", "test_batch.bin", "data_batch_N.bin"],
    ["batches.meta", "test_batch", "data_batch_N"],
    ["fine_label_names.txt", "test.bin", "train.bin"],
    ["meta", "test", "train"],
];

#[test]
fn files() {
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/cifar"), |input| {
        let Some((version, rest)) = input.split_first() else { return };
        let names = NAMES.get(usize::from(*version));
        let (Some([meta, test, train]), Some([names, images])) = (names, kept::files(rest)) else { return };
        let folder = tempfile::tempdir().unwrap();
        for number in 1..=5 {
            let train = train.replace('N', &number.to_string());
            fs::write(folder.path().join(train), "").unwrap();
        }
        fs::write(folder.path().join(meta), names).unwrap();
        fs::write(folder.path().join(test), images).unwrap();
        let root = Some(folder.path().into());
        match version {
            0 | 1 => samples::read(&Cifar10 { root }),
            _ => samples::read(&Cifar100 { root }),
        }
    });
}
