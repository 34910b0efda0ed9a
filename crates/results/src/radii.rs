//! `epsilon/epoch-*.safetensors`: the radius of every training sample after each epoch.

use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use temper_files::save_atomically;

use crate::error::Error;
use crate::files;

/// Names of tensors that a message tells, of files that hold something else.
const KNOWN: usize = 20;

/// Where the radii of one epoch are. A run on a large data set has more of them than memory holds: read one
/// after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RadiiFile {
    /// From 1.
    pub epoch: usize,
    /// The file.
    pub file: PathBuf,
}

/// Radii after one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochRadii {
    /// From 1.
    pub epoch: usize,
    /// Radius of each sample, `[n]`, in pixel values of [0, 1].
    pub radii: Vec<f64>,
    /// Where each of these samples stands in the whole training split, `[n]`.
    pub index: Vec<i64>,
}

impl RadiiFile {
    /// Those of a run, by epoch; an error if it has none. Other files beside them are passed over.
    pub fn of(run: &Path) -> Result<Vec<Self>, Error> {
        let folder = run.join("epsilon");
        let io = |source| temper_files::Error::Io { file: folder.clone(), source };
        let mut files = vec![];
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let file = entry.map_err(io)?.path();
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let epoch = name.strip_prefix("epoch-").and_then(|rest| rest.strip_suffix(".safetensors"));
            if let Some(epoch) = epoch.and_then(|digits| digits.parse().ok()) {
                files.push(Self { epoch, file });
            }
        }
        if files.is_empty() {
            let what = "no file epoch-*.safetensors here; training with an epsilon policy writes them".into();
            return Err(Error::Unfit { file: folder, what });
        }
        files.sort_by_key(|file| file.epoch);
        Ok(files)
    }

    /// Reads it.
    pub fn read(&self) -> Result<EpochRadii, Error> {
        let bytes = files::tensors(&self.file)?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|e| self.unfit(format!("not safetensors: {e}")))?;
        let radii = self.vector(&tensors, "memory", Dtype::F64, f64::from_le_bytes)?;
        let index = self.vector(&tensors, "index", Dtype::I64, i64::from_le_bytes)?;
        if radii.len() != index.len() {
            let (radii, index) = (radii.len(), index.len());
            return Err(self.unfit(format!("{radii} radii in `memory`, but {index} samples in `index`")));
        }
        if let Some(at) = radii.iter().position(|radius| !radius.is_finite() || *radius < 0.0) {
            return Err(self.unfit(format!("sample {} has the radius {}", index[at], radii[at])));
        }
        Ok(EpochRadii { epoch: self.epoch, radii, index })
    }

    fn unfit(&self, what: String) -> Error {
        Error::Unfit { file: self.file.clone(), what }
    }

    /// A tensor of one dimension, of eight bytes an element.
    fn vector<T>(
        &self,
        tensors: &SafeTensors,
        name: &str,
        expected: Dtype,
        from: fn([u8; 8]) -> T,
    ) -> Result<Vec<T>, Error> {
        let tensor = tensors.tensor(name).map_err(|_| {
            let mut known = tensors.names();
            known.truncate(KNOWN);
            let known = known.join("`, `");
            self.unfit(format!("no tensor `{name}`, it holds `{known}`"))
        })?;
        if tensor.dtype() != expected || tensor.shape().len() != 1 {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(self.unfit(format!(
                "tensor `{name}` is {dtype:?} of shape {shape:?}, expected {expected:?} of one dimension"
            )));
        }
        let (numbers, _) = tensor.data().as_chunks::<8>();
        Ok(numbers.iter().copied().map(from).collect())
    }
}

impl EpochRadii {
    /// Writes them, whole or not at all: tensors `memory`, `[n]`, f64, and `index`, `[n]`, i64.
    pub fn write(&self, file: &Path) -> Result<(), Error> {
        let memory: Vec<u8> = self.radii.iter().flat_map(|radius| radius.to_le_bytes()).collect();
        let index: Vec<u8> = self.index.iter().flat_map(|index| index.to_le_bytes()).collect();
        let bytes = TensorView::new(Dtype::F64, vec![self.radii.len()], &memory)
            .and_then(|memory| {
                Ok([
                    ("memory", memory),
                    ("index", TensorView::new(Dtype::I64, vec![self.index.len()], &index)?),
                ])
            })
            .and_then(|tensors| safetensors::serialize(tensors, None));
        let what = |error| format!("cannot be written: {error}");
        Ok(save_atomically(file, &bytes.map_err(|e| Error::Unfit { file: file.into(), what: what(e) })?)?)
    }

