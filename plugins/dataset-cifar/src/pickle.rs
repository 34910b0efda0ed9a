//! Reads Python's pickles as data: opcodes are interpreted, nothing is imported or called.
//!
//! Only what numpy arrays need is supported, by name; anything else is refused with its offset. No byte is
//! copied while reading, an opcode costs a few words, and the number of opcodes is limited. Whatever a file
//! contains, it needs little more memory than its size, and little time.

mod opcodes;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;

use opcodes as op;
use value::{Arena, Array, Global, Span};
pub(crate) use value::{Pickle, Value, ValueKind, shown};

/// Maximum number of opcodes of a file. CIFAR-100's training images have 450,000 when Python 3 writes
/// protocol 2.
const STEPS: usize = 1_000_000;

/// An error message and its offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: String,
}

type Result<T> = std::result::Result<T, Fault>;

/// An error unless these are the first bytes of a pickle of protocol 2 to 5.
pub(crate) fn begins(bytes: &[u8]) -> Result<()> {
    let fault = |at, what: String| Err(Fault { at, what });
    match bytes {
        [0x80, 2..=5, ..] => Ok(()),
        [0x80, protocol, ..] => fault(1, format!("a pickle of protocol {protocol}, expected 2 to 5")),
        _ => fault(0, "no pickle of protocol 2 or later: it does not begin with PROTO (0x80)".into()),
    }
}

/// Reads a pickle of protocol 2 to 5.
pub(crate) fn parse(bytes: &[u8]) -> Result<Pickle<'_>> {
    let fault = |at, what: String| Err(Fault { at, what });
    begins(bytes)?;
    let mut reader = PickleReader {
        bytes,
        at: 2,
        start: 2,
        opcode: 0,
        stack: vec![],
        marks: vec![],
        memo: HashMap::new(),
        arena: Arena::default(),
    };
    for _ in 0..STEPS {
        if let Some(root) = reader.step()? {
            if reader.at < bytes.len() {
                return fault(reader.at, format!("{} bytes after the pickle's end", bytes.len() - reader.at));
            }
            return Ok(Pickle { bytes, root, arena: reader.arena });
        }
    }
    fault(reader.at, format!("more than {STEPS} opcodes; no file of CIFAR has so many"))
}

/// The stack machine that interprets pickles.
struct PickleReader<'b> {
    bytes: &'b [u8],
    at: usize,
    /// The current opcode, and its offset.
    opcode: u8,
    start: usize,
    stack: Vec<Value>,
    /// Lengths of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    arena: Arena,
}

