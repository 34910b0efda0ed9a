//! The Python version: pickled dictionaries of a numpy array of bytes, `[n, 3072]`, and a list of labels.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use temper_core::DataError;

use crate::images::{BatchFile, PIXELS, load, load_names, wrong_count, wrong_label};
use crate::pickle::{Fault, Pickle, Value, ValueKind, begins, parse, shown};

/// Maximum length of a class name in bytes; the real ones have fewer than 20.
const NAME: usize = 200;

type Result<T, E = Fault> = std::result::Result<T, E>;

/// Reads an image file whose labels are the list under `key`.
pub(crate) fn read(file: PathBuf, key: &str, classes: usize) -> Result<BatchFile, DataError> {
    let bytes = load(&file, |_, start| begins(start).map_err(|Fault { at, what }| (at, what)))?;
    part(bytes, key, classes).map_err(|fault| malformed(file, fault))
}

/// The class names: the list under `key`.
pub(crate) fn class_names(file: &Path, key: &str, classes: usize) -> Result<Vec<String>, DataError> {
    names(&load_names(file)?, key, classes).map_err(|fault| malformed(file.into(), fault))
}

fn malformed(file: PathBuf, Fault { at, what }: Fault) -> DataError {
    DataError::Malformed { file, at: Some(at as u64), what }
}

fn part(bytes: Vec<u8>, key: &str, classes: usize) -> Result<BatchFile> {
    let pickle = parse(&bytes)?;
    let ImageArray { rows, offset, decoded } = pixels(&pickle)?;
    let labels = labels(&pickle, key, rows, classes)?;
    Ok(BatchFile { bytes: decoded.unwrap_or(bytes), offset, stride: PIXELS, labels })
}

/// The location of the images.
struct ImageArray {
    rows: usize,
    /// In the file itself, without encoding.
    offset: usize,
    decoded: Option<Vec<u8>>,
}

fn pixels(pickle: &Pickle) -> Result<ImageArray> {
    let value = entry(pickle, "data")?;
    let fault = |what: String| Err(Fault { at: value.at, what: format!("`data` {what}") });
    let ValueKind::Array(array) = value.kind else { return fault("is no array of numpy".into()) };
    let Some(array) = pickle.arena.arrays[array] else {
        return fault("is an array that holds nothing".into());
    };
    let dtype = &pickle.bytes[array.dtype.start..array.dtype.end];
    if dtype != b"u1" {
        return fault(format!("is of numpy's type `{}`, expected `u1` (bytes)", shown(dtype)));
    }
    let shape = &pickle.arena.sequences[array.shape];
    let sizes: Vec<String> = shape.iter().take(4).map(|size| number(size.kind)).collect();
    let sizes = format!("[{}{}]", sizes.join(", "), if shape.len() > 4 { ", ..." } else { "" });
    let rows = match shape[..] {
        [Value { kind: ValueKind::Int(n @ 1..), .. }, Value { kind: ValueKind::Int(width), .. }]
            if width == PIXELS as i64 =>
        {
            n as usize
        }
        _ => return fault(format!("has shape {sizes}, expected [n, {PIXELS}] with n of at least 1")),
    };
    if !array.by_rows {
        return fault("is stored by columns (Fortran's order), expected by rows (C's)".into());
    }
    let (offset, octets) = match (array.data, pickle.octets(array.data)) {
        (ValueKind::Bytes(span), Some(octets)) => (span.start, octets),
        (_, Some(octets)) => (0, octets),
        (_, None) => return fault("is a text that does not stand for bytes".into()),
    };
    if rows.checked_mul(PIXELS) != Some(octets.len()) {
        return fault(format!("has shape {sizes}, but holds {} bytes", octets.len()));
    }
    let decoded = match octets {
        Cow::Owned(octets) => Some(octets),
        Cow::Borrowed(_) => None,
    };
    Ok(ImageArray { rows, offset, decoded })
}

/// The labels of `rows` images.
fn labels(pickle: &Pickle, key: &str, rows: usize, classes: usize) -> Result<Vec<u8>> {
    let (at, list) = list(pickle, key)?;
    if list.len() != rows {
        return Err(Fault { at, what: format!("{} labels under `{key}` for {rows} images", list.len()) });
    }
    let label = |(image, value): (usize, &Value)| match value.kind {
        ValueKind::Int(label @ 0..=255) if (label as usize) < classes => Ok(label as u8),
        other => Err(Fault { at: value.at, what: wrong_label(number(other), image, classes) }),
    };
    list.iter().enumerate().map(label).collect()
}

fn names(bytes: &[u8], key: &str, classes: usize) -> Result<Vec<String>> {
    let pickle = parse(bytes)?;
    let (at, list) = list(&pickle, key)?;
    if list.len() != classes {
        return Err(Fault { at, what: wrong_count(list.len(), classes) });
    }
    let name = |value: &Value| {
        // A pickle may contain one long text and refer to it many times.
        let short = matches!(value.kind, ValueKind::Text(span) | ValueKind::Bytes(span) | ValueKind::Latin1(span)
            if (1..=NAME).contains(&(span.end - span.start)));
        let octets = if short { pickle.octets(value.kind) } else { None };
        octets.and_then(|octets| String::from_utf8(octets.into_owned()).ok()).ok_or_else(|| {
            let what = format!("an entry of `{key}` is no text of 1 to {NAME} bytes");
            Fault { at: value.at, what }
        })
    };
    list.iter().map(name).collect()
}

/// The list under a key, and its offset.
fn list<'p>(pickle: &'p Pickle, key: &str) -> Result<(usize, &'p [Value])> {
    let Value { at, kind } = entry(pickle, key)?;
    match kind {
        ValueKind::List(list) => Ok((at, &pickle.arena.sequences[list])),
        _ => Err(Fault { at, what: format!("`{key}` is no list") }),
    }
}

/// The value under a key of the dictionary in the pickle.
fn entry(pickle: &Pickle, key: &str) -> Result<Value> {
    let fault = |what: String| Fault { at: pickle.root.at, what };
    let ValueKind::Dict(dict) = pickle.root.kind else {
        return Err(fault("the pickle holds no dictionary".into()));
    };
    pickle.entry(dict, key).ok_or_else(|| fault(format!("the dictionary has no key `{key}`")))
}

/// A number as text; anything else as a description of its kind.
fn number(kind: ValueKind) -> String {
    match kind {
        ValueKind::Int(number) => number.to_string(),
        _ => "(no whole number)".into(),
    }
}
