//! Reads Python's pickles of protocols 2 to 5 as data: opcodes are interpreted, no code is imported or called.
//!
//! The names that a pickle may refer to are listed in [`globals`]; any other name is refused with its offset. Reading
//! copies no bytes, an opcode costs a few words, and the number of opcodes is limited. Any file therefore needs
//! little memory and little time.

mod globals;
mod objects;
mod opcodes;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;

use crate::error::{Fault, Found};
use crate::source::AGAIN;
use crate::tensor::View;
pub(crate) use globals::class;
use opcodes as op;
use value::Arena;
pub(crate) use value::{Plain, Span, Storage, Value};

/// Maximum length of a pickle in bytes.
pub(crate) const LONGEST: u64 = 64 << 20;
/// Maximum number of opcodes of a pickle. A state dictionary takes about 40 per tensor.
const STEPS: usize = 1_000_000;

/// Advice for a pickle that is too large.
const ALONE: &str = "save the weights alone, in Python: torch.save(model.state_dict(), \"weights.pth\")";

/// A parsed pickle.
#[derive(Debug)]
pub(crate) struct Pickle<'b> {
    bytes: &'b [u8],
    /// The pickled object.
    pub(crate) root: Value,
    arena: Arena,
    /// Offset of the first byte after the pickle.
    pub(crate) end: usize,
}

/// Reads the pickle of protocol 2 to 5 that begins at byte `start`. Faults state their offset in `bytes`.
pub(crate) fn parse(bytes: &[u8], start: usize) -> Found<Pickle<'_>> {
    let mut reader = Reader::new(bytes, start);
    if !matches!(bytes.get(start..), Some([op::PROTO, 2..=5, ..])) {
        return Err(reader.fault("no pickle of protocol 2 to 5 begins here"));
    }
    for _ in 0..STEPS {
        if let Some(root) = reader.step()? {
            return Ok(Pickle { bytes, root, arena: reader.arena, end: reader.at });
        }
    }
    let what = format!("a pickle of more than {STEPS} steps, far more than weights need");
    Err(Fault::new(what).at(reader.at as u64).advising(ALONE))
}

impl<'b> Pickle<'b> {
    /// The text at `span`.
    pub(crate) fn text(&self, span: Span) -> &'b str {
        text(self.bytes, span)
    }

    /// The items of a tuple or a list.
    pub(crate) fn items(&self, value: Value) -> &[Value] {
        match value {
            Value::Tuple(id) | Value::List(id) => self.arena.items(id),
            _ => &[],
        }
    }

    /// The entries of a dictionary whose keys are texts; `None` if the value is not a dictionary.
    pub(crate) fn entries(&self, value: Value) -> Option<impl Iterator<Item = (&'b str, Value)>> {
        let Value::Dict(id) = value else { return None };
        let entries = self.arena.items(id).as_chunks::<2>().0.iter();
        Some(entries.filter_map(|[key, value]| match key {
            Value::Text(span) => Some((self.text(*span), *value)),
            _ => None,
        }))
    }

    /// The storage of a tensor and the tensor's view of it; `None` if the value is not a tensor.
    pub(crate) fn tensor(&self, value: Value) -> Option<Found<(Storage, View)>> {
        let Value::Tensor(id) = value else { return None };
        let tensor = *self.arena.tensors.get(id as usize)?;
        let storage = *self.arena.storages.get(tensor.storage as usize)?;
        let numbers = |tuple| {
            let whole = |value: &Value| match value {
                Value::Int(n) => u64::try_from(*n).ok(),
                _ => None,
            };
            self.arena.items(tuple).iter().map(whole).collect::<Option<Vec<u64>>>()
        };
        let (shape, strides) = (numbers(tensor.shape), numbers(tensor.strides));
        Some(match (shape, strides, u64::try_from(tensor.offset)) {
            (Some(shape), Some(strides), Ok(offset)) => {
                Ok((storage, View { dtype: tensor.dtype, shape, strides, offset }))
            }
            _ => Err(Fault::new("a shape or strides that are not whole numbers from 0 on")),
        })
    }

    /// All storages that the pickle refers to, with repetitions.
    pub(crate) fn storages(&self) -> &[Storage] {
        &self.arena.storages
    }
}

/// The text at `span`, whose UTF-8 was checked when it was read.
fn text(bytes: &[u8], span: Span) -> &str {
    let bytes = bytes.get(span.at as usize..(span.at as usize + span.length as usize));
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// The stack machine that interprets pickles.
struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Offset of the current opcode.
    start: usize,
    stack: Vec<Value>,
    /// Lengths of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    arena: Arena,
    /// Number of items that were copied from one value into another.
    copied: usize,
}

