//! Checkpoints: the whole state of a run at one moment, protected by a hash. The previous checkpoint is kept as
//! well.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use temper_files::{Head, hex, save_beside};
use temper_results::Epoch;

use crate::error::{Error, Result};
use crate::files::{ABOUT, rename, tensor_bytes};
use crate::progress::Progress;

/// Format of the checkpoint file.
const FORMAT: &str = "temper-checkpoint-4";
/// The placeholder for the hash while the hash is computed.
const UNSEALED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The metadata of a checkpoint.
#[derive(Serialize, Deserialize)]
struct About {
    format: String,
    /// SHA-256 of the file with [`UNSEALED`] in place of this field.
    sha256: String,
    epoch: usize,
    progress: Progress,
    metrics: Vec<Epoch>,
    config: String,
    #[serde(default)]
    skipped: BTreeMap<u64, String>,
}

/// A run between two steps of the optimiser.
#[derive(Debug)]
pub struct Checkpoint {
    /// Number of completed epochs.
    pub epoch: usize,
    /// The progress of the current epoch.
    pub progress: Progress,
    /// The entry of each completed epoch in `metrics.jsonl`.
    pub metrics: Vec<Epoch>,
    /// Training images that could not be decoded so far, with the reason.
    pub skipped: BTreeMap<u64, String>,
    /// The part of the configuration that must not change, as TOML.
    pub config: String,
    /// Weights by name.
    pub weights: BTreeMap<String, Tensor>,
    /// Momentum by weight.
    pub velocity: BTreeMap<String, Tensor>,
    /// Average by weight; empty if none is kept.
    pub average: BTreeMap<String, Tensor>,
    /// Epsilon memory by sample.
    pub memory: Vec<f64>,
}

impl Checkpoint {
    /// Writes the checkpoint. An existing file becomes the [`previous`] one.
    pub fn save(&self, file: &Path) -> Result<()> {
        let part = save_beside(file, &self.bytes(file)?)?;
        // If the process is killed in between, the next start finds only the previous checkpoint.
        if file.exists() {
            rename(file, &previous(file))?;
        }
        rename(&part, file)
    }

    fn bytes(&self, file: &Path) -> Result<Vec<u8>> {
        let memory = Tensor::new(self.memory.as_slice(), &Device::Cpu)?;
        let weights = self.weights.iter().map(|(name, t)| (format!("weight/{name}"), t));
        let velocity = self.velocity.iter().map(|(name, t)| (format!("velocity/{name}"), t));
        let average = self.average.iter().map(|(name, t)| (format!("average/{name}"), t));
        let tensors = weights.chain(velocity).chain(average).chain([("memory".to_string(), &memory)]);
        let about = About {
            format: FORMAT.into(),
            sha256: UNSEALED.into(),
            epoch: self.epoch,
            progress: self.progress,
            metrics: self.metrics.clone(),
            config: self.config.clone(),
            skipped: self.skipped.clone(),
        };
        let fault = |what: String| Error::File { file: file.into(), what };
        let about = serde_json::to_string(&about).map_err(|e| fault(format!("cannot be written: {e}")))?;
        let mut bytes = tensor_bytes(file, tensors, Some(about))?;
        let hash = hex(&Sha256::digest(&bytes));
        let place =
            find(&bytes, UNSEALED.as_bytes()).ok_or_else(|| fault("has no place for its hash".into()))?;
        bytes[place..place + hash.len()].copy_from_slice(hash.as_bytes());
        Ok(bytes)
    }

