//! IDX files, packed or not: labels, then images.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_dataset_idx::Mnist;
use temper_fuzz::{counted, data::opened, files, folder, write};

counted!();

fuzz_target!(|data: &[u8]| {
    let Some([labels, images]) = files(data) else { return };
    for part in ["train", "t10k"] {
        write(&format!("{part}-images-idx3-ubyte"), images);
        write(&format!("{part}-labels-idx1-ubyte"), labels);
    }
    opened(&Mnist { root: Some(folder().into()) });
});
