//! Python's pickles as data: opcodes are interpreted, nothing is imported or called.
//!
//! Of all that a pickle may ask for only what arrays of numpy need is known, by name; anything else is refused with its
//! place. Sizes are checked against the file before they are believed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

/// Opcodes that a file may have: more than twice those of CIFAR-100's largest.
const STEPS: usize = 2_000_000;
/// Lists, tuples, dictionaries and arrays that a file may have; also the deepest nesting.
const CONTAINERS: usize = 1000;

/// What a pickle holds. Lists, dictionaries and arrays are shared, as they are in Python.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(Rc<str>),
    Bytes(Bytes),
    List(Rc<RefCell<Vec<Value>>>),
    Tuple(Rc<Vec<Value>>),
    Dict(Rc<RefCell<Vec<(Value, Value)>>>),
    Array(Rc<RefCell<Array>>),
    /// A type of numbers, by numpy's code.
    Dtype(Rc<str>),
    Global(Global),
}

/// Bytes, in the file where they stand there as they are.
#[derive(Debug, Clone)]
pub(crate) enum Bytes {
    InFile(Range<usize>),
    Decoded(Rc<[u8]>),
}

impl Bytes {
    pub(crate) fn get<'b>(&'b self, file: &'b [u8]) -> &'b [u8] {
        match self {
            Self::InFile(range) => &file[range.clone()],
            Self::Decoded(bytes) => bytes,
        }
    }
}

/// An array of numpy; without data until its state is read.
#[derive(Debug, Default)]
pub(crate) struct Array {
    pub(crate) shape: Vec<i64>,
    pub(crate) dtype: String,
    pub(crate) fortran: bool,
    pub(crate) data: Option<Bytes>,
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

/// What is wrong, and at which byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: String,
}

type Result<T> = std::result::Result<T, Fault>;

/// Reads a pickle of protocol 2 to 5.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value> {
    let mut reader = Reader {
        bytes,
        at: 0,
        start: 0,
        stack: vec![],
        marks: vec![],
        memo: HashMap::new(),
        containers: 0,
        decoded: 0,
    };
    if bytes.first() != Some(&0x80) {
        return reader.fault("not a pickle of protocol 2 or later: it does not begin with 0x80");
    }
    for _ in 0..STEPS {
        reader.start = reader.at;
        if let Some(value) = reader.step()? {
            return match reader.at == bytes.len() {
                true => Ok(value),
                false => reader.fault("the pickle ends here, but the file goes on"),
            };
        }
    }
    reader.fault("more opcodes than any file of CIFAR has")
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Where the running opcode began.
    start: usize,
    stack: Vec<Value>,
    /// Lengths of the stack where marks were set.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    containers: usize,
    /// Bytes that were decoded: together no more than the file has.
    decoded: usize,
}