    /// Reads a file. Any changed byte is an error.
    pub fn load(file: &Path) -> Result<Self> {
        let fault = |what: String| Error::File { file: file.into(), what };
        let damaged = |e: &dyn std::fmt::Display| fault(format!("damaged checkpoint: {e}"));
        let head = Head::read(file)?.map_err(|e| damaged(&e))?;
        let about = head.metadata.metadata().as_ref().and_then(|about| about.get(ABOUT));
        let about = about.ok_or_else(|| fault("not a checkpoint of temper".into()))?;
        let format: Format = serde_json::from_str(about).map_err(|e| damaged(&e))?;
        if format.format != FORMAT {
            let format = format.format;
            return Err(fault(format!("a checkpoint of format `{format}`, this temper writes `{FORMAT}`")));
        }
        let About { sha256, epoch, progress, metrics, config, skipped, .. } =
            serde_json::from_str(about).map_err(|e| damaged(&e))?;
        let mut bytes = head.whole()?;
        let hash = Some(sha256.as_bytes()).filter(|hash| hash.len() == UNSEALED.len());
        let place = hash.and_then(|hash| find(&bytes, hash)).ok_or_else(|| damaged(&"it names no hash"))?;
        bytes[place..place + UNSEALED.len()].copy_from_slice(UNSEALED.as_bytes());
        if hex(&Sha256::digest(&bytes)) != sha256 {
            return Err(damaged(&"its hash is not that of its contents"));
        }
        let (weights, velocity, average) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let memory = vec![];
        let mut checkpoint =
            Self { epoch, progress, metrics, skipped, config, weights, velocity, average, memory };
        for (name, view) in SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?.tensors() {
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::F64 => DType::F64,
                other => return Err(fault(format!("tensor `{name}` of type {other:?}"))),
            };
            let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
            match name.split_once('/') {
                Some(("weight", name)) => drop(checkpoint.weights.insert(name.into(), tensor)),
                Some(("velocity", name)) => drop(checkpoint.velocity.insert(name.into(), tensor)),
                Some(("average", name)) => drop(checkpoint.average.insert(name.into(), tensor)),
                _ if name == "memory" => checkpoint.memory = tensor.to_dtype(DType::F64)?.to_vec1()?,
                _ => return Err(fault(format!("unknown tensor `{name}`"))),
            }
        }
        Ok(checkpoint)
    }

    /// Reads the newest intact checkpoint: `file`, otherwise the [`previous`] one together with a sentence
    /// about `file`. `None` if neither exists.
    pub fn newest(file: &Path) -> Result<Option<(Self, Option<String>)>> {
        let absent = |error: &Error| match error {
            Error::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        };
        let newer = match Self::load(file) {
            Ok(checkpoint) => return Ok(Some((checkpoint, None))),
            Err(error) => error,
        };
        match Self::load(&previous(file)) {
            Ok(checkpoint) if absent(&newer) => {
                // The process was killed between the two renames of `save`.
                Ok(Some((checkpoint, Some(format!("{} is missing", file.display())))))
            }
            Ok(checkpoint) => Ok(Some((checkpoint, Some(newer.to_string())))),
            Err(older) if absent(&older) && absent(&newer) => Ok(None),
            Err(older) if absent(&older) => Err(newer),
            Err(older) if absent(&newer) => Err(older),
            Err(older) => Err(Error::NoCheckpoint { newer: Box::new(newer), older: Box::new(older) }),
        }
    }
}

/// Whether the metadata of a file is that of a checkpoint, in any format version.
pub fn is_checkpoint(about: &str) -> bool {
    let format: Result<Format, _> = serde_json::from_str(about);
    format.is_ok_and(|about| about.format.starts_with("temper-checkpoint"))
}

/// The part of [`About`] that all format versions share.
#[derive(Deserialize)]
struct Format {
    format: String,
}

/// The path of the checkpoint before `file`.
pub fn previous(file: &Path) -> PathBuf {
    file.with_extension("previous.safetensors")
}

/// Moves a damaged checkpoint aside, so that the next [`Checkpoint::save`] does not replace an intact one with
/// it. Returns its new path.
pub fn put_aside(file: &Path) -> Result<PathBuf> {
    let aside = file.with_extension("damaged.safetensors");
    rename(file, &aside)?;
    Ok(aside)
}