impl PickleReader<'_> {
    fn fault<T>(&self, what: impl AsRef<str>) -> Result<T> {
        Err(Fault { at: self.start, what: format!("opcode {}: {}", op::name(self.opcode), what.as_ref()) })
    }

    /// The next `n` bytes.
    fn take(&mut self, n: u64) -> Result<Span> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(n) {
            Ok(n) if n <= left => {
                let start = self.at;
                self.at += n;
                Ok(Span { start, end: self.at })
            }
            _ => self.fault(format!("{n} bytes should follow, the file has {left} more")),
        }
    }

    /// A little-endian number of `n` bytes, at most 8.
    fn number(&mut self, n: u64) -> Result<u64> {
        let Span { start, end } = self.take(n)?;
        Ok(self.bytes[start..end].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Bytes whose length is a number of `n` bytes.
    fn counted(&mut self, n: u64) -> Result<Span> {
        let length = self.number(n)?;
        self.take(length)
    }

    /// A text argument that ends at the end of its line.
    fn line(&mut self) -> Result<Span> {
        match self.bytes[self.at..].iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                let line = Span { start: self.at, end: self.at + length };
                self.at = line.end + 1;
                Ok(line)
            }
            None => self.fault("a name without an end"),
        }
    }

    /// The value on top of the stack, without removing it. Values below the last mark are not accessible.
    fn top(&self) -> Result<Value> {
        match self.stack.last() {
            Some(value) if self.stack.len() > self.marks.last().copied().unwrap_or(0) => Ok(*value),
            _ => self.fault("there is no value for it"),
        }
    }

    fn pop(&mut self) -> Result<Value> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    /// The last `n` values.
    fn pops(&mut self, n: usize) -> Result<Vec<Value>> {
        let mut values = (0..n).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        values.reverse();
        Ok(values)
    }

    /// All values since the last mark, removed from the stack.
    fn marked(&mut self) -> Result<Vec<Value>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.drain(mark..).collect()),
            None => self.fault("there is no mark for it"),
        }
    }

    /// Stores a container in the arena.
    fn place(&mut self, values: Vec<Value>) -> usize {
        self.arena.sequences.push(values);
        self.arena.sequences.len() - 1
    }

    /// Executes one opcode; the last one returns the value of the pickle.
    fn step(&mut self) -> Result<Option<Value>> {
        self.start = self.at;
        let Some(opcode) = self.bytes.get(self.at) else {
            return Err(Fault { at: self.at, what: "the file ends before opcode STOP".into() });
        };
        (self.opcode, self.at) = (*opcode, self.at + 1);
        match self.opcode {
            op::STOP => return self.pop().map(Some),
            op::FRAME => {
                // The complete file is known, so frames are not needed.
                let length = self.number(8)?;
                let at = self.at;
                self.take(length)?;
                self.at = at;
            }
            op::MARK => self.marks.push(self.stack.len()),
            op::BINPUT => self.remember(1)?,
            op::LONG_BINPUT => self.remember(4)?,
            op::MEMOIZE => {
                let (key, value) = (self.memo.len() as u64, self.top()?);
                self.memo.insert(key, value);
            }
            op::APPEND | op::APPENDS => {
                let values = if self.opcode == op::APPEND { self.pops(1)? } else { self.marked()? };
                let ValueKind::List(list) = self.top()?.kind else {
                    return self.fault("entries for what is no list");
                };
                self.arena.sequences[list].extend(values);
            }
            op::SETITEM | op::SETITEMS => {
                let pairs = if self.opcode == op::SETITEM { self.pops(2)? } else { self.marked()? };
                let ValueKind::Dict(dict) = self.top()?.kind else {
                    return self.fault("items for what is no dictionary");
                };
                if !pairs.len().is_multiple_of(2) {
                    return self.fault("a key without a value");
                }
                self.arena.sequences[dict].extend(pairs);
            }
            op::BUILD => self.build()?,
            _ => {
                let value = Value { kind: self.value()?, at: self.start };
                self.stack.push(value);
            }
        }
        Ok(None)
    }

    /// Memoises the value on top under a number of `n` bytes.
    fn remember(&mut self, n: u64) -> Result<()> {
        let (key, value) = (self.number(n)?, self.top()?);
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, n: u64) -> Result<ValueKind> {
        let key = self.number(n)?;
        match self.memo.get(&key) {
            Some(value) => Ok(value.kind),
            None => self.fault(format!("nothing was kept as {key}")),
        }
    }

    /// The value that an opcode pushes.
    fn value(&mut self) -> Result<ValueKind> {
        Ok(match self.opcode {
            op::NONE => ValueKind::None,
            op::NEWTRUE => ValueKind::Bool(true),
            op::NEWFALSE => ValueKind::Bool(false),
            op::BININT => ValueKind::Int(i64::from(self.number(4)? as u32 as i32)),
            op::BININT1 => ValueKind::Int(self.number(1)? as i64),
            op::BININT2 => ValueKind::Int(self.number(2)? as i64),
            op::LONG1 => match self.number(1)? {
                0 => ValueKind::Int(0),
                n @ 1..=8 => {
                    // Shifted up and down again, to extend the sign.
                    let unused = 64 - 8 * n;
                    ValueKind::Int((self.number(n)? as i64) << unused >> unused)
                }
                n => return self.fault(format!("a number of {n} bytes, expected at most 8")),
            },
            op::BINFLOAT => {
                self.take(8)?;
                ValueKind::Float
            }
            op::SHORT_BINSTRING | op::SHORT_BINBYTES => ValueKind::Bytes(self.counted(1)?),
            op::BINSTRING | op::BINBYTES => ValueKind::Bytes(self.counted(4)?),
            op::BINBYTES8 | op::BYTEARRAY8 => ValueKind::Bytes(self.counted(8)?),
            op::SHORT_BINUNICODE => ValueKind::Text(self.counted(1)?),
            op::BINUNICODE => ValueKind::Text(self.counted(4)?),
            op::BINUNICODE8 => ValueKind::Text(self.counted(8)?),
            op::EMPTY_LIST => ValueKind::List(self.place(vec![])),
            op::EMPTY_DICT => ValueKind::Dict(self.place(vec![])),
            op::EMPTY_TUPLE => ValueKind::Tuple(self.place(vec![])),
            op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                let values = match self.opcode {
                    op::TUPLE => self.marked()?,
                    short => self.pops(usize::from(short - op::TUPLE1) + 1)?,
                };
                ValueKind::Tuple(self.place(values))
            }
            op::BINGET => self.recall(1)?,
            op::LONG_BINGET => self.recall(4)?,
            op::GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?
            }
            op::STACK_GLOBAL => match self.pops(2)?[..] {
                [Value { kind: ValueKind::Text(module), .. }, Value { kind: ValueKind::Text(name), .. }] => {
                    self.global(module, name)?
                }
                _ => return self.fault("a global whose name is no text"),
            },
            op::REDUCE => self.reduce()?,
            _ => return self.fault("refused, since no file of CIFAR needs it"),
        })
    }

    /// The supported names; nothing is imported.
    fn global(&self, module: Span, name: Span) -> Result<ValueKind> {
        let [module, name] = [module, name].map(|span| &self.bytes[span.start..span.end]);
        let global = match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => Global::Reconstruct,
            (b"numpy.core.numeric" | b"numpy._core.numeric", b"_frombuffer") => Global::FromBuffer,
            (b"numpy", b"ndarray") => Global::NdArray,
            (b"numpy", b"dtype") => Global::Dtype,
            (b"_codecs", b"encode") => Global::Encode,
            _ => {
                let (module, name) = (shown(module), shown(name));
                return self
                    .fault(format!("global `{module}.{name}` is refused, only arrays of numpy are read"));
            }
        };
        Ok(ValueKind::Global(global))
    }

    /// The elements of a tuple, as far as a call or a state needs them.
    fn parts(&self, tuple: usize) -> Vec<ValueKind> {
        self.arena.sequences[tuple].iter().map(|value| value.kind).take(9).collect()
    }

    /// The result of calling a global.
    fn reduce(&mut self) -> Result<ValueKind> {
        let (arguments, called) = (self.pop()?.kind, self.pop()?.kind);
        let (ValueKind::Global(called), ValueKind::Tuple(arguments)) = (called, arguments) else {
            return self.fault("a call of what is no known global, or without arguments");
        };
        match (called, &self.parts(arguments)[..]) {
            (Global::Reconstruct, [ValueKind::Global(Global::NdArray), ValueKind::Tuple(_), _]) => {
                self.arena.arrays.push(None);
                Ok(ValueKind::Array(self.arena.arrays.len() - 1))
            }
            (Global::Dtype, [ValueKind::Text(code) | ValueKind::Bytes(code), _, _]) => {
                Ok(ValueKind::Dtype(*code))
            }
            (
                Global::FromBuffer,
                [
                    data @ (ValueKind::Bytes(_) | ValueKind::Latin1(_)),
                    ValueKind::Dtype(dtype),
                    ValueKind::Tuple(shape),
                    ValueKind::Text(order),
                    ..,
                ],
            ) => {
                let by_rows = &self.bytes[order.start..order.end] == b"C";
                self.arena.arrays.push(Some(Array { shape: *shape, dtype: *dtype, by_rows, data: *data }));
                Ok(ValueKind::Array(self.arena.arrays.len() - 1))
            }
            (Global::Encode, [ValueKind::Text(text), ValueKind::Text(codec)])
                if &self.bytes[codec.start..codec.end] == b"latin1" =>
            {
                Ok(ValueKind::Latin1(*text))
            }
            _ => self.fault(format!("a call of {called:?} with arguments that numpy does not write")),
        }
    }

    /// Sets the state of a new array (version, shape, type, order, data) or of a type.
    fn build(&mut self) -> Result<()> {
        let (state, target) = (self.pop()?.kind, self.top()?.kind);
        let ValueKind::Tuple(state) = state else { return self.fault("a state that is no tuple") };
        match (target, &self.parts(state)[..]) {
            // Byte order, size, alignment and flags: bytes have none of these, but other types have.
            (
                ValueKind::Dtype(_),
                [
                    ValueKind::Int(_),
                    ValueKind::Text(_) | ValueKind::Bytes(_),
                    ValueKind::None,
                    ValueKind::None,
                    ValueKind::None,
                    ValueKind::Int(_),
                    ValueKind::Int(_),
                    ValueKind::Int(_),
                ],
            ) => Ok(()),
            (
                ValueKind::Array(array),
                [
                    ValueKind::Int(_),
                    ValueKind::Tuple(shape),
                    ValueKind::Dtype(dtype),
                    ValueKind::Bool(fortran),
                    data @ (ValueKind::Bytes(_) | ValueKind::Latin1(_)),
                ],
            ) if self.arena.arrays[array].is_none() => {
                let (shape, dtype, data) = (*shape, *dtype, *data);
                self.arena.arrays[array] = Some(Array { shape, dtype, by_rows: !fortran, data });
                Ok(())
            }
            (ValueKind::Array(_) | ValueKind::Dtype(_), _) => self.fault("a state that numpy does not write"),
            _ => self.fault("a state for what is no array"),
        }
    }
}
