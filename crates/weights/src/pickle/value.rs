//! Values of a pickle: small, and copied freely; what is long lies in an arena or in the pickle's own bytes.

use crate::dtype::Dtype;
use crate::pickle::globals::Global;

/// Bytes of the pickle.
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
    /// UTF-8, checked.
    Text(Span),
    /// Data that nothing here asks for.
    Plain(Plain),
    /// What a class made that is data, but not of weights.
    Opaque(u16),
    Global(Global),
    /// Items of the arena; the same for lists, and for dictionaries, where keys and values take turns.
    Tuple(u32),
    List(u32),
    Dict(u32),
    Storage(u32),
    Tensor(u32),
}

/// Data of which only the kind is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    /// A float, or a whole number of more than 64 bits.
    Number,
    Bytes,
    Set,
}

/// Numbers on disk, which tensors are views of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storage {
    /// Its name among the storages.
    pub(crate) key: Span,
    pub(crate) dtype: Dtype,
    /// Bytes of the whole.
    pub(crate) bytes: u64,
    /// The part of it that is meant: its first byte and its length.
    pub(crate) part: (u64, u64),
}

/// A tensor, as its constructor was called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rebuilt {
    pub(crate) storage: u32,
    pub(crate) dtype: Dtype,
    pub(crate) offset: i64,
    /// Tuples.
    pub(crate) shape: u32,
    pub(crate) strides: u32,
}

/// What values refer to.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    items: Vec<Vec<Value>>,
    pub(crate) storages: Vec<Storage>,
    pub(crate) tensors: Vec<Rebuilt>,
}

impl Arena {
    /// Adds items and returns their number.
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
