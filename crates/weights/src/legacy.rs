//! The stream that `torch.save` wrote before version 1.6: five pickles (a magic number, the version of the format,
//! facts about the machine, the object, the names of storages), then the storages in the order of their names.

use std::collections::HashMap;

use crate::error::{Fault, Result};
use crate::format::{Format, Read};
use crate::pickle::{self, Pickle, Storage, Value};
use crate::source::{AGAIN, Source};
use crate::state::State;

/// The pickled magic number.
const MAGIC: [u8; 12] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The version of the format; there was only one.
const VERSION: i64 = 1001;
/// Size in bytes of the number of elements that precedes each storage.
const LENGTH: u64 = 8;

/// Whether a file with this start is such a stream: the magic number follows the protocol, or in newer
/// protocols the length of a frame.
fn begins(start: &[u8]) -> bool {
    start.first() == Some(&0x80)
        && [2, 11].iter().any(|at| start.get(*at..).is_some_and(|at| at.starts_with(&MAGIC)))
}

/// A stream of `torch.save` before version 1.6.
pub(crate) const FORMAT: Format = Format {
    begins,
    read: |source| {
        let State { tensors, told } = read(&source)?;
        Ok(Read { tensors, sources: vec![source], told, ..Read::default() })
    },
    says: false,
};

/// Reads the weights of such a file.
fn read(source: &Source) -> Result<State> {
    let bytes = source.start(pickle::LONGEST)?;
    let at = |error: Fault| {
        // The pickle may end within the file, but after the bytes that were read.
        let large = error.help == Some(AGAIN) && source.length > pickle::LONGEST;
        let what = format!("pickles of more than {} MiB, far more than weights need", pickle::LONGEST >> 20);
        source.malformed(if large { Fault::new(what) } else { error })
    };
    let magic = pickle::parse(&bytes, 0).map_err(at)?;
    let version = pickle::parse(&bytes, magic.end).map_err(at)?;
    if version.root != Value::Int(VERSION) {
        let what = format!("a version of torch.save's old format that is not known, expected {VERSION}");
        return Err(source.malformed(Fault::new(what).at(magic.end as u64)));
    }
    // The facts about the machine are skipped: numbers are little-endian on every machine.
    let machine = pickle::parse(&bytes, version.end).map_err(at)?.end;
    let object = pickle::parse(&bytes, machine).map_err(at)?;
    let keys = pickle::parse(&bytes, object.end).map_err(at)?;
    let places = places(source, &object, &keys)?;
    State::of(&object, source, None, |storage| {
        let key = object.text(storage.key);
        // The object may refer to the same storage with another size, which was not compared with the file.
        let place = places.get(key).filter(|(_, bytes)| *bytes == storage.bytes).map(|(at, _)| *at);
        place.ok_or_else(|| {
            source.malformed(Fault::new(format!("its storage `{key}` is missing")).advising(AGAIN))
        })
    })
}

/// Returns the offset and the size in bytes of each storage. The number of elements precedes the elements.
fn places<'b>(source: &Source, object: &Pickle<'b>, keys: &Pickle) -> Result<HashMap<&'b str, (u64, u64)>> {
    let known: HashMap<&str, &Storage> =
        object.storages().iter().map(|storage| (object.text(storage.key), storage)).collect();
    let (mut places, mut at) = (HashMap::new(), keys.end as u64);
    for key in keys.items(keys.root) {
        let key = match key {
            Value::Text(key) => keys.text(*key),
            _ => return Err(source.malformed(Fault::new("a storage without a name").at(object.end as u64))),
        };
        let Some((key, storage)) = known.get_key_value(key) else {
            let what = format!("a storage `{key}` of which the object does not speak");
            return Err(source.malformed(Fault::new(what).at(object.end as u64)));
        };
        let head = source.read(at, LENGTH)?;
        let elements = head.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
        if elements.checked_mul(storage.dtype.size() as u64) != Some(storage.bytes) {
            let what =
                format!("its storage `{key}` has {elements} elements, {} bytes were expected", storage.bytes);
            return Err(source.malformed(Fault::new(what).at(at).advising(AGAIN)));
        }
        // Each storage may be listed once: a list may repeat a name as often as it has steps, and each
        // repetition costs a read.
        if places.insert(*key, (at + LENGTH, storage.bytes)).is_some() {
            let what = format!("its storage `{key}` is listed twice");
            return Err(source.malformed(Fault::new(what).at(object.end as u64)));
        }
        at = (at + LENGTH).checked_add(storage.bytes).filter(|end| *end <= source.length).ok_or_else(
            || {
                let what = format!(
                    "its storage `{key}` of {} bytes goes on beyond the end of the file",
                    storage.bytes
                );
                source.malformed(Fault::new(what).at(at).advising(AGAIN))
            },
        )?;
    }
    Ok(places)
}
