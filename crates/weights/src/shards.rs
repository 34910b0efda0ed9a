//! Safetensors, in one file or divided between several whose tensors a JSON file lists.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use temper_files::{Bounded, Head};

use crate::dtype::Dtype;
use crate::error::{Fault, Result};
use crate::format::{Format, Read};
use crate::source::Source;
use crate::tensor::{Tensor, View};

/// Maximum length of a list of tensors in bytes.
const LONGEST: u64 = 4 << 20;
/// Maximum number of files between which tensors may be divided.
const FILES: usize = 1000;

/// One file of safetensors: its first eight bytes are the header's length, far below 2^32; the
/// header in braces follows.
pub(crate) const SAFETENSORS: Format = Format {
    begins: |start| start.get(4..9) == Some(b"\0\0\0\0{"),
    read: |source| {
        let (tensors, metadata) = whole(&source, 0)?;
        Ok(Read { tensors, sources: vec![source], metadata, ..Read::default() })
    },
    says: true,
};

/// A JSON list of safetensors files between which tensors are divided.
pub(crate) const LIST: Format = Format {
    begins: |start| start.trim_ascii_start().starts_with(b"{"),
    read: |source| {
        let (tensors, sources) = divided(&source)?;
        Ok(Read { tensors, sources, ..Read::default() })
    },
    says: false,
};

/// The list of tensors.
#[derive(Debug, Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// The tensors of one file, and its metadata. `file` is its index among all files that are read.
pub(crate) fn whole(
    source: &Source,
    file: usize,
) -> Result<(BTreeMap<String, Tensor>, HashMap<String, String>)> {
    let head = Head::read(&source.path)?
        .map_err(|why| source.malformed(Fault::new(format!("damaged safetensors: {why}"))))?;
    // `Head::read` has checked that the header promises as many bytes as the file has.
    let data = source.length.saturating_sub(head.metadata.data_len() as u64);
    let mut tensors = BTreeMap::new();
    for (name, about) in head.metadata.tensors() {
        let Some(dtype) = Dtype::of_safetensors(about.dtype) else {
            let what = format!("`{name}` has elements of {:?}, which are not read", about.dtype);
            return Err(source.malformed(Fault::new(what)));
        };
        let (first, end) = about.data_offsets;
        let shape: Vec<u64> = about.shape.iter().map(|side| *side as u64).collect();
        let view = View { dtype, strides: in_order(&shape), shape, offset: 0 };
        let tensor =
            source.found(view.placed(file, data + first as u64, end.saturating_sub(first) as u64, false))?;
        tensors.insert(name, tensor);
    }
    Ok((tensors, head.metadata.metadata().clone().unwrap_or_default()))
}

/// The strides of elements that are contiguous and in order.
fn in_order(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = shape[axis].saturating_mul(strides[axis]);
    }
    strides
}

/// The tensors that an index lists, and the files that contain them.
pub(crate) fn divided(index: &Source) -> Result<(BTreeMap<String, Tensor>, Vec<Source>)> {
    let bytes =
        Bounded { file: &index.path, most: LONGEST, what: "a list of tensors (.safetensors.index.json)" }
            .bytes()?;
    let map: Index = serde_json::from_slice(&bytes).map_err(|error| {
        let what = format!("JSON text that is no list of tensors: {error}");
        let help = "expected `{\"weight_map\": {TENSOR: FILE, ...}}`, as in model.safetensors.index.json; name that \
                    file, or one of weights";
        index.malformed(Fault::new(what).advising(help))
    })?;
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, file) in map.weight_map {
        names.entry(file).or_default().push(tensor);
    }
    if names.len() > FILES {
        return Err(
            index.malformed(Fault::new(format!("it names {} files, at most {FILES} are read", names.len())))
        );
    }
    let (mut tensors, mut sources) = (BTreeMap::new(), vec![]);
    for (file, names) in names {
        let source = shard(index, &file)?;
        let (mut own, _) = whole(&source, sources.len())?;
        for name in names {
            let Some(tensor) = own.remove(&name) else {
                let what = format!("it says that `{file}` holds `{name}`, which it does not");
                return Err(
                    index.malformed(Fault::new(what).advising("download both files again, from one place"))
                );
            };
            tensors.insert(name, tensor);
        }
        sources.push(source);
    }
    Ok((tensors, sources))
}

/// Opens a shard, which must be in the same folder as the index.
fn shard(index: &Source, file: &str) -> Result<Source> {
    let path = Path::new(file);
    if path.file_name().is_none_or(|name| name != file) {
        let what = format!("it names `{file}`, which is no file beside it");
        return Err(index.malformed(Fault::new(what)));
    }
    let path = index.path.with_file_name(file);
    if !path.exists() {
        let what = format!("it names `{file}`, which is not beside it");
        return Err(
            index.malformed(Fault::new(what).advising("download all files that it names into one folder"))
        );
    }
    Source::open(&path)
}
