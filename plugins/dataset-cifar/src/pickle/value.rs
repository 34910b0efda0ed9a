//! What a pickle holds.

use std::borrow::Cow;

/// Bytes of the file, `end` not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A value, and the byte where its opcode stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(crate) at: usize,
    pub(crate) kind: ValueKind,
}

/// Containers are numbers of places in the [`Arena`]: to copy or to share a value costs nothing, whatever it holds, and
/// values that hold each other do no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    None,
    Bool(bool),
    Int(i64),
    Float,
    /// Text, not yet known to be UTF-8.
    Text(Span),
    Bytes(Span),
    /// Bytes as protocol 2 of Python 3 writes them: a text, not yet known to be one of characters below 256.
    Latin1(Span),
    List(usize),
    Tuple(usize),
    Dict(usize),
    Array(usize),
    /// A type of numbers, by numpy's code.
    Dtype(Span),
    Global(Global),
}

/// The names that a pickle may mention.
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
    /// Place of a tuple.
    pub(crate) shape: usize,
    pub(crate) dtype: Span,
    /// Whether it is stored by rows.
    pub(crate) by_rows: bool,
    pub(crate) data: ValueKind,
}

/// Where containers lie.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// Lists, tuples, and dictionaries: keys and values in turn.
    pub(crate) sequences: Vec<Vec<Value>>,
    /// Arrays; `None` until their state is read.
    pub(crate) arrays: Vec<Option<Array>>,
}

/// A pickle that was read.
#[derive(Debug)]
pub(crate) struct Pickle<'b> {
    pub(crate) bytes: &'b [u8],
    pub(crate) root: Value,
    pub(crate) arena: Arena,
}

impl Pickle<'_> {
    /// The value that a dictionary has under a key, of text or of bytes; of several the last, as in Python.
    pub(crate) fn entry(&self, dict: usize, key: &str) -> Option<Value> {
        let pairs = self.arena.sequences[dict].chunks_exact(2).rev();
        // Keys are ASCII: the same bytes, whatever kind of text they are.
        let same = |pair: &&[Value]| {
            matches!(pair[0].kind, ValueKind::Text(span) | ValueKind::Bytes(span) | ValueKind::Latin1(span)
                if &self.bytes[span.start..span.end] == key.as_bytes())
        };
        pairs.clone().find(same).map(|pair| pair[1])
    }

    /// The bytes that text or bytes stand for, if they are what they say.
    pub(crate) fn octets(&self, kind: ValueKind) -> Option<Cow<'_, [u8]>> {
        match kind {
            ValueKind::Text(span) | ValueKind::Bytes(span) => Some(self.bytes[span.start..span.end].into()),
            ValueKind::Latin1(span) => Some(latin1(&self.bytes[span.start..span.end])?.into()),
            _ => None,
        }
    }
}

/// The bytes that a text in UTF-8 stands for, if all its characters are below 256. A file of images is one such text, so
/// this goes by bytes: such characters are ASCII, or two bytes of which the first is one of two.
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

/// What stands in a file, fit for a message: short, and without characters that a terminal would obey.
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
