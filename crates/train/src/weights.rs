//! Weights from files, written by runs or by other programs.
//!
//! `temper_weights` reads the formats. Here its tensors are converted to those that networks use: f32, finite,
//! with torch's names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use temper_core::nn::Network;
use temper_onnx::is_onnx;
use temper_weights::{Dtype, File, metadata, read};

use crate::error::{Error, Result};
use crate::files::ABOUT;

/// The largest number of tensor names that an error lists.
const SHOWN: usize = 5;

/// Weights of a file.
#[derive(Debug)]
pub struct Weights {
    /// By torch's names, as f32.
    pub tensors: BTreeMap<String, Tensor>,
    /// A sentence about the number of tensors that were rounded to f32; 16-bit values are converted exactly.
    pub rounded: Option<String>,
    /// Sentences about wrappers that were removed and tensors that were left out; empty for files of runs.
    pub told: Vec<String>,
    /// All files that hold them: the given file, and those that it refers to.
    pub files: Vec<PathBuf>,
}

/// Reads a file of weights by torch's names, in any format that `temper_weights` reads. Values of f32, f16,
/// bf16 and f64 become f32. Counters named `num_batches_tracked` and the prefixes that wrappers put before all
/// names are left out. Tensors of other types, values that are not finite as f32, and files of other formats are
/// errors.
pub fn load_weights(file: &Path) -> Result<Weights> {
    if is_onnx(file) {
        return of_graph(file);
    }
    let mut read = read(file)?;
    if !of_run(&read) {
        read.unwrap_names();
    }
    converted(file, &read)
}

/// Like [`load_weights`], for a network. The network's names determine the prefix that wrappers put before
/// them, the tensors that do not belong to the network, and whether the file uses another repository's names
/// for its layers.
pub fn load_weights_for(file: &Path, network: &Network) -> Result<Weights> {
    if is_onnx(file) {
        return of_graph(file);
    }
    let mut read = read(file)?;
    if !of_run(&read) {
        let parameters = network.parameters();
        let shapes: BTreeMap<&str, &[usize]> =
            parameters.iter().map(|parameter| (parameter.name.as_str(), &parameter.shape[..])).collect();
        read.rename(&shapes);
        let wanted: BTreeSet<&str> = shapes.into_keys().collect();
        read.fit_names(&wanted);
    }
    converted(file, &read)
}

/// The weights of an ONNX graph, by the names of the network that `temper_onnx` builds from it.
fn of_graph(file: &Path) -> Result<Weights> {
    let fault = |what: String| Error::File { file: file.into(), what };
    let read = temper_onnx::read(file).map_err(|error| fault(error.to_string()))?;
    for (name, values) in &read.weights {
        if !is_finite(values)? {
            return Err(fault(format!("its values of `{name}` are not all finite")));
        }
    }
    Ok(Weights { tensors: read.weights, rounded: None, told: read.told, files: read.files })
}

/// The metadata that runs store beside their weights; `None` without such metadata. Reads no weights.
pub fn load_about(file: &Path) -> Result<Option<String>> {
    if is_onnx(file) {
        return Ok(None);
    }
    Ok(metadata(file)?.remove(ABOUT))
}

/// Whether a run wrote the file. Such a file contains the names of its network unchanged.
fn of_run(file: &File) -> bool {
    file.metadata.contains_key(ABOUT)
}

/// Converts the tensors to the form that networks use.
fn converted(file: &Path, read: &File) -> Result<Weights> {
    let fault = |what: String| Error::File { file: file.into(), what };
    let (mut tensors, mut rounded, mut strange) = (BTreeMap::new(), 0, vec![]);
    for (name, tensor) in &read.tensors {
        let dtype = match tensor.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            other => {
                strange.push(format!("`{name}` of {other}"));
                continue;
            }
        };
        rounded += usize::from(dtype == DType::F64);
        let values = Tensor::from_raw_buffer(&read.bytes(tensor)?, dtype, &tensor.shape, &Device::Cpu)?;
        let values = values.to_dtype(DType::F32)?;
        if !is_finite(&values)? {
            let within = if dtype == DType::F64 { ", or beyond what f32 holds" } else { "" };
            return Err(fault(format!("its values of `{name}` are not all finite{within}")));
        }
        tensors.insert(name.clone(), values);
    }
    if !strange.is_empty() {
        let expected = "weights are f32, f16, bf16 or f64";
        return Err(fault(format!("tensors that are no weights: {}; {expected}", listed(&strange))));
    }
    let rounded = (rounded > 0)
        .then(|| format!("{rounded} of {} tensors are f64, and were rounded to f32", tensors.len()));
    let files = read.files().into_iter().map(Path::to_path_buf).collect();
    Ok(Weights { tensors, rounded, told: read.told.clone(), files })
}

