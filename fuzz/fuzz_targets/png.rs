//! PNG files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{bounded, counted};

counted!();

fuzz_target!(|data: &[u8]| {
    if !data.starts_with(b"\x89PNG") {
        return;
    }
    if let Ok(image) = bounded(|| temper_data::decode(data)) {
        assert_eq!(image.shape.iter().product::<usize>(), image.len());
    }
});
