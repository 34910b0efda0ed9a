//! Weights from files: those that runs wrote, and those of other programs.
//!
//! A format is a [`Reader`]. To add one, write `weights/NAME.rs` and enter it in [`READERS`].

mod safetensors;
mod strangers;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use candle_core::{DType, Tensor};

use crate::error::Result;
use crate::weights::safetensors::Safetensors;

/// Bytes at a file's start that say which format it has.
const START: u64 = 64;

/// Weights of a file.
#[derive(Debug)]
pub struct Weights {
    /// By torch's names, as f32.
    pub tensors: BTreeMap<String, Tensor>,
    /// How many of them were rounded to f32, as a sentence; 16-bit values become f32 as they are.
    pub rounded: Option<String>,
}

/// Reads one format of weights.
trait Reader: Sync {
    /// Whether a file that begins with these bytes is of this format.
    fn reads(&self, start: &[u8]) -> bool;

    /// The weights of a file by torch's names, as f32. Counters named `num_batches_tracked` are left out. A
    /// value that is not finite as f32 is an error.
    fn weights(&self, file: &Path) -> Result<Weights>;

    /// What runs write beside their weights; `None` if there is nothing. Reads no weights.
    fn about(&self, file: &Path) -> Result<Option<String>>;
}

/// All formats. A file of none of them is told by the first, which names what the file looks like.
const READERS: [&dyn Reader; 1] = [&Safetensors];

fn reader(file: &Path) -> &'static dyn Reader {
    let start = start(file);
    *READERS.iter().find(|reader| reader.reads(&start)).unwrap_or(&READERS[0])
}

/// The first bytes of a regular file; none of anything else, of which the reader tells what is wrong.
fn start(file: &Path) -> Vec<u8> {
    let mut bytes = vec![];
    let regular = fs::metadata(file).is_ok_and(|about| about.is_file());
    if let Some(input) = regular.then(|| File::open(file).ok()).flatten() {
        let _ = input.take(START).read_to_end(&mut bytes);
    }
    bytes
}

/// Reads a file of weights by torch's names, in any format that has a reader: f32, or f16, bf16 and f64,
/// which become f32. Counters named `num_batches_tracked` are left out. A value that is not finite as f32 is
/// an error, and so is a file of another format.
pub fn load_weights(file: &Path) -> Result<Weights> {
    reader(file).weights(file)
}

/// What runs write beside their weights; `None` if there is nothing. Reads no weights.
pub fn load_about(file: &Path) -> Result<Option<String>> {
    reader(file).about(file)
}

/// Whether every element is finite: one sum holds every NaN and every infinity.
pub(crate) fn is_finite(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?.is_finite())
}

#[cfg(test)]
mod tests {
    use ::safetensors::tensor::{Dtype, TensorView, serialize_to_file};

    use super::*;

    fn write(file: &Path, tensors: &[(&str, Dtype, &[u8])]) {
        let size = |dtype: &Dtype| match dtype {
            Dtype::F16 | Dtype::BF16 => 2,
            Dtype::F32 => 4,
            _ => 8,
        };
        let view = |(name, dtype, data): &(&str, Dtype, &'static [u8])| {
            (name.to_string(), TensorView::new(*dtype, vec![data.len() / size(dtype)], data).unwrap())
        };
        let tensors: Vec<(&str, Dtype, &'static [u8])> =
            tensors.iter().map(|(n, d, b)| (*n, *d, &*b.to_vec().leak())).collect();
        serialize_to_file(tensors.iter().map(view), None, file).unwrap();
    }

    #[test]
    fn types_of_weights_become_f32_and_counters_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("net.safetensors");
        // 1.5 in each type.
        write(
            &file,
            &[
                ("a", Dtype::F16, &0x3e00u16.to_le_bytes()),
                ("b", Dtype::BF16, &0x3fc0u16.to_le_bytes()),
                ("c", Dtype::F64, &1.5f64.to_le_bytes()),
                ("d", Dtype::F32, &1.5f32.to_le_bytes()),
                ("bn.num_batches_tracked", Dtype::I64, &9i64.to_le_bytes()),
            ],
        );
        let weights = load_weights(&file).unwrap();
        assert_eq!(weights.tensors.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert!(weights.tensors.values().all(|t| t.to_vec1::<f32>().unwrap() == [1.5]));
        assert_eq!(weights.rounded.unwrap(), "1 of 4 tensors are f64, and were rounded to f32");
        write(
            &file,
            &[("a", Dtype::F16, &0x3e00u16.to_le_bytes()), ("d", Dtype::F32, &1.5f32.to_le_bytes())],
        );
        assert_eq!(load_weights(&file).unwrap().rounded, None);
    }

    #[test]
    fn values_that_are_not_finite_and_types_that_are_no_weights_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("net.safetensors");
        let fault = || load_weights(&file).unwrap_err().to_string();
        for (dtype, bytes) in [
            (Dtype::F32, f32::NAN.to_le_bytes().to_vec()),
            (Dtype::F32, f32::NEG_INFINITY.to_le_bytes().to_vec()),
            (Dtype::F64, 1e300f64.to_le_bytes().to_vec()),
        ] {
            write(&file, &[("fc.bias", dtype, &bytes)]);
            assert!(fault().contains("its values of `fc.bias` are not all finite"), "{}", fault());
        }
        write(&file, &[("z", Dtype::I64, &[0; 8]), ("a", Dtype::U64, &[0; 8])]);
        for _ in 0..8 {
            let said = fault();
            let want =
                "tensors that are no weights: `a` of U64, `z` of I64; weights are f32, f16, bf16 or f64";
            assert!(said.ends_with(want), "{said}");
        }
    }

    #[test]
    fn files_that_are_not_safetensors_are_named_for_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("net.pth");
        for (bytes, said) in [
            (&b""[..], "not safetensors: it is empty"),
            (b"PK\x03\x04....", "a ZIP archive, as torch.save writes"),
            (b"\x80\x02\x8a\x0al\xfc", "a pickle, as old versions of torch.save write"),
            (b"\x89HDF\r\n", "an HDF5 file"),
            (b"<!DOCTYPE html>", "a page of HTML"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
            (b"\x05\0\0\0\0\0\0\0{}...", "damaged safetensors: "),
            (b"what is this?", "not safetensors: "),
        ] {
            fs::write(&file, bytes).unwrap();
            for error in [load_weights(&file).unwrap_err(), load_about(&file).unwrap_err()] {
                let error = error.to_string();
                assert!(error.contains(said) && error.contains("net.pth"), "{error}");
            }
        }
    }
}