impl<'b> Reader<'b> {
    fn new(bytes: &'b [u8], at: usize) -> Self {
        let (stack, marks, memo, arena) = (vec![], vec![], HashMap::new(), Arena::default());
        Self { bytes, at, start: at, stack, marks, memo, arena, copied: 0 }
    }

    /// Runs one opcode; returns the pickled object after the last one.
    fn step(&mut self) -> Found<Option<Value>> {
        self.start = self.at;
        let opcode = self.number::<1>()?[0];
        match opcode {
            op::STOP => return self.pop().map(Some),
            op::PROTO => {
                let protocol = self.number::<1>()?[0];
                if !(2..=5).contains(&protocol) {
                    return Err(self.fault(&format!("a pickle of protocol {protocol}, expected 2 to 5")));
                }
            }
            op::FRAME => {
                let frame = u64::from_le_bytes(self.number()?);
                self.fits(frame)?;
            }
            op::MARK => self.marks.push(self.stack.len()),
            op::POP => drop(self.pop()?),
            op::POP_MARK => drop(self.marked()?),
            op::DUP => {
                let top = self.top()?;
                self.stack.push(top);
            }
            op::BINPUT | op::LONG_BINPUT | op::MEMOIZE | op::BINGET | op::LONG_BINGET => {
                self.memory(opcode)?;
            }
            op::NONE
            | op::NEWTRUE
            | op::NEWFALSE
            | op::BININT
            | op::BININT1
            | op::BININT2
            | op::LONG1
            | op::LONG4
            | op::BINFLOAT => {
                let value = self.literal(opcode)?;
                self.stack.push(value);
            }
            op::GLOBAL
            | op::STACK_GLOBAL
            | op::REDUCE
            | op::NEWOBJ
            | op::NEWOBJ_EX
            | op::BUILD
            | op::BINPERSID => {
                self.object(opcode)?;
            }
            _ => self.text_or_collection(opcode)?,
        }
        Ok(None)
    }

    /// Runs an opcode that stores a value in the memo or loads one from it.
    fn memory(&mut self, opcode: u8) -> Found<()> {
        let place = match opcode {
            op::BINPUT | op::BINGET => u32::from(self.number::<1>()?[0]),
            op::LONG_BINPUT | op::LONG_BINGET => u32::from_le_bytes(self.number()?),
            _ => self.memo.len() as u32,
        };
        if matches!(opcode, op::BINGET | op::LONG_BINGET) {
            let kept = self.memo.get(&place).copied();
            let kept = kept.ok_or_else(|| self.fault("it takes out a value that it never kept"))?;
            self.stack.push(kept);
        } else {
            let top = self.top()?;
            self.memo.insert(place, top);
        }
        Ok(())
    }

    fn literal(&mut self, opcode: u8) -> Found<Value> {
        Ok(match opcode {
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::BININT => Value::Int(i64::from(i32::from_le_bytes(self.number()?))),
            op::BININT1 => Value::Int(i64::from(self.number::<1>()?[0])),
            op::BININT2 => Value::Int(i64::from(u16::from_le_bytes(self.number()?))),
            op::LONG1 => {
                let length = u64::from(self.number::<1>()?[0]);
                self.long(length)?
            }
            op::LONG4 => {
                let length = u64::from(u32::from_le_bytes(self.number()?));
                self.long(length)?
            }
            op::BINFLOAT => {
                self.number::<8>()?;
                Value::Plain(Plain::Number)
            }
            _ => Value::None,
        })
    }

