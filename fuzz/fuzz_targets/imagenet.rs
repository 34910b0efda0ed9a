//! Lists of ImageNet's validation labels: what the challenge's numbers mean, then the list.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use temper_dataset_imagenet::ImageNet;
use temper_fuzz::{counted, data::opened, files, folder, write};

counted!();

fuzz_target!(|data: &[u8]| {
    let Some([numbers, list]) = files(data) else { return };
    if !folder().join("val").is_dir() {
        for synset in ["n01440764", "n01443537", "n01484850"] {
            fs::create_dir_all(folder().join("train").join(synset)).expect("a folder of this process");
        }
        fs::create_dir(folder().join("val")).expect("a folder of this process");
        for image in 1..=3 {
            write(&format!("val/ILSVRC2012_val_0000000{image}.JPEG"), b"");
        }
    }
    let [numbers, list] = [Some(write("numbers.txt", numbers)), Some(write("list.txt", list))];
    opened(&ImageNet { root: Some(folder().into()), val_list: list, numbers, ..ImageNet::default() });
});
