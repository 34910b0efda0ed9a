//! The values of a pickle.

use std::borrow::Cow;

/// A range of bytes in the file; `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A value, and the offset of its opcode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(crate) at: usize,
    pub(crate) kind: ValueKind,
}

/// Containers are indices into the [`Arena`]. Copying or sharing a value is therefore free, and cycles do no
/// harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    None,
    Bool(bool),
    Int(i64),
    Float,
    /// Text that has not been checked to be UTF-8.
    Text(Span),
    Bytes(Span),
    /// Bytes in the form in which Python 3 writes them with protocol 2: text that has not been checked to
    /// consist of characters below 256.
    Latin1(Span),
    List(usize),
    Tuple(usize),
    Dict(usize),
    Array(usize),
    /// A number type, by numpy's code.
    Dtype(Span),
    Global(Global),
}

/// The supported names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    Reconstruct,
    FromBuffer,
    NdArray,
    Dtype,
    Encode,
}

/// An array of numpy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Array {
    /// Index of a tuple in the arena.
    pub(crate) shape: usize,
    pub(crate) dtype: Span,
    /// Whether it is stored in row-major order.
    pub(crate) by_rows: bool,
    pub(crate) data: ValueKind,
}

/// The storage of containers.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// Lists, tuples, and dictionaries with keys and values in turn.
    pub(crate) sequences: Vec<Vec<Value>>,
    /// Arrays; `None` until their state is read.
    pub(crate) arrays: Vec<Option<Array>>,
}

/// A parsed pickle.
#[derive(Debug)]
pub(crate) struct Pickle<'b> {
    pub(crate) bytes: &'b [u8],
    pub(crate) root: Value,
    pub(crate) arena: Arena,
}

impl Pickle<'_> {
    /// The value of a dictionary under a key, which is text or bytes. Of several equal keys the last one counts,
    /// as in Python.
    pub(crate) fn entry(&self, dict: usize, key: &str) -> Option<Value> {
        let pairs = self.arena.sequences[dict].chunks_exact(2).rev();
        // Keys are ASCII, so all kinds of text have the same bytes.
        let same = |pair: &&[Value]| {
            matches!(pair[0].kind, ValueKind::Text(span) | ValueKind::Bytes(span) | ValueKind::Latin1(span)
                if &self.bytes[span.start..span.end] == key.as_bytes())
        };
        pairs.clone().find(same).map(|pair| pair[1])
    }

    /// The bytes of a text or of bytes, if they are valid.
    pub(crate) fn octets(&self, kind: ValueKind) -> Option<Cow<'_, [u8]>> {
        match kind {
            ValueKind::Text(span) | ValueKind::Bytes(span) => Some(self.bytes[span.start..span.end].into()),
            ValueKind::Latin1(span) => Some(latin1(&self.bytes[span.start..span.end])?.into()),
            _ => None,
        }
    }
}

/// The bytes that a UTF-8 text encodes, if all its characters are below 256. An image file is one such text,
/// so this works on bytes: these characters are ASCII, or two bytes of which the first has one of two values.
fn latin1(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            0..0x80 => *byte,
            0xc2 | 0xc3 => match rest.next() {
                Some(next @ 0x80..0xc0) => byte << 6 | next & 0x3f,
                _ => return None,
            },
            _ => return None,
        });
    }
    Some(bytes)
}

/// File contents for a message: shortened, without control characters.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let (start, rest) = bytes.split_at(bytes.len().min(60));
    let more = if rest.is_empty() { "" } else { "..." };
    format!("{}{more}", String::from_utf8_lossy(start).escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_is_its_256_characters() {
        let text: String = (0..=255u8).map(char::from).collect();
        assert_eq!(latin1(text.as_bytes()).unwrap(), (0..=255).collect::<Vec<u8>>());
        for bad in ["\u{100}".as_bytes(), b"\xc2", b"\xc3a", b"\xc1\x80", b"\xff"] {
            assert!(latin1(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_tame() {
        assert_eq!(shown(b"a\x1b[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(shown(&[b'a'; 100]).len(), 63);
    }
}
