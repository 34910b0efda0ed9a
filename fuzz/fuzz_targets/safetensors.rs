//! Safetensors: whole, in shards (an index and two of them), and as images that `temper attack` saves.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{bounded, counted, files, write};
use temper_results::SavedImages;
use temper_weights::read;

counted!();

fuzz_target!(|data: &[u8]| {
    let Some([index, first, second]) = files(data) else { return };
    let path = match index {
        [] => write("net.safetensors", second),
        _ => {
            write("model-00001-of-00002.safetensors", first);
            write("model-00002-of-00002.safetensors", second);
            write("model.safetensors.index.json", index)
        }
    };
    if let Ok(file) = bounded(|| read(&path)) {
        for (name, tensor) in &file.tensors {
            let bytes = bounded(|| file.bytes(tensor)).expect("the numbers of a tensor that is listed");
            let elements: usize = tensor.shape.iter().product();
            assert_eq!(bytes.len(), elements * tensor.dtype.size(), "{name}");
        }
    }
    if index.is_empty()
        && let Ok(images) = bounded(|| SavedImages::read(&path))
    {
        for image in 0..images.len() {
            let (adversarial, clean) = images.pixels(image);
            assert_eq!(adversarial.len(), clean.len());
        }
    }
});
