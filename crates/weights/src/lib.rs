//! Reads weights from files: safetensors, in one file or in shards, and files of `torch.save`, in the current format
//! (a ZIP archive) and in the format before version 1.6 (a stream of pickles and numbers).
//!
//! A file's content determines its format, never its name. Pickles are read as data: no code of a file ever runs, and
//! a file that tries to run any is an error. [`read`] lists the tensors; the numbers of a tensor stay on disk until
//! [`File::bytes`] reads them.

mod dtype;
mod error;
mod file;
mod format;
mod legacy;
mod names;
mod pickle;
mod schemes;
mod shards;
mod source;
mod state;
mod tensor;
mod torch;
mod write;
mod zip;

pub use dtype::Dtype;
pub use error::{Error, Fault, Result};
pub use file::{File, metadata, read};
pub use tensor::Tensor;
pub use write::{SavedTensor, torch_file};
