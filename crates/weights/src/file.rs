//! A file of weights, of any format.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::error::{Error, Fault, Result};
use crate::format::{Read, format_of};
use crate::names::{fitting, listed, shared};
use crate::source::Source;
use crate::tensor::Tensor;

/// The end of a name under which `PyTorch` counts the batches that a batch norm has seen. No pass reads it.
const BATCHES_SEEN: &str = "num_batches_tracked";

/// Tensors may share their numbers, and may repeat them. All of them together take at most as many times the length of
/// the files, ...
const SHARED: u64 = 8;
/// ... and so many bytes.
const REPEATED: u64 = 16 << 20;

/// A file of weights, of which the numbers are still on disk.
#[derive(Debug)]
pub struct File {
    /// All tensors by their names.
    pub tensors: BTreeMap<String, Tensor>,
    /// What was seen through or left out on the way to the tensors: sentences for the user.
    pub told: Vec<String>,
    /// What the file says of itself, if it is safetensors; empty for other formats.
    pub metadata: HashMap<String, String>,
    /// The file that was named.
    path: PathBuf,
    /// Those that hold the tensors.
    sources: Vec<Source>,
}

/// Reads which tensors a file holds, and where: of safetensors, whole or in shards (`*.index.json`), or of
/// `torch.save`. Counters named `num_batches_tracked` are left out. Any other file is an error that names what it is.
pub fn read(path: &Path) -> Result<File> {
    let source = Source::open(path)?;
    let Read { mut tensors, sources, told, metadata } = (format_of(&source)?.read)(source)?;
    tensors.retain(|name, _| name.rsplit('.').next() != Some(BATCHES_SEEN));
    let file = File { tensors, told, metadata, path: path.into(), sources };
    file.bounded()?;
    Ok(file)
}

/// What a file of safetensors says of itself; empty for other formats. A file without weights is an error. Reads no
/// tensor.
pub fn metadata(path: &Path) -> Result<HashMap<String, String>> {
    let source = Source::open(path)?;
    let format = format_of(&source)?;
    if format.says { (format.read)(source).map(|read| read.metadata) } else { Ok(HashMap::new()) }
}

impl File {
    /// An error if the tensors say that they have far more numbers than the files.
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

    /// The elements of one of its tensors, in order, the least significant byte of each first.
    pub fn bytes(&self, tensor: &Tensor) -> Result<Vec<u8>> {
        match self.sources.get(tensor.file) {
            Some(source) => tensor.read(source),
            None => Err(self.malformed(Fault::new("a tensor of another file"))),
        }
    }

    /// All files that were read: the one that was named, and those between which its tensors are divided.
    pub fn files(&self) -> Vec<&Path> {
        let others =
            self.sources.iter().map(|source| source.path.as_path()).filter(|path| *path != self.path);
        [self.path.as_path()].into_iter().chain(others).collect()
    }

    /// Takes off what wrappers put before all names.
    pub fn unwrap_names(&mut self) {
        let names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
        self.without(&shared(&names));
    }

    /// Takes off what stands before the names that are wanted, and leaves out tensors that have nothing of the kind
    /// before theirs. If not all wanted names are there, only what wrappers put before all names is taken off, and only
    /// where a wanted name comes out.
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
