//! CSV files of images and their labels: that of the training images, then that of the test images.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use temper_dataset_image_folder::ImageFolder;
use temper_fuzz::{counted, data::opened, files, folder, write};

counted!();

fuzz_target!(|data: &[u8]| {
    let Some([train, test]) = files(data) else { return };
    if !folder().join("cat").is_dir() {
        fs::create_dir(folder().join("cat")).expect("a folder of this process");
        for image in ["cat/1.png", "cat/2.png", "1.jpg", "a,b.png"] {
            write(image, b"");
        }
    }
    let [train, test] = [write("train.csv", train), write("test.csv", test)];
    opened(&ImageFolder { root: Some(folder().into()), train, test, ..ImageFolder::default() });
});
