//! What training leaves on disk. Every file appears whole or not at all: written beside its place, synced, renamed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Format of the checkpoint file.
const FORMAT: &str = "temper-checkpoint-1";
/// The one entry of a file's metadata: safetensors keeps them in a hash map, and with more than one the bytes of a file
/// would differ from run to run.
const ABOUT: &str = "temper";

/// What a checkpoint says of itself.
#[derive(Serialize, Deserialize)]
struct About {
    format: String,
    epoch: usize,
    config: String,
}

/// A run at the end of an epoch.
#[derive(Debug)]
pub struct Checkpoint {
    /// Epochs done.
    pub epoch: usize,
    /// The part of the configuration that must not change, as TOML.
    pub config: String,
    /// Weights by name.
    pub weights: BTreeMap<String, Tensor>,
    /// Momentum by weight.
    pub velocity: BTreeMap<String, Tensor>,
    /// Epsilon memory by sample.
    pub memory: Vec<f64>,
}

impl Checkpoint {
    /// Writes it.
    pub fn save(&self, file: &Path) -> Result<()> {
        let memory = Tensor::new(self.memory.as_slice(), &Device::Cpu)?;
        let weights = self.weights.iter().map(|(name, t)| (format!("weight/{name}"), t));
        let velocity = self.velocity.iter().map(|(name, t)| (format!("velocity/{name}"), t));
        let tensors = weights.chain(velocity).chain([("memory".to_string(), &memory)]);
        let about = About { format: FORMAT.into(), epoch: self.epoch, config: self.config.clone() };
        let about = serde_json::to_string(&about)
            .map_err(|e| Error::File { file: file.into(), what: format!("cannot be written: {e}") })?;
        save_tensors(file, tensors, Some(about))
    }

    /// Reads it.
    pub fn load(file: &Path) -> Result<Self> {
        let fault = |what: String| Error::File { file: file.into(), what };
        let bytes = fs::read(file).map_err(|source| Error::Io { file: file.into(), source })?;
        let damaged = |e| fault(format!("damaged checkpoint: {e}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let about = header.metadata().as_ref().and_then(|about| about.get(ABOUT));
        let about = about.ok_or_else(|| fault("not a checkpoint of temper".into()))?;
        let About { format, epoch, config } =
            serde_json::from_str(about).map_err(|e| fault(format!("damaged checkpoint: {e}")))?;
        if format != FORMAT {
            return Err(fault(format!("a checkpoint of format `{format}`, expected `{FORMAT}`")));
        }
        let mut checkpoint =
            Self { epoch, config, weights: BTreeMap::new(), velocity: BTreeMap::new(), memory: vec![] };
        for (name, view) in SafeTensors::deserialize(&bytes).map_err(damaged)?.tensors() {
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::F64 => DType::F64,
                other => return Err(fault(format!("tensor `{name}` of type {other:?}"))),
            };
            let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
            match name.split_once('/') {
                Some(("weight", name)) => drop(checkpoint.weights.insert(name.into(), tensor)),
                Some(("velocity", name)) => drop(checkpoint.velocity.insert(name.into(), tensor)),
                _ if name == "memory" => checkpoint.memory = tensor.to_dtype(DType::F64)?.to_vec1()?,
                _ => return Err(fault(format!("unknown tensor `{name}`"))),
            }
        }
        Ok(checkpoint)
    }
}

/// Writes weights by their torch names; `about` becomes the metadata entry `temper`.
pub fn save_weights(file: &Path, weights: &BTreeMap<String, Tensor>, about: String) -> Result<()> {
    save_tensors(file, weights.iter().map(|(name, t)| (name.clone(), t)), Some(about))
}

/// Writes the epsilon memory after an epoch: tensor `memory`, `[n]`, in pixel values of [0, 1], by sample.
pub fn save_radii(file: &Path, memory: &[f64]) -> Result<()> {
    let memory = Tensor::new(memory, &Device::Cpu)?;
    save_tensors(file, [("memory".to_string(), &memory)], None)
}

fn save_tensors<'t>(
    file: &Path,
    tensors: impl IntoIterator<Item = (String, &'t Tensor)>,
    about: Option<String>,
) -> Result<()> {
    let views =
        tensors.into_iter().map(|(name, t)| Ok((name, Bytes::new(t)?))).collect::<Result<Vec<_>>>()?;
    let about = about.map(|text| HashMap::from([(ABOUT.to_string(), text)]));
    let bytes = safetensors::serialize(views, about)
        .map_err(|e| Error::File { file: file.into(), what: format!("cannot be written: {e}") })?;
    save_atomically(file, &bytes)
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

/// Writes a file whole or not at all: beside its place, synced, then renamed.
pub fn save_atomically(file: &Path, bytes: &[u8]) -> Result<()> {
    let io = |file: &Path| {
        let file = file.to_path_buf();
        move |source| Error::Io { file, source }
    };
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = file.with_file_name(name);
    let mut out = File::create(&part).map_err(io(&part))?;
    out.write_all(bytes).and_then(|()| out.sync_all()).map_err(io(&part))?;
    drop(out);
    fs::rename(&part, file).map_err(io(file))?;
    // The rename itself must survive a power cut too; only Unix opens folders for that.
    #[cfg(unix)]
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder))?;
    }
    Ok(())
}
