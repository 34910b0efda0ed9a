//! Finds all mistakes of a document at once. When reading fails, the mistake is recorded, and the document is mended
//! and read again.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::first_line;
use crate::place::place;

/// Maximum number of mistakes that are looked for: more than a user reads at once.
const MOST: usize = 50;

/// One mistake.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Its offset in the document.
    pub(crate) offset: usize,
    /// The path of keys to it, empty at the top level.
    pub(crate) path: String,
    /// A description for the user.
    pub(crate) message: String,
}

/// A document, and its mistakes found so far.
#[derive(Debug)]
pub(crate) struct Reading<'d> {
    document: &'d Spanned<DeTable<'d>>,
    faults: Vec<Fault>,
    /// Keys to wrong parts that were removed. No further mistakes are reported for them.
    spoilt: Vec<Vec<String>>,
    /// Returns the key that was removed from the table at this path before reading, and is known there; `None` for
    /// any other table.
    lifted: fn(&[String]) -> Option<&'static str>,
    /// Whether an unknown key was a misspelling of that key.
    meant_lifted: bool,
}

impl<'d> Reading<'d> {
    /// Reads a `T` from the valid parts of the document; `None` if they do not suffice.
    pub(crate) fn of<T: DeserializeOwned>(document: &'d Spanned<DeTable<'d>>) -> (Option<T>, Self) {
        Self::without(document, |_| None)
    }

    /// Like [`Self::of`], for a document from whose tables a key was removed. `lifted` returns the key that is known
    /// in the table at a path, besides those of `T`.
    pub(crate) fn without<T: DeserializeOwned>(
        document: &'d Spanned<DeTable<'d>>,
        lifted: fn(&[String]) -> Option<&'static str>,
    ) -> (Option<T>, Self) {
        let mut reading = Self { document, faults: vec![], spoilt: vec![], lifted, meant_lifted: false };
        let mut mended = document.clone();
        reading.refuse_long_integers(&mut mended);
        for _ in 0..MOST {
            let deserializer = toml::de::Deserializer::from(mended.clone());
            let error = match serde_path_to_error::deserialize::<_, T>(deserializer) {
                Ok(value) => return (Some(value), reading),
                Err(error) => error,
            };
            let message = first_line(error.inner().message()).to_string();
            if !reading.mend(&mut mended, error.path(), &message) {
                break;
            }
        }
        (None, reading)
    }

    /// Records whole numbers of more than 63 bits as mistakes. TOML does not have them: a run's copy of them could
    /// not be read again.
    fn refuse_long_integers(&mut self, document: &mut Spanned<DeTable<'d>>) {
        let mut found = vec![];
        long_integers(document.get_ref(), &mut vec![], &mut found);
        for (keys, number) in found {
            let names: Vec<&str> = keys.iter().map(String::as_str).collect();
            self.add(&names, format!("{number} is beyond 63 bits: the largest whole number is {}", i64::MAX));
            self.spoilt.extend(take_out(document.get_mut(), &keys));
        }
    }

    /// Adds a mistake at these keys of the document.
    pub(crate) fn add(&mut self, keys: &[&str], message: String) {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        self.note(&keys, message);
    }

    fn note(&mut self, keys: &[String], message: String) {
        let (offset, path) = place(self.document, keys);
        self.faults.push(Fault { offset, path, message });
    }

    /// Whether this part was removed.
    pub(crate) fn spoilt(&self, keys: &[&str]) -> bool {
        self.spoilt.iter().any(|spoilt| spoilt == keys)
    }

    /// Whether an entry of this part was removed.
    pub(crate) fn spoilt_within(&self, keys: &[&str]) -> bool {
        self.spoilt.iter().any(|spoilt| spoilt.split_last().is_some_and(|(_, before)| before == keys))
    }

    /// Whether an unknown key was a misspelling of the key that was removed before reading.
    pub(crate) fn meant_lifted(&self) -> bool {
        self.meant_lifted
    }

