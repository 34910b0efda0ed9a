//! NumPy's archives.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_dataset_npz::Npz;
use temper_fuzz::{counted, data::opened, write};

counted!();

fuzz_target!(|data: &[u8]| {
    let path = Some(write("x.npz", data));
    opened(&Npz { path, ..Npz::default() });
});