impl Reader<'_> {
    fn fault<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(Fault { at: self.start, what: what.into() })
    }

    /// The next `n` bytes, as a place in the file.
    fn take(&mut self, n: u64) -> Result<Range<usize>> {
        let left = (self.bytes.len() - self.at) as u64;
        if n > left {
            return self.fault(format!("the file ends early: {n} bytes were announced, {left} are left"));
        }
        let range = self.at..self.at + n as usize;
        self.at = range.end;
        Ok(range)
    }

    /// A little-endian number of `n` bytes, at most 8.
    fn number(&mut self, n: u64) -> Result<u64> {
        let range = self.take(n)?;
        Ok(self.bytes[range].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A text of a length that is itself a number of `n` bytes.
    fn text(&mut self, n: u64) -> Result<Value> {
        let length = self.number(n)?;
        let range = self.take(length)?;
        match std::str::from_utf8(&self.bytes[range]) {
            Ok(text) => Ok(Value::Text(text.into())),
            Err(_) => self.fault("a text that is not UTF-8"),
        }
    }

    fn counted(&mut self, n: u64) -> Result<Value> {
        let length = self.number(n)?;
        Ok(Value::Bytes(Bytes::InFile(self.take(length)?)))
    }

    /// A line of an opcode that has text arguments.
    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().take(200).position(|byte| *byte == b'\n') else {
            return self.fault("a name without an end");
        };
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end + 1;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value> {
        if self.marks.last().is_some_and(|mark| *mark >= self.stack.len()) {
            return self.fault("an opcode needs more values than there are");
        }
        match self.stack.pop() {
            Some(value) => Ok(value),
            None => self.fault("an opcode needs more values than there are"),
        }
    }

    /// The value on top, left there.
    fn top(&mut self) -> Result<Value> {
        let value = self.pop()?;
        self.stack.push(value.clone());
        Ok(value)
    }

    /// All values since the last mark.
    fn marked(&mut self) -> Result<Vec<Value>> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => self.fault("an opcode needs a mark that is not there"),
        }
    }

    fn pops(&mut self, n: usize) -> Result<Vec<Value>> {
        let mut values = (0..n).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        values.reverse();
        Ok(values)
    }

    /// Counts a container.
    fn new<T>(&mut self, content: T) -> Result<Rc<T>> {
        self.containers += 1;
        if self.containers > CONTAINERS {
            return self.fault("more lists, tuples and dictionaries than any file of CIFAR has");
        }
        Ok(Rc::new(content))
    }

    fn tuple(&mut self, values: Vec<Value>) -> Result<Value> {
        Ok(Value::Tuple(self.new(values)?))
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<()> {
        let Value::Dict(dict) = self.top()? else { return self.fault("items for what is no dictionary") };
        if !items.len().is_multiple_of(2) {
            return self.fault("a key without a value");
        }
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            dict.borrow_mut().push((key, value));
        }
        Ok(())
    }

    fn append(&mut self, values: Vec<Value>) -> Result<()> {
        let Value::List(list) = self.top()? else { return self.fault("entries for what is no list") };
        list.borrow_mut().extend(values);
        Ok(())
    }

    fn remember(&mut self, key: u64) -> Result<()> {
        let value = self.top()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<Value> {
        match self.memo.get(&key) {
            Some(value) => Ok(value.clone()),
            None => self.fault(format!("memo {key} is empty")),
        }
    }

    /// One opcode; the value of the whole at the last one.
    fn step(&mut self) -> Result<Option<Value>> {
        let opcode = self.number(1)? as u8;
        let value = match opcode {
            // PROTO, FRAME
            0x80 => {
                let protocol = self.number(1)?;
                if !(2..=5).contains(&protocol) {
                    return self.fault(format!("a pickle of protocol {protocol}, expected 2 to 5"));
                }
                return Ok(None);
            }
            0x95 => {
                self.number(8)?;
                return Ok(None);
            }
            // STOP
            b'.' => return self.pop().map(Some),
            // MARK, POP, POP_MARK
            b'(' => {
                self.marks.push(self.stack.len());
                return Ok(None);
            }
            b'0' => {
                self.pop()?;
                return Ok(None);
            }
            b'1' => {
                self.marked()?;
                return Ok(None);
            }
            // PUT, BINPUT, LONG_BINPUT, MEMOIZE
            b'q' | b'r' => {
                let key = self.number(if opcode == b'q' { 1 } else { 4 })?;
                self.remember(key)?;
                return Ok(None);
            }
            0x94 => {
                self.remember(self.memo.len() as u64)?;
                return Ok(None);
            }
            // APPEND, APPENDS, SETITEM, SETITEMS, BUILD
            b'a' | b'e' => {
                let values = if opcode == b'a' { self.pops(1)? } else { self.marked()? };
                self.append(values)?;
                return Ok(None);
            }
            b's' | b'u' => {
                let items = if opcode == b's' { self.pops(2)? } else { self.marked()? };
                self.set_items(items)?;
                return Ok(None);
            }
            b'b' => {
                let state = self.pop()?;
                self.build(&state)?;
                return Ok(None);
            }
            _ => self.value(opcode)?,
        };
        self.stack.push(value);
        Ok(None)
    }

    /// The value that an opcode pushes.
    fn value(&mut self, opcode: u8) -> Result<Value> {
        Ok(match opcode {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool(opcode == 0x88),
            // BININT, BININT1, BININT2, LONG1
            b'J' => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            0x8a => {
                let n = self.number(1)?;
                if n > 8 {
                    return self.fault(format!("a number of {n} bytes"));
                }
                let unused = 64 - 8 * n as u32;
                // Shifted up and down again for its sign; of no bytes it is 0.
                Value::Int(
                    (self.number(n)? as i64)
                        .checked_shl(unused)
                        .unwrap_or(0)
                        .checked_shr(unused)
                        .unwrap_or(0),
                )
            }
            // BINFLOAT
            b'G' => {
                self.take(8)?;
                Value::Float
            }
            // SHORT_BINSTRING, SHORT_BINBYTES; BINSTRING, BINBYTES; BINBYTES8, BYTEARRAY8
            b'U' | b'C' => self.counted(1)?,
            b'T' | b'B' => self.counted(4)?,
            0x8e | 0x96 => self.counted(8)?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            // EMPTY_LIST, LIST, EMPTY_TUPLE, TUPLE, TUPLE1 to TUPLE3, EMPTY_DICT, DICT
            b']' => Value::List(self.new(RefCell::default())?),
            b'l' => {
                let values = self.marked()?;
                Value::List(self.new(RefCell::new(values))?)
            }
            b')' => self.tuple(vec![])?,
            b't' => {
                let values = self.marked()?;
                self.tuple(values)?
            }
            0x85..=0x87 => {
                let values = self.pops(usize::from(opcode - 0x84))?;
                self.tuple(values)?
            }
            b'}' => Value::Dict(self.new(RefCell::default())?),
            b'd' => {
                let items = self.marked()?;
                let dict = Value::Dict(self.new(RefCell::default())?);
                self.stack.push(dict);
                self.set_items(items)?;
                self.pop()?
            }
            // BINGET, LONG_BINGET
            b'h' | b'j' => {
                let key = self.number(if opcode == b'h' { 1 } else { 4 })?;
                self.recall(key)?
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?
            }
            0x93 => match &self.pops(2)?[..] {
                [Value::Text(module), Value::Text(name)] => self.global(module, name)?,
                _ => return self.fault("a name that is not text"),
            },
            // REDUCE
            b'R' => {
                let pair = self.pops(2)?;
                self.reduce(&pair[0], &pair[1])?
            }
            other => {
                return self.fault(format!("opcode {other:#04x} is refused: no file of CIFAR needs it"));
            }
        })
    }

    fn global(&self, module: &str, name: &str) -> Result<Value> {
        let global = match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Global::Reconstruct,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Global::FromBuffer,
            ("numpy", "ndarray") => Global::NdArray,
            ("numpy", "dtype") => Global::Dtype,
            ("_codecs", "encode") => Global::Encode,
            _ => return self.fault(format!("`{module}.{name}` is refused: only arrays of numpy are read")),
        };
        Ok(Value::Global(global))
    }

    /// What calling `global` with `arguments` stands for.
    fn reduce(&mut self, global: &Value, arguments: &Value) -> Result<Value> {
        let Value::Tuple(arguments) = arguments else { return self.fault("arguments that are no tuple") };
        let called = match global {
            Value::Global(global) => *global,
            _ => return self.fault("a call of what is no known name"),
        };
        match (called, &arguments[..]) {
            (Global::Reconstruct, [Value::Global(Global::NdArray), Value::Tuple(_), _]) => {
                Ok(Value::Array(self.new(RefCell::default())?))
            }
            (Global::Dtype, [code, ..]) => match self.word(code) {
                Some(code) => Ok(Value::Dtype(code.into())),
                None => self.fault("a type of numbers without a name"),
            },
            (Global::FromBuffer, [Value::Bytes(data), Value::Dtype(dtype), Value::Tuple(shape), order]) => {
                let fortran = self.word(order).as_deref() != Some("C");
                let array = Array {
                    shape: self.shape(shape)?,
                    dtype: dtype.to_string(),
                    fortran,
                    data: Some(data.clone()),
                };
                Ok(Value::Array(self.new(RefCell::new(array))?))
            }
            (Global::Encode, [Value::Text(text), Value::Text(codec)]) if &**codec == "latin1" => {
                self.decoded += text.len();
                if self.decoded > self.bytes.len() {
                    return self.fault("the same text decoded again and again");
                }
                let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
                match bytes.collect::<std::result::Result<Vec<_>, _>>() {
                    Ok(bytes) => Ok(Value::Bytes(Bytes::Decoded(bytes.into()))),
                    Err(_) => self.fault("a text that is not latin1"),
                }
            }
            _ => self.fault(format!("a call of {called:?} with arguments that numpy does not write")),
        }
    }

    /// Gives an array the state that numpy wrote: version, shape, type, order, data.
    fn build(&mut self, state: &Value) -> Result<()> {
        match (self.top()?, state) {
            // Byte order and the like, of which bytes have none.
            (Value::Dtype(_), Value::Tuple(_)) => Ok(()),
            (Value::Array(array), Value::Tuple(state)) => match &state[..] {
                [_, Value::Tuple(shape), Value::Dtype(dtype), Value::Bool(fortran), Value::Bytes(data)] => {
                    let (shape, dtype, data) = (self.shape(shape)?, dtype.to_string(), Some(data.clone()));
                    *array.borrow_mut() = Array { shape, dtype, fortran: *fortran, data };
                    Ok(())
                }
                _ => self.fault("a state that numpy does not write"),
            },
            _ => self.fault("a state for what is no array"),
        }
    }

    fn shape(&self, sizes: &[Value]) -> Result<Vec<i64>> {
        let size = |v: &Value| match v {
            Value::Int(size) => Ok(*size),
            _ => self.fault("a shape that is not made of numbers"),
        };
        sizes.iter().map(size).collect()
    }

    /// A short text, whether Python 2 or 3 wrote it.
    fn word(&self, value: &Value) -> Option<String> {
        word(value, self.bytes)
    }
}

/// A short text, whether Python 2 (bytes) or 3 wrote it; `file` is the whole pickle.
pub(crate) fn word(value: &Value, file: &[u8]) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Bytes(bytes) if bytes.get(file).len() < 1000 => {
            Some(String::from_utf8_lossy(bytes.get(file)).into_owned())
        }
        _ => None,
    }
}
