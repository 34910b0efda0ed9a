//! Weights from safetensors files: those that runs wrote, and those of other programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors};
use temper_files::Head;

use crate::error::{Error, Result};
use crate::files::ABOUT;

/// Names of tensors that an error lists at most.
const SHOWN: usize = 5;

/// The end of a name under which `PyTorch` counts the batches that a batch norm has seen. No pass reads it.
const BATCHES_SEEN: &str = "num_batches_tracked";

/// Weights of a file.
#[derive(Debug)]
pub struct Weights {
    /// By torch's names, as f32.
    pub tensors: BTreeMap<String, Tensor>,
    /// How many of them were rounded to f32, as a sentence; 16-bit values become f32 as they are.
    pub rounded: Option<String>,
}

/// Reads a safetensors file of weights by torch's names: f32, or f16, bf16 and f64, which become f32. Counters named
/// `num_batches_tracked` are left out. A value that is not finite as f32 is an error, and so is a file that is not safetensors.
pub fn load_weights(file: &Path) -> Result<Weights> {
    let fault = |what: String| Error::File { file: file.into(), what };
    let bytes = whole(file)?;
    let views = SafeTensors::deserialize(&bytes).map_err(|error| stranger(file, &error))?;
    let mut views = views.tensors();
    // The crate lists them in another order each time.
    views.sort_by(|a, b| a.0.cmp(&b.0));
    views.retain(|(name, _)| name.rsplit('.').next() != Some(BATCHES_SEEN));
    let (mut tensors, mut rounded, mut strange) = (BTreeMap::new(), 0, vec![]);
    for (name, view) in views {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            other => {
                strange.push(format!("`{name}` of {other:?}"));
                continue;
            }
        };
        rounded += usize::from(dtype == DType::F64);
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
        let tensor = tensor.to_dtype(DType::F32)?;
        if !is_finite(&tensor)? {
            let within = if dtype == DType::F64 { ", or beyond what f32 holds" } else { "" };
            return Err(fault(format!("its values of `{name}` are not all finite{within}")));
        }
        tensors.insert(name, tensor);
    }
    if !strange.is_empty() {
        let expected = "weights are f32, f16, bf16 or f64";
        return Err(fault(format!("tensors that are no weights: {}; {expected}", listed(&strange))));
    }
    let rounded = (rounded > 0)
        .then(|| format!("{rounded} of {} tensors are f64, and were rounded to f32", tensors.len()));
    Ok(Weights { tensors, rounded })
}

/// What runs write beside their weights; `None` if there is nothing. Reads the header alone.
pub fn load_about(file: &Path) -> Result<Option<String>> {
    let head = Head::read(file)?.map_err(|error| stranger(file, &error))?;
    Ok(head.metadata.metadata().as_ref().and_then(|about| about.get(ABOUT)).cloned())
}

/// The bytes of a safetensors file, whose length is what its header promises.
pub(crate) fn whole(file: &Path) -> Result<Vec<u8>> {
    let head = Head::read(file)?.map_err(|error| stranger(file, &error))?;
    Ok(head.whole()?)
}

/// Whether every element is finite: one sum holds every NaN and every infinity.
pub(crate) fn is_finite(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?.is_finite())
}

/// The first of these, and how many more there are.
fn listed(all: &[String]) -> String {
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// How to make a safetensors file of what `PyTorch` saved.
const RESAVE: &str = "\n  save its state dictionary as safetensors, in Python:\n    \
    import torch, safetensors.torch\n    \
    state = torch.load(FILE, map_location=\"cpu\", weights_only=True)\n    \
    safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, \"net.safetensors\")";

/// Bytes at a file's start that say what it is.
const START: u64 = 64;

/// What other files begin with, what they are, and what to do.
const STRANGERS: [(&[u8], &str, &str); 14] = [
    (b"PK\x03\x04", "a ZIP archive, as torch.save writes (.pt, .pth)", RESAVE),
    (b"\x80\x02", "a pickle, as old versions of torch.save write (.pt, .pth, .th)", RESAVE),
    (b"\x80\x03", "a pickle of Python", RESAVE),
    (b"\x80\x04", "a pickle of Python", RESAVE),
    (b"\x80\x05", "a pickle of Python", RESAVE),
    (b"\x08", "perhaps an ONNX graph: its weights must be exported as safetensors", ""),
    (b"\x89HDF", "an HDF5 file, as Keras writes (.h5)", ""),
    (b"\x93NUMPY", "a NumPy array (.npy)", ""),
    (b"GGUF", "a GGUF file", ""),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself with `git lfs pull`", ""),
    (b"<", "a page of HTML or XML: perhaps a download that failed", ""),
    (b"{", "JSON text", ""),
    (b"\x1f\x8b", "a gzip file: unpack it first", ""),
    (b"\x89PNG", "a PNG image", ""),
];

/// The error about a file that is not safetensors, which names what it looks like.
pub(crate) fn stranger(file: &Path, error: &dyn std::fmt::Display) -> Error {
    let mut bytes = vec![];
    let regular = fs::metadata(file).is_ok_and(|about| about.is_file());
    if let Some(input) = regular.then(|| fs::File::open(file).ok()).flatten() {
        // Without them the file is only not named for what it is.
        let _ = input.take(START).read_to_end(&mut bytes);
    }
    // The first eight bytes of safetensors are the header's length, far below 2^32, and then comes the header in braces.
    let begun = bytes.get(4..9) == Some(b"\0\0\0\0{");
    let known = STRANGERS.iter().find(|(start, ..)| !begun && bytes.starts_with(start));
    let what = match known {
        _ if bytes.is_empty() && regular => "not safetensors: it is empty".into(),
        Some((_, is, help)) => format!("not safetensors: it looks like {is}{help}"),
        None if begun => format!("damaged safetensors: {error}"),
        None => format!("not safetensors: {error}"),
    };
    Error::File { file: file.into(), what }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{TensorView, serialize_to_file};

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
