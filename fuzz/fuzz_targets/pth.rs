//! Files of `torch.save`, of today and of before version 1.6.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{bounded, counted, write};
use temper_weights::{File, read};

counted!();

fuzz_target!(|data: &[u8]| {
    let path = write("net.pth", data);
    let Ok(mut file) = bounded(|| read(&path)) else { return };
    bounded(|| numbers(&file));
    let names: Vec<String> = file.tensors.keys().cloned().collect();
    file.fit_names(&names.iter().map(String::as_str).take(3).collect());
    file.unwrap_names();
});

/// Every tensor has the numbers of its shape.
fn numbers(file: &File) {
    for (name, tensor) in &file.tensors {
        let Ok(bytes) = file.bytes(tensor) else { continue };
        let elements: usize = tensor.shape.iter().product();
        assert_eq!(bytes.len(), elements * tensor.dtype.size(), "{name}");
    }
}
