//! The safetensors format.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors};
use temper_files::Head;

use crate::error::{Error, Result};
use crate::files::ABOUT;
use crate::weights::strangers::looks_like;
use crate::weights::{Reader, Weights, is_finite, start};

/// Names of tensors that an error lists at most.
const SHOWN: usize = 5;

/// The end of a name under which `PyTorch` counts the batches that a batch norm has seen. No pass reads it.
const BATCHES_SEEN: &str = "num_batches_tracked";

/// Files of safetensors.
pub(super) struct Safetensors;

impl Reader for Safetensors {
    fn reads(&self, start: &[u8]) -> bool {
        // The first eight bytes are the header's length, far below 2^32, and then comes the header in braces.
        start.get(4..9) == Some(b"\0\0\0\0{")
    }

    fn weights(&self, file: &Path) -> Result<Weights> {
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

    fn about(&self, file: &Path) -> Result<Option<String>> {
        let head = Head::read(file)?.map_err(|error| stranger(file, &error))?;
        Ok(head.metadata.metadata().as_ref().and_then(|about| about.get(ABOUT)).cloned())
    }
}

/// The bytes of a safetensors file, whose length is what its header promises.
fn whole(file: &Path) -> Result<Vec<u8>> {
    let head = Head::read(file)?.map_err(|error| stranger(file, &error))?;
    Ok(head.whole()?)
}

/// The first of these, and how many more there are.
fn listed(all: &[String]) -> String {
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The error about a file that is not safetensors, which names what it looks like.
fn stranger(file: &Path, error: &dyn fmt::Display) -> Error {
    let start = start(file);
    let begun = Safetensors.reads(&start);
    let regular = file.is_file();
    let what = match looks_like(&start).filter(|_| !begun) {
        _ if start.is_empty() && regular => "not safetensors: it is empty".into(),
        Some((is, help)) => format!("not safetensors: it looks like {is}{help}"),
        None if begun => format!("damaged safetensors: {error}"),
        None => format!("not safetensors: {error}"),
    };
    Error::File { file: file.into(), what }
}