/// The first position of `part` in `bytes`.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len().max(1)).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::progress::summary;

    fn checkpoint(epoch: usize) -> Checkpoint {
        let row = |v: f32| Tensor::new(&[v, -v], &Device::Cpu).unwrap();
        Checkpoint {
            epoch,
            progress: Progress { batches: 3, loss: 0.1 + 0.2, vanished: 5, ..Progress::default() },
            metrics: vec![summary(
                1,
                &Progress { samples: 3, loss: 0.1, ..Progress::default() },
                0.1,
                &[0.3, 0.1],
            )],
            skipped: BTreeMap::from([(7, "7.png: torn".to_string())]),
            config: "seed = 0".into(),
            weights: BTreeMap::from([("fc.weight".to_string(), row(1.5))]),
            velocity: BTreeMap::from([("fc.weight".to_string(), row(0.5))]),
            average: BTreeMap::from([("fc.weight".to_string(), row(2.5))]),
            memory: vec![0.1, 0.2],
        }
    }

    fn epoch(file: &Path) -> Result<Option<(usize, bool)>> {
        Ok(Checkpoint::newest(file)?.map(|(c, note)| (c.epoch, note.is_some())))
    }

    #[test]
    fn what_is_saved_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("checkpoint.safetensors");
        checkpoint(4).save(&file).unwrap();
        let back = Checkpoint::load(&file).unwrap();
        let (want, got) = (checkpoint(4), &back);
        assert_eq!((got.epoch, got.progress, &got.metrics), (4, want.progress, &want.metrics));
        assert_eq!((&got.config, &got.memory), (&want.config, &want.memory));
        assert_eq!(got.skipped, want.skipped);
        assert_eq!(back.weights["fc.weight"].to_vec1::<f32>().unwrap(), [1.5, -1.5]);
        assert_eq!(back.velocity["fc.weight"].to_vec1::<f32>().unwrap(), [0.5, -0.5]);
        assert_eq!(back.average["fc.weight"].to_vec1::<f32>().unwrap(), [2.5, -2.5]);
    }

    #[test]
    fn progress_of_before_knows_no_vanished_gradients() {
        let old = r#"{"batches":3,"samples":9,"loss":1.0,"right":2.0,"forwards":9,"backwards":9,"seconds":1.0,"waiting":0.0}"#;
        let progress: Progress = serde_json::from_str(old).unwrap();
        assert_eq!((progress.batches, progress.skipped, progress.vanished), (3, 0, 0));
    }

    #[test]
    fn no_changed_byte_and_no_cut_goes_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("checkpoint.safetensors");
        checkpoint(1).save(&file).unwrap();
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut edited = whole.clone();
            edited[at] ^= 1;
            fs::write(&file, &edited).unwrap();
            assert!(Checkpoint::load(&file).is_err(), "byte {at} of {}", whole.len());
            fs::write(&file, &whole[..at]).unwrap();
            assert!(Checkpoint::load(&file).is_err(), "cut to {at} of {}", whole.len());
        }
        fs::write(&file, &whole).unwrap();
        Checkpoint::load(&file).unwrap();
    }

    #[test]
    fn the_previous_one_serves_where_the_newest_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("checkpoint.safetensors");
        assert_eq!(epoch(&file).unwrap(), None);
        checkpoint(1).save(&file).unwrap();
        checkpoint(2).save(&file).unwrap();
        assert_eq!(epoch(&file).unwrap(), Some((2, false)));
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(epoch(&file).unwrap(), Some((1, true)));
        put_aside(&file).unwrap();
        assert_eq!(epoch(&file).unwrap(), Some((1, true)));
        // The intact checkpoint survives the next save, and the damaged one stays where it was moved.
        checkpoint(3).save(&file).unwrap();
        assert_eq!(epoch(&file).unwrap(), Some((3, false)));
        assert_eq!(Checkpoint::load(&previous(&file)).unwrap().epoch, 1);
        fs::write(&file, "").unwrap();
        fs::write(previous(&file), "").unwrap();
        let error = epoch(&file).unwrap_err().to_string();
        assert!(error.contains("checkpoint.safetensors") && error.contains("previous"), "{error}");
    }

    #[test]
    fn a_file_that_only_seems_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("checkpoint.safetensors");
        checkpoint(1).save(&file).unwrap();
        checkpoint(2).save(&file).unwrap();
        // Zeros that occupy no disk space, after a checkpoint and alone.
        for start in [fs::read(&file).unwrap(), vec![]] {
            fs::write(&file, start).unwrap();
            fs::File::options().write(true).open(&file).unwrap().set_len(20 << 30).unwrap();
            let said = Checkpoint::load(&file).unwrap_err().to_string();
            assert!(said.contains("checkpoint.safetensors: damaged checkpoint: its header "), "{said}");
            let said = crate::load_about(&file).unwrap_err().to_string();
            assert!(said.contains("safetensors") && said.contains(": its header "), "{said}");
            assert_eq!(epoch(&file).unwrap(), Some((1, true)));
        }
    }
}
