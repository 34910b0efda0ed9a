//! A file of weights in any supported format.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::error::{Error, Fault, Result};
use crate::format::{Read, format_of};
use crate::names::{fitting, listed, shared};
use crate::source::Source;
use crate::tensor::Tensor;

/// The last part of the name under which `PyTorch` stores a batch norm's count of batches. No pass uses the count.
const BATCHES_SEEN: &str = "num_batches_tracked";

/// Tensors may share and repeat numbers. Together they may take at most `SHARED` times the length of the files,
/// plus [`REPEATED`] bytes.
const SHARED: u64 = 8;
/// Bytes that all tensors together may take beyond [`SHARED`] times the length of the files.
const REPEATED: u64 = 16 << 20;

/// A file of weights whose numbers are still on disk.
#[derive(Debug)]
pub struct File {
    /// All tensors by their names.
    pub tensors: BTreeMap<String, Tensor>,
    /// Sentences for the user about what was stripped or left out to reach the tensors.
    pub told: Vec<String>,
    /// The metadata of a safetensors file; empty for other formats.
    pub metadata: HashMap<String, String>,
    /// The path that was given to [`read`].
    path: PathBuf,
    /// The files that contain the tensors.
    sources: Vec<Source>,
}

/// Lists the tensors of a file and their places in it. The file may be safetensors, whole or in shards
/// (`*.index.json`), or a file of `torch.save`. Counters named `num_batches_tracked` are left out. Any other file is
/// an error that names its format.
pub fn read(path: &Path) -> Result<File> {
    let source = Source::open(path)?;
    let Read { mut tensors, sources, told, metadata } = (format_of(&source)?.read)(source)?;
    tensors.retain(|name, _| name.rsplit('.').next() != Some(BATCHES_SEEN));
    let file = File { tensors, told, metadata, path: path.into(), sources };
    file.bounded()?;
    Ok(file)
}

/// Returns the metadata of a safetensors file; empty for other formats. A file without weights is
/// an error. Reads no tensor.
pub fn metadata(path: &Path) -> Result<HashMap<String, String>> {
    let source = Source::open(path)?;
    let format = format_of(&source)?;
    if format.says { (format.read)(source).map(|read| read.metadata) } else { Ok(HashMap::new()) }
}

impl File {
    /// Returns an error if the tensors claim far more numbers than the files contain.
    fn bounded(&self) -> Result<()> {
        let length = self.sources.iter().fold(0u64, |sum, source| sum.saturating_add(source.length));
        let most = length.saturating_mul(SHARED).saturating_add(REPEATED);
        let cost = self.tensors.values().fold(0u64, |sum, tensor| sum.saturating_add(tensor.cost()));
        if cost > most {
            let what = format!(
                "its tensors repeat its numbers: they take {cost} bytes, {most} at most are read of {length}"
            );
            let help = "save copies of those that are used, in Python: {name: tensor.clone() ...}";
            return Err(self.malformed(Fault::new(what).advising(help)));
        }
        Ok(())
    }

    /// Reads the elements of one of its tensors, in order, each in little-endian byte order.
    pub fn bytes(&self, tensor: &Tensor) -> Result<Vec<u8>> {
        match self.sources.get(tensor.file) {
            Some(source) => tensor.read(source),
            None => Err(self.malformed(Fault::new("a tensor of another file"))),
        }
    }

    /// All files that were read: the named file, and the shards that contain its tensors.
    pub fn files(&self) -> Vec<&Path> {
        let others =
            self.sources.iter().map(|source| source.path.as_path()).filter(|path| *path != self.path);
        [self.path.as_path()].into_iter().chain(others).collect()
    }

    /// Strips the prefix that wrappers put before all names.
    pub fn unwrap_names(&mut self) {
        let names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
        self.without(&shared(&names));
    }

    /// Strips the prefix of the wanted names, and leaves out tensors whose names lack it. If some wanted names are
    /// missing, only the prefix that wrappers put before all names is stripped, and only if a wanted name results.
    pub fn fit_names(&mut self, wanted: &BTreeSet<&str>) {
        let names: BTreeSet<&str> = self.tensors.keys().map(String::as_str).collect();
        let prefix = fitting(&names, wanted).unwrap_or_else(|| {
            let prefix = shared(&names.iter().copied().collect::<Vec<_>>());
            let known = |name: &&str| wanted.contains(&name[prefix.len()..]);
            if names.iter().any(known) { prefix } else { String::new() }
        });
        self.without(&prefix);
    }

    fn without(&mut self, prefix: &str) {
        if prefix.is_empty() {
            return;
        }
        let (mut kept, mut left) = (BTreeMap::new(), vec![]);
        for (name, tensor) in std::mem::take(&mut self.tensors) {
            match name.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
                Some(rest) => drop(kept.insert(rest.to_string(), tensor)),
                None => left.push(format!("`{name}`")),
            }
        }
        self.tensors = kept;
        self.told.push(format!("names are read without `{prefix}` before them"));
        if !left.is_empty() {
            let (n, are) = (left.len(), if left.len() == 1 { "tensor is" } else { "tensors are" });
            let names = listed(left.into_iter());
            self.told.push(format!("{n} {are} not read, without `{prefix}` before their names: {names}"));
        }
    }

    fn malformed(&self, fault: Fault) -> Error {
        Error::Malformed { file: self.path.clone(), fault: Box::new(fault) }
    }
}