    /// Reads a signed integer of `length` bytes.
    fn long(&mut self, length: u64) -> Found<Value> {
        let span = self.span(length)?;
        let bytes = &self.bytes[span.at as usize..self.at];
        if bytes.len() > 8 {
            return Ok(Value::Plain(Plain::Number));
        }
        let sign = if bytes.last().is_some_and(|last| *last >= 0x80) { 0xff } else { 0 };
        let mut number = [sign; 8];
        number[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(number)))
    }

    fn text_or_collection(&mut self, opcode: u8) -> Found<()> {
        let value = match opcode {
            op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
                let span = self.counted(opcode)?;
                self.utf8(span).ok_or_else(|| self.fault("a text that is not UTF-8"))?
            }
            // Python 2 strings.
            op::SHORT_BINSTRING | op::BINSTRING => {
                let span = self.counted(opcode)?;
                self.utf8(span).unwrap_or(Value::Plain(Plain::Bytes))
            }
            op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => {
                self.counted(opcode)?;
                Value::Plain(Plain::Bytes)
            }
            op::EMPTY_SET => Value::Plain(Plain::Set),
            op::FROZENSET => {
                self.marked()?;
                Value::Plain(Plain::Set)
            }
            op::EMPTY_TUPLE => Value::Tuple(self.arena.add(vec![])),
            op::EMPTY_LIST => Value::List(self.arena.add(vec![])),
            op::EMPTY_DICT => Value::Dict(self.arena.add(vec![])),
            op::TUPLE1..=op::TUPLE3 => {
                let count = usize::from(opcode - op::TUPLE1) + 1;
                let mut items: Vec<Value> = (0..count).map(|_| self.pop()).collect::<Found<_>>()?;
                items.reverse();
                Value::Tuple(self.arena.add(items))
            }
            op::TUPLE | op::LIST | op::DICT => {
                let items = self.marked()?;
                let id = self.arena.add(items);
                match opcode {
                    op::TUPLE => Value::Tuple(id),
                    op::LIST => Value::List(id),
                    _ => Value::Dict(id),
                }
            }
            _ => return self.filled(opcode),
        };
        self.stack.push(value);
        Ok(())
    }

    /// Runs an opcode that adds items to a list, a dictionary or a set.
    fn filled(&mut self, opcode: u8) -> Found<()> {
        let more = match opcode {
            op::APPEND => vec![self.pop()?],
            op::SETITEM => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            op::APPENDS | op::SETITEMS | op::ADDITEMS => self.marked()?,
            _ => return Err(self.fault(&format!("an opcode {opcode:#04x} that weights do not need"))),
        };
        match (self.top()?, opcode) {
            (Value::List(id), op::APPEND | op::APPENDS) => self.arena.extend(id, &more),
            (Value::Dict(id), op::SETITEM | op::SETITEMS) if more.len() % 2 == 0 => {
                self.arena.extend(id, &more);
            }
            // Their contents are not needed.
            (Value::Opaque(_) | Value::Plain(Plain::Set), _) => {}
            _ => return Err(self.fault("it puts items into a value that holds none")),
        }
        Ok(())
    }

    /// The value on top of the stack.
    fn top(&self) -> Found<Value> {
        let above = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(above..).and_then(<[Value]>::last);
        top.copied().ok_or_else(|| self.fault("it takes a value from an empty stack"))
    }

    fn pop(&mut self) -> Found<Value> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Removes the last mark and all values above it; returns the values.
    fn marked(&mut self) -> Found<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(|| self.fault("it goes back to a mark that it never set"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// Reads a number of `N` bytes.
    fn number<const N: usize>(&mut self) -> Found<[u8; N]> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let bytes = *bytes.ok_or_else(|| self.cut())?;
        self.at += N;
        Ok(bytes)
    }

    /// Reads a length and returns the span of that many bytes after it.
    fn counted(&mut self, opcode: u8) -> Found<Span> {
        let length = match opcode {
            op::SHORT_BINUNICODE | op::SHORT_BINSTRING | op::SHORT_BINBYTES => {
                u64::from(self.number::<1>()?[0])
            }
            op::BINUNICODE | op::BINSTRING | op::BINBYTES => u64::from(u32::from_le_bytes(self.number()?)),
            _ => u64::from_le_bytes(self.number()?),
        };
        self.span(length)
    }

    /// Skips the next `length` bytes and returns their span.
    fn span(&mut self, length: u64) -> Found<Span> {
        self.fits(length)?;
        let span = Span { at: self.at as u32, length: length as u32 };
        self.at += length as usize;
        Ok(span)
    }

    /// Returns an error if fewer than `length` bytes remain. The pickle is shorter than 2^32 bytes.
    fn fits(&self, length: u64) -> Found<()> {
        match length > (self.bytes.len() - self.at) as u64 {
            true => Err(self.cut()),
            false => Ok(()),
        }
    }

    fn utf8(&self, span: Span) -> Option<Value> {
        let bytes = self.bytes.get(span.at as usize..self.at)?;
        std::str::from_utf8(bytes).is_ok().then_some(Value::Text(span))
    }

    fn cut(&self) -> Fault {
        let what = format!("a pickle that ends in the middle, after {} bytes", self.bytes.len());
        Fault::new(what).at(self.start as u64).advising(AGAIN)
    }
}
