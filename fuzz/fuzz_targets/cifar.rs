//! CIFAR-10 and CIFAR-100, each in the binary and in the Python version: a byte that says which, names, images.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use temper_dataset_cifar::{Cifar10, Cifar100};
use temper_fuzz::{counted, data::opened, files, folder, write};

counted!();

/// Names of the files of each version: of classes, of test images, of training images.
const NAMES: [(&str, &str, &[&str]); 4] = [
    (
        "batches.meta.txt",
        "test_batch.bin",
        &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    ),
    (
        "batches.meta",
        "test_batch",
        &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
    ),
    ("fine_label_names.txt", "test.bin", &["train.bin"]),
    ("meta", "test", &["train"]),
];

fuzz_target!(|data: &[u8]| {
    let Some((version, rest)) = data.split_first() else { return };
    let (Some((meta, test, train)), Some([names, images])) = (NAMES.get(usize::from(*version)), files(rest))
    else {
        return;
    };
    let root = folder().join(format!("{version}"));
    if !root.is_dir() {
        fs::create_dir(&root).expect("a folder of this process");
        for file in *train {
            write(&format!("{version}/{file}"), b"");
        }
    }
    write(&format!("{version}/{meta}"), names);
    write(&format!("{version}/{test}"), images);
    match version {
        0 | 1 => opened(&Cifar10 { root: Some(root) }),
        _ => opened(&Cifar100 { root: Some(root) }),
    }
});