    /// Mean over all samples (also those that could not be decoded, which `metrics.jsonl` leaves out); `None`
    /// without any.
    pub fn mean(&self) -> Option<f64> {
        let n = self.radii.len();
        (n > 0).then(|| self.radii.iter().sum::<f64>() / n as f64)
    }

    /// Radius of the sample that stands here in the whole training split; `None` if it was not trained on.
    pub fn of(&self, sample: i64) -> Option<f64> {
        self.index.iter().position(|index| *index == sample).map(|at| self.radii[at])
    }

    /// Places in the whole training split of the samples with the least and with the largest radii, that share of all
    /// (0 to 1) of each, at least one; where radii are equal, in the order of the split.
    pub fn extremes(&self, share: f64) -> [Vec<i64>; 2] {
        let mut order: Vec<usize> = (0..self.radii.len()).collect();
        order.sort_by(|a, b| {
            self.radii[*a].total_cmp(&self.radii[*b]).then(self.index[*a].cmp(&self.index[*b]))
        });
        let n = ((order.len() as f64 * share).floor() as usize).clamp(1.min(order.len()), order.len());
        let least = order[..n].iter().map(|at| self.index[*at]).collect();
        order.sort_by(|a, b| {
            self.radii[*b].total_cmp(&self.radii[*a]).then(self.index[*a].cmp(&self.index[*b]))
        });
        [least, order[..n].iter().map(|at| self.index[*at]).collect()]
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::serialize_to_file;

    use super::*;

    fn bytes(numbers: &[f64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Writes `epsilon/NAME` with tensors of f64 and i64.
    fn write(run: &Path, name: &str, tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) {
        std::fs::create_dir_all(run.join("epsilon")).unwrap();
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        serialize_to_file(views, None, &run.join("epsilon").join(name)).unwrap();
    }

    fn radii(run: &Path, epoch: usize, memory: &[f64], index: &[i64]) {
        std::fs::create_dir_all(run.join("epsilon")).unwrap();
        let file = run.join(format!("epsilon/epoch-{epoch:04}.safetensors"));
        EpochRadii { epoch, radii: memory.to_vec(), index: index.to_vec() }.write(&file).unwrap();
    }

    #[test]
    fn epochs_in_order_with_their_samples() {
        let run = tempfile::tempdir().unwrap();
        radii(run.path(), 10, &[0.25, 0.5, 0.0], &[7, 3, 4]);
        radii(run.path(), 2, &[0.1, 0.1, 0.1], &[7, 3, 4]);
        std::fs::write(run.path().join("epsilon/notes.txt"), "").unwrap();
        let files = RadiiFile::of(run.path()).unwrap();
        assert_eq!(files.iter().map(|file| file.epoch).collect::<Vec<_>>(), [2, 10]);
        let last = files[1].read().unwrap();
        assert_eq!((last.mean(), last.of(3), last.of(5)), (Some(0.25), Some(0.5), None));
        assert_eq!(last.extremes(0.4), [vec![4], vec![3]]);
        assert_eq!(files[0].read().unwrap().extremes(0.7), [vec![3, 4], vec![3, 4]]);
        let none = EpochRadii { epoch: 1, radii: vec![], index: vec![] };
        assert_eq!((none.mean(), none.extremes(0.5)), (None, [vec![], vec![]]));
    }

    #[test]
    fn files_that_hold_something_else_are_named() {
        let run = tempfile::tempdir().unwrap();
        let missing = RadiiFile::of(run.path()).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read ") && missing.contains("epsilon"), "{missing}");
        std::fs::create_dir(run.path().join("epsilon")).unwrap();
        let empty = RadiiFile::of(run.path()).unwrap_err().to_string();
        assert!(empty.contains("no file epoch-*.safetensors here"), "{empty}");

        let fault = || RadiiFile::of(run.path()).unwrap()[0].read().unwrap_err().to_string();
        std::fs::write(run.path().join("epsilon/epoch-0001.safetensors"), "short").unwrap();
        assert!(fault().contains("not safetensors"), "{}", fault());
        radii(run.path(), 1, &[0.1, 0.2], &[1]);
        assert!(fault().contains("2 radii in `memory`, but 1 samples in `index`"), "{}", fault());
        radii(run.path(), 1, &[0.1, f64::NAN], &[1, 5]);
        assert!(fault().contains("sample 5 has the radius NaN"), "{}", fault());
        write(run.path(), "epoch-0001.safetensors", &[("weight", Dtype::F64, vec![1], bytes(&[1.0]))]);
        assert!(fault().contains("no tensor `memory`, it holds `weight`"), "{}", fault());
        write(run.path(), "epoch-0001.safetensors", &[("memory", Dtype::F64, vec![1, 1], bytes(&[1.0]))]);
        assert!(fault().contains("F64 of shape [1, 1], expected F64 of one dimension"), "{}", fault());
    }
}
