//! Weights from files: safetensors, whole or in shards, and what `torch.save` writes, in its format of today (a ZIP
//! archive) and in that of versions before 1.6 (a stream of pickles and numbers).
//!
//! A format is told by a file's content, never by its name. Pickles are read as data: no code of a file ever runs, and
//! a file that asks for any is an error. [`read`] lists the tensors; their numbers stay on disk until [`File::bytes`]
//! asks for one.

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
