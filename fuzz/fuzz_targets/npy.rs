//! NumPy's arrays: labels, then images.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_dataset_npz::Npz;
use temper_fuzz::{counted, data::opened, files, write};

counted!();

fuzz_target!(|data: &[u8]| {
    let Some([labels, images]) = files(data) else { return };
    let (images, labels) = (Some(write("x.npy", images)), Some(write("y.npy", labels)));
    opened(&Npz { images, labels, ..Npz::default() });
});