    /// Whether no mistake was found.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// All mistakes, in the order of the document.
    pub(crate) fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| fault.offset);
        self.faults
    }

    /// Records a mistake and mends it in `document`; `false` if it cannot be mended.
    fn mend(&mut self, document: &mut Spanned<DeTable<'d>>, path: &Path, message: &str) -> bool {
        let mut keys: Vec<String> = path.iter().map_while(key).collect();
        if let Some(field) = quoted(message).next().filter(|_| message.starts_with("missing field")) {
            let mut whole = keys.clone();
            whole.push(field.to_string());
            if !self.spoilt.contains(&whole) {
                self.note(&keys, message.into());
            }
        } else if message.starts_with("unknown field") {
            // The parser fails at the field, or at its table if a plugin reads the keys itself.
            if let Some(field) =
                quoted(message).next().filter(|field| keys.last().is_none_or(|key| key != field))
            {
                keys.push(field.to_string());
            }
            let Some((name, within)) = keys.split_last() else { return false };
            let lifted = (self.lifted)(within);
            let fields = || quoted(message).skip(1).chain(lifted);
            let near = nearest(name, fields());
            let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            let known: Vec<String> = fields().map(|name| format!("`{name}`")).collect();
            self.note(&keys, format!("unknown field `{name}`; {hint}known: {}", known.join(", ")));
            // Reading continues with the misspelling corrected, or without the unknown key.
            let Some(table) = table_at(document.get_mut(), within) else { return false };
            let Some((_, value)) = table.remove_entry(name.as_str()) else { return false };
            self.meant_lifted |= near.is_some() && near == lifted;
            if let Some(near) = near.filter(|near| !table.contains_key(*near) && lifted != Some(near)) {
                table.insert(Spanned::new(value.span(), near.to_string().into()), value);
            }
            return true;
        } else {
            self.note(&keys, message.into());
            // The name of an unknown plugin is the key itself. Without it, its table would be empty and still
            // invalid, so the table is removed.
            if message.starts_with("unknown ") && quoted(message).next() == keys.last().map(String::as_str) {
                keys.pop();
            }
        }
        let taken = take_out(document.get_mut(), &keys);
        let done = taken.is_some();
        self.spoilt.extend(taken);
        done
    }
}

/// Collects all whole numbers that do not fit in 63 bits and a sign: the keys to them, and the numbers as written.
fn long_integers(table: &DeTable<'_>, keys: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    fn look(value: &DeValue<'_>, keys: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
        match value {
            DeValue::Table(table) => long_integers(table, keys, found),
            DeValue::Array(array) => {
                for (i, value) in array.iter().enumerate() {
                    keys.push(i.to_string());
                    look(value.get_ref(), keys, found);
                    keys.pop();
                }
            }
            DeValue::Integer(number) if i64::from_str_radix(number.as_str(), number.radix()).is_err() => {
                found.push((keys.clone(), number.to_string()));
            }
            _ => {}
        }
    }
    for (key, value) in table {
        keys.push(key.get_ref().to_string());
        look(value.get_ref(), keys, found);
        keys.pop();
    }
}

/// A key or an array index of the path at which the parser failed; `None` for a key that cannot be read, which has no
/// name.
fn key(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    }
}

/// The texts between backticks.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

/// The known name of which `name` is probably a misspelling.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let distance = |other: &str| strsim::damerau_levenshtein(other, name);
    known.min_by_key(|other| distance(other)).filter(|other| distance(other) <= 1 + name.len() / 3)
}

/// The table at the end of these keys.
fn table_at<'t, 'd>(table: &'t mut DeTable<'d>, keys: &[String]) -> Option<&'t mut DeTable<'d>> {
    let Some((first, mut rest)) = keys.split_first() else { return Some(table) };
    let mut value = table.get_mut(first.as_str())?.get_mut();
    loop {
        value = match (value, rest) {
            (DeValue::Table(table), rest) => return table_at(table, rest),
            (DeValue::Array(array), [index, after @ ..]) => {
                rest = after;
                array.get_mut(index.parse::<usize>().ok()?)?.get_mut()
            }
            _ => return None,
        };
    }
}

/// Removes the value at these keys; returns the keys to the removed part. For an element of an array, the whole array
/// is removed, except in `evaluate`: there only the element is replaced by an empty one, so that the others keep
/// their indices.
fn take_out(table: &mut DeTable<'_>, keys: &[String]) -> Option<Vec<String>> {
    let (last, within) = keys.split_last()?;
    if let Some(table) = table_at(table, within) {
        return table.remove_entry(last.as_str()).map(|_| keys.to_vec());
    }
    if within != ["evaluate"] {
        return take_out(table, within);
    }
    let DeValue::Array(entries) = table.get_mut("evaluate")?.get_mut() else { return None };
    let entry = entries.get_mut(last.parse::<usize>().ok()?)?;
    let span = entry.span();
    let name = DeValue::String(format!("\u{0}{last}").into());
    let mut empty = DeTable::new();
    empty.insert(Spanned::new(span.clone(), "name".into()), Spanned::new(span, name));
    *entry.get_mut() = DeValue::Table(empty);
    Some(keys.to_vec())
}
