//! Files that appear whole or not at all: written beside their place, synced, renamed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use temper_data::{Source, rename_synced};

use crate::error::{Error, Result};
use crate::weights::{stranger, whole};

/// The one entry of a file's metadata: safetensors keeps them in a hash map, and with more than one the bytes of a file
/// would differ from run to run.
pub(crate) const ABOUT: &str = "temper";

/// Writes weights by their torch names; `about` becomes the metadata entry `temper`.
pub fn save_weights(file: &Path, weights: &BTreeMap<String, Tensor>, about: String) -> Result<()> {
    save_tensors(file, weights.iter().map(|(name, t)| (name.clone(), t)), Some(about))
}

/// Reads tensors that [`save_tensors`] wrote: of f32, f64 and i64.
pub fn load_tensors(file: &Path) -> Result<BTreeMap<String, Tensor>> {
    let fault = |what: String| Error::File { file: file.into(), what };
    let bytes = whole(file)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| stranger(file, &error))?;
    let read = |(name, view): (String, TensorView<'_>)| {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::I64 => DType::I64,
            other => {
                return Err(fault(format!("tensor `{name}` of type {other:?}, expected F32, F64 or I64")));
            }
        };
        Ok((name, Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?))
    };
    tensors.tensors().into_iter().map(read).collect()
}

/// Writes the epsilon memory after an epoch: tensors `memory`, `[n]`, f64, in pixel values of [0, 1], and `index`, `[n]`,
/// i64, where each of these samples of `source` stands in the whole data set.
pub fn save_radii(file: &Path, memory: &[f64], source: &dyn Source) -> Result<()> {
    let index: Vec<i64> = (0..memory.len()).map(|i| source.index(i) as i64).collect();
    let (memory, index) = (Tensor::new(memory, &Device::Cpu)?, Tensor::new(index, &Device::Cpu)?);
    save_tensors(file, [("index".to_string(), &index), ("memory".to_string(), &memory)], None)
}

/// Writes tensors of f32 and i64 as they are, of other types as f64; `about`, if given, becomes the metadata entry `temper`.
pub fn save_tensors<'t>(
    file: &Path,
    tensors: impl IntoIterator<Item = (String, &'t Tensor)>,
    about: Option<String>,
) -> Result<()> {
    save_atomically(file, &tensor_bytes(file, tensors, about)?)
}

/// Tensors as the bytes of a safetensors file; `file` is for messages.
pub(crate) fn tensor_bytes<'t>(
    file: &Path,
    tensors: impl IntoIterator<Item = (String, &'t Tensor)>,
    about: Option<String>,
) -> Result<Vec<u8>> {
    let views =
        tensors.into_iter().map(|(name, t)| Ok((name, Bytes::new(t)?))).collect::<Result<Vec<_>>>()?;
    let about = about.map(|text| HashMap::from([(ABOUT.to_string(), text)]));
    safetensors::serialize(views, about)
        .map_err(|e| Error::File { file: file.into(), what: format!("cannot be written: {e}") })
}

/// A tensor's elements as little-endian bytes.
struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Bytes {
    fn new(tensor: &Tensor) -> Result<Self> {
        let flat = tensor.flatten_all()?;
        let (dtype, data) = match tensor.dtype() {
            DType::F32 => (Dtype::F32, flat.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            DType::I64 => (Dtype::I64, flat.to_vec1::<i64>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            _ => {
                let values = flat.to_dtype(DType::F64)?.to_vec1::<f64>()?;
                (Dtype::F64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
        };
        Ok(Self { dtype, shape: tensor.dims().to_vec(), data })
    }
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

/// Writes a file whole or not at all: beside its place, synced, then renamed.
pub fn save_atomically(file: &Path, bytes: &[u8]) -> Result<()> {
    let part = save_beside(file, bytes)?;
    rename(&part, file)
}

/// Writes the bytes beside the place of `file`, synced; nothing of it is left if that fails.
pub(crate) fn save_beside(file: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = file.with_file_name(name);
    let written = File::create(&part).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    if let Err(source) = written {
        // On a full disk the rest of it would only be in the way. The first error is the one to tell.
        let _ = fs::remove_file(&part);
        return Err(Error::Write { file: file.into(), source });
    }
    Ok(part)
}

/// Renames a file within its folder, so that a power cut does not undo it.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    rename_synced(from, to).map_err(|source| Error::Write { file: to.into(), source })
}
