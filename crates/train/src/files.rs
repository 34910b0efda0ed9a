//! Tensors in safetensors files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Tensor};
use safetensors::tensor::{Dtype, View};
use temper_files::{rename_synced, save_atomically};

use crate::error::{Error, Result};

/// The only metadata entry of a file: safetensors stores the entries in a hash map, so with more than one the
/// bytes of a file would differ from run to run.
pub(crate) const ABOUT: &str = "temper";

/// Writes weights by their torch names; `about` becomes the metadata entry `temper`.
pub fn save_weights(file: &Path, weights: &BTreeMap<String, Tensor>, about: String) -> Result<()> {
    let tensors = weights.iter().map(|(name, tensor)| (name.clone(), tensor));
    Ok(save_atomically(file, &tensor_bytes(file, tensors, Some(about))?)?)
}

/// Tensors as the bytes of a safetensors file: f32 as they are, other types as f64; `about`, if given,
/// becomes the metadata entry `temper`. `file` is for messages.
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
        let (dtype, data) = if tensor.dtype() == DType::F32 {
            (Dtype::F32, flat.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect())
        } else {
            let values = flat.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            (Dtype::F64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
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

/// Renames a file within its folder, so that a power cut does not undo it.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    rename_synced(from, to).map_err(|source| Error::Write { file: to.into(), source })
}
