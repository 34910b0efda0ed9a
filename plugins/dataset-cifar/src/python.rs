//! The Python version: pickled dictionaries of a numpy array of bytes, `[n, 3072]`, and a list of labels.

use std::fs;
use std::path::{Path, PathBuf};

use temper_core::DataError;

use crate::pickle::{Bytes, Fault, Value, parse, word};
use crate::{PIXELS, Part, check_labels};

/// Reads a file of images whose labels are the list under `key`.
pub(crate) fn read(file: PathBuf, key: &str, classes: usize) -> Result<Part, DataError> {
    let bytes = fs::read(&file).map_err(|source| DataError::Io { file: file.clone(), source })?;
    part(file, bytes, key, classes)
}

fn part(file: PathBuf, bytes: Vec<u8>, key: &str, classes: usize) -> Result<Part, DataError> {
    let fault = |what: String| DataError::Malformed { file: file.clone(), at: None, what };
    let whole = parse(&bytes).map_err(|fault| malformed(&file, fault))?;
    let Some(Value::Array(array)) = entry(&whole, "data", &bytes) else {
        return Err(fault("no array under the key `data`".into()));
    };
    let array = array.borrow();
    let rows = match array.shape[..] {
        [rows, width] if width == PIXELS as i64 && rows > 0 => rows as usize,
        _ => return Err(fault(format!("`data` has shape {:?}, expected [n, {PIXELS}]", array.shape))),
    };
    if !matches!(array.dtype.as_str(), "u1" | "|u1" | "uint8") {
        return Err(fault(format!("`data` is of numpy's type `{}`, expected `u1` (bytes)", array.dtype)));
    }
    if array.fortran {
        return Err(fault("`data` is stored by columns, expected rows".into()));
    }
    let data = array.data.clone().unwrap_or(Bytes::InFile(0..0));
    let held = data.get(&bytes).len();
    if rows.checked_mul(PIXELS) != Some(held) {
        return Err(fault(format!("`data` has shape {:?}, but holds {held} bytes", array.shape)));
    }
    let Some(Value::List(labels)) = entry(&whole, key, &bytes) else {
        return Err(fault(format!("no list under the key `{key}`")));
    };
    let labels = labels.borrow();
    if labels.len() != rows {
        return Err(fault(format!("{} labels for {rows} images", labels.len())));
    }
    let label = |(i, value): (usize, &Value)| match value {
        Value::Int(label) => u8::try_from(*label)
            .map_err(|_| fault(format!("label {label} of image {i}, expected 0 to {}", classes - 1))),
        _ => Err(fault(format!("label {i} under `{key}` is not a number"))),
    };
    let labels: Vec<u8> = labels.iter().enumerate().map(label).collect::<Result<_, _>>()?;
    check_labels(&file, &labels, classes, |_| None)?;
    // Where the pixels stand in the file as they are, the file's bytes serve.
    let (offset, decoded) = match data {
        Bytes::InFile(range) => (range.start, None),
        Bytes::Decoded(pixels) => (0, Some(pixels.to_vec())),
    };
    drop(array);
    drop(whole);
    Ok(Part { file, bytes: decoded.unwrap_or(bytes), stride: PIXELS, offset, labels })
}

/// The names of the classes, the list under `key`.
pub(crate) fn class_names(file: &Path, key: &str) -> Result<Vec<String>, DataError> {
    let bytes = fs::read(file).map_err(|source| DataError::Io { file: file.into(), source })?;
    let whole = parse(&bytes).map_err(|fault| malformed(file, fault))?;
    let fault = |what: String| DataError::Malformed { file: file.into(), at: None, what };
    let Some(Value::List(names)) = entry(&whole, key, &bytes) else {
        return Err(fault(format!("no list under the key `{key}`")));
    };
    let names = names.borrow();
    let name = |value| word(value, &bytes).ok_or_else(|| fault(format!("a name under `{key}` is not text")));
    names.iter().map(name).collect()
}

fn malformed(file: &Path, Fault { at, what }: Fault) -> DataError {
    DataError::Malformed { file: file.into(), at: Some(at as u64), what: format!("pickle: {what}") }
}

/// The value of a dictionary under a key, which Python 2 wrote as bytes and Python 3 as text.
fn entry(whole: &Value, key: &str, bytes: &[u8]) -> Option<Value> {
    let Value::Dict(dict) = whole else { return None };
    let dict = dict.borrow();
    dict.iter().find(|(k, _)| word(k, bytes).as_deref() == Some(key)).map(|(_, value)| value.clone())
}

#[cfg(test)]
mod tests;
