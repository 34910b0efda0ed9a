//! Values of a pickle: they are small and cheap to copy. Long data is in an arena or in the pickle's own bytes.

use crate::dtype::Dtype;
use crate::pickle::globals::Global;

/// A range of bytes of the pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) at: u32,
    pub(crate) length: u32,
}

/// A value of a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Valid UTF-8.
    Text(Span),
    /// Data that is not needed here.
    Plain(Plain),
    /// An object of a class of data that contains no weights.
    Opaque(u16),
    Global(Global),
    /// Items in the arena. Lists and dictionaries are stored the same way; in dictionaries, keys
    /// and values alternate.
    Tuple(u32),
    List(u32),
    Dict(u32),
    Storage(u32),
    Tensor(u32),
}

/// The kind of data whose value is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    /// A float, or a whole number of more than 64 bits.
    Number,
    Bytes,
    Set,
}

/// Numbers on disk; tensors are views of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storage {
    /// Its name among the storages.
    pub(crate) key: Span,
    pub(crate) dtype: Dtype,
    /// Size of the whole storage in bytes.
    pub(crate) bytes: u64,
    /// The part of the storage that is referred to: its offset and its length in bytes.
    pub(crate) part: (u64, u64),
}

/// A tensor, as the arguments of its constructor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rebuilt {
    pub(crate) storage: u32,
    pub(crate) dtype: Dtype,
    pub(crate) offset: i64,
    /// Id of a tuple in the arena; so is `strides`.
    pub(crate) shape: u32,
    pub(crate) strides: u32,
}

/// The data that values refer to.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    items: Vec<Vec<Value>>,
    pub(crate) storages: Vec<Storage>,
    pub(crate) tensors: Vec<Rebuilt>,
}

impl Arena {
    /// Adds items and returns their id.
    pub(super) fn add(&mut self, items: Vec<Value>) -> u32 {
        // The number of opcodes is limited far below 2^32.
        self.items.push(items);
        (self.items.len() - 1) as u32
    }

    pub(crate) fn items(&self, id: u32) -> &[Value] {
        self.items.get(id as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn extend(&mut self, id: u32, more: &[Value]) {
        if let Some(items) = self.items.get_mut(id as usize) {
            items.extend_from_slice(more);
        }
    }
}
