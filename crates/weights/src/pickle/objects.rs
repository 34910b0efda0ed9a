//! Opcodes that construct objects, limited to the few classes that are data.

use super::globals::{Global, known};
use super::opcodes as op;
use super::value::{Rebuilt, Storage, Value};
use super::{Reader, STEPS, text};
use crate::dtype::Dtype;
use crate::error::{Fault, Found};

/// Maximum length of a Python name in bytes.
const LONGEST_NAME: usize = 1000;

impl<'b> Reader<'b> {
    /// Runs one of the opcodes that construct objects.
    pub(super) fn object(&mut self, opcode: u8) -> Found<()> {
        let made = match opcode {
            op::GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?
            }
            op::STACK_GLOBAL => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    let bytes = self.bytes;
                    self.global(text(bytes, module), text(bytes, name))?
                }
                _ => return Err(self.fault("a name that is no text")),
            },
            op::REDUCE | op::NEWOBJ | op::NEWOBJ_EX => {
                if opcode == op::NEWOBJ_EX {
                    self.pop()?;
                }
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.call(callee, arguments)?
            }
            op::BINPERSID => {
                let id = self.pop()?;
                self.persistent(id)?
            }
            // BUILD sets the attributes of an object, which weights do not have.
            _ => {
                self.pop()?;
                self.pop()?
            }
        };
        self.stack.push(made);
        Ok(())
    }

    /// Reads the characters up to the end of the line.
    fn line(&mut self) -> Found<&'b str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().take(LONGEST_NAME + 1).position(|byte| *byte == b'\n');
        let line = length.and_then(|length| std::str::from_utf8(&rest[..length]).ok());
        let line = line.ok_or_else(|| self.fault("a name without an end"))?;
        self.at += line.len() + 1;
        Ok(line)
    }

    fn global(&self, module: &str, name: &str) -> Found<Value> {
        if module.len().max(name.len()) > LONGEST_NAME {
            return Err(self.fault("a name without an end"));
        }
        known(module, name).map(Value::Global).map_err(|fault| fault.at(self.start as u64))
    }

    /// The value that a class or a function returns for these arguments.
    fn call(&mut self, callee: Value, arguments: Value) -> Found<Value> {
        let (Value::Global(global), Value::Tuple(arguments)) = (callee, arguments) else {
            return Err(self.fault("it calls what is no class"));
        };
        match (global, self.arena.items(arguments)) {
            // Only one level deep, so that a file cannot nest these calls without end.
            (Global::FromType, [Value::Global(inner), _, Value::Tuple(own), ..])
                if *inner != Global::FromType =>
            {
                let (inner, own) = (*inner, *own);
                self.made(inner, own)
            }
            _ => self.made(global, arguments),
        }
    }

    fn made(&mut self, global: Global, arguments: u32) -> Found<Value> {
        let first = self.arena.items(arguments).first().copied();
        match (global, first) {
            (Global::Dict, _) => self.dictionary(first),
            (Global::Size | Global::Parameter, Some(first)) => Ok(first),
            (Global::Rebuild(version), _) => self.rebuilt(version, arguments),
            (Global::Opaque(class), _) => Ok(Value::Opaque(class)),
            _ => Err(self.fault("it calls a class in a way that torch does not")),
        }
    }

    /// A dictionary; Python 2 passes a list of pairs.
    fn dictionary(&mut self, pairs: Option<Value>) -> Found<Value> {
        let mut items = vec![];
        if let Some(Value::List(id)) = pairs {
            // A list may be passed any number of times, so copied items are limited as steps are.
            self.copied += self.arena.items(id).len();
            if self.copied > STEPS {
                return Err(self.fault("it copies a list far more often than weights need"));
            }
            for pair in self.arena.items(id) {
                let (Value::Tuple(pair) | Value::List(pair)) = pair else { continue };
                if let [key, value] = self.arena.items(*pair) {
                    items.extend([*key, *value]);
                }
            }
        }
        Ok(Value::Dict(self.arena.add(items)))
    }

    /// A tensor from its arguments: storage, offset, shape and strides, and in version 3 the type at index 6.
    fn rebuilt(&mut self, version: u8, arguments: u32) -> Found<Value> {
        let arguments = self.arena.items(arguments);
        let [Value::Storage(storage), Value::Int(offset), Value::Tuple(shape), Value::Tuple(strides), ..] =
            arguments
        else {
            return Err(self.fault("a tensor that is not made of storage, offset, shape and strides"));
        };
        let own = self.arena.storages.get(*storage as usize).map(|storage| storage.dtype);
        let dtype = match (version, arguments.get(6)) {
            (3, Some(Value::Global(Global::Dtype(dtype)))) => Some(*dtype),
            (3, _) => return Err(self.fault("a tensor of a type of elements that is not known here")),
            _ => own,
        };
        let dtype = dtype.ok_or_else(|| self.fault("a tensor without a storage"))?;
        let tensor = Rebuilt { storage: *storage, dtype, offset: *offset, shape: *shape, strides: *strides };
        self.arena.tensors.push(tensor);
        Ok(Value::Tensor((self.arena.tensors.len() - 1) as u32))
    }

    /// The storage with this persistent id: `("storage", class, key, device, elements)`, followed in old files by the
    /// part of the storage that is referred to: `(key, offset, elements)`.
    fn persistent(&mut self, id: Value) -> Found<Value> {
        let Value::Tuple(id) = id else { return Err(self.fault("a storage without a name")) };
        let id = self.arena.items(id);
        let [Value::Text(_), Value::Global(class), Value::Text(key), _, Value::Int(elements), rest @ ..] = id
        else {
            return Err(self.fault("a storage that is not named as torch names them"));
        };
        let (key, dtype) = match class {
            Global::Storage(dtype) => (*key, *dtype),
            Global::Untyped => (*key, Dtype::U8),
            _ => return Err(self.fault("a storage of a class that is none of storages")),
        };
        let bytes = |elements: &i64| u64::try_from(*elements).ok()?.checked_mul(dtype.size() as u64);
        let part = match rest.first() {
            Some(Value::Tuple(part)) => match self.arena.items(*part) {
                [_, Value::Int(offset), Value::Int(elements)] => bytes(offset).zip(bytes(elements)),
                _ => None,
            },
            _ => bytes(elements).map(|whole| (0, whole)),
        };
        let bytes = bytes(elements)
            .zip(part)
            .filter(|(bytes, (first, length))| first.checked_add(*length).is_some_and(|end| end <= *bytes));
        let (bytes, part) = bytes.ok_or_else(|| self.fault("a storage of a size that cannot be"))?;
        self.arena.storages.push(Storage { key, dtype, bytes, part });
        Ok(Value::Storage((self.arena.storages.len() - 1) as u32))
    }

    /// A fault at the current opcode.
    pub(super) fn fault(&self, what: &str) -> Fault {
        Fault::new(format!("a pickle that is damaged or not of torch.save: {what}")).at(self.start as u64)
    }
}