/// Lists the first names, and the number of the others.
fn listed(all: &[String]) -> String {
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Whether every element is finite: a sum is not finite if any element is NaN or infinite.
pub(crate) fn is_finite(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?.is_finite())
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

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

    /// Networks of temper have names such as `fc.weight`.
    fn network() -> Network {
        let mut network = Network::new([1, 1, 2]);
        network.linear(network.input(), "fc", 3).unwrap();
        network
    }

    #[test]
    fn wrappers_are_seen_through_but_in_files_of_runs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("net.safetensors");
        let (weight, bias) = (1.5f32.to_le_bytes().repeat(6), 0.5f32.to_le_bytes().repeat(3));
        let wrapped = [
            ("0.mean", Dtype::F32, &bias[..]),
            ("1.module.fc.weight", Dtype::F32, &weight),
            ("1.module.fc.bias", Dtype::F32, &bias),
        ];
        write(&file, &wrapped);
        let weights = load_weights_for(&file, &network()).unwrap();
        assert_eq!(weights.tensors.keys().collect::<Vec<_>>(), ["fc.bias", "fc.weight"]);
        let told = "1 tensor is not read, without `1.module.` before their names: `0.mean`";
        assert_eq!(weights.told, ["names are read without `1.module.` before them", told]);
        assert_eq!(weights.files, std::slice::from_ref(&file));
        let plain = load_weights(&file).unwrap();
        assert_eq!((plain.tensors.len(), plain.told.len()), (3, 0), "not all names are wrapped alike");
        write(&file, &wrapped[1..].iter().map(|(name, d, b)| (&name[2..], *d, *b)).collect::<Vec<_>>());
        assert!(load_weights(&file).unwrap().tensors.contains_key("fc.bias"));
        // As written by a run: these are the names of its network.
        let own = BTreeMap::from([("module.fc.bias".to_string(), weights.tensors["fc.bias"].clone())]);
        crate::save_weights(&file, &own, "{}".into()).unwrap();
        for weights in [load_weights(&file), load_weights_for(&file, &network())].map(Result::unwrap) {
            assert_eq!(weights.tensors.keys().collect::<Vec<_>>(), ["module.fc.bias"]);
            assert!(weights.told.is_empty());
        }
    }

    #[test]
    fn files_of_pytorch_are_read() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights/tests/golden");
        let weights = load_weights(&golden.join("wrapped.pth")).unwrap();
        assert_eq!(weights.tensors["fc.weight"].to_vec2::<f32>().unwrap(), [[0.0, 0.25], [0.5, 0.75]]);
        assert_eq!(weights.told.len(), 3);
        assert_eq!(load_about(&golden.join("wrapped.pth")).unwrap(), None);
        let error = load_weights(&golden.join("shell.pth")).unwrap_err().to_string();
        assert!(error.contains("shell.pth: it asks Python to call `posix.system` (at byte "), "{error}");
        assert_eq!(load_weights(&golden.join("model.safetensors.index.json")).unwrap().files.len(), 3);
    }

    #[test]
    fn files_of_no_weights_are_named_for_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("net.pth");
        for (bytes, said) in [
            (&b""[..], "it is empty"),
            (b"\x80\x02\x8a\x0al\xfc", "a pickle of Python"),
            (b"\x89HDF\r\n", "an HDF5 file"),
            (b"<!DOCTYPE html>", "a page of HTML"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
            (b"\x05\0\0\0\0\0\0\0{}...", "damaged safetensors: "),
            (b"what is this?", "neither safetensors nor a file of torch.save: "),
        ] {
            std::fs::write(&file, bytes).unwrap();
            for error in [load_weights(&file).unwrap_err(), load_about(&file).unwrap_err()] {
                let error = error.to_string();
                assert!(error.contains(said) && error.contains("net.pth"), "{error}");
            }
        }
    }
}
