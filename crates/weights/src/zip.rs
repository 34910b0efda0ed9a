//! The list of a ZIP archive's entries (the central directory), which is at the archive's end. Uncompressed entries
//! are read in place; torch compresses no entries.

use crate::error::{Error, Fault, Result};
use crate::source::{AGAIN, Source};

/// Maximum length of the list in bytes: names of 150,000 tensors.
const LONGEST: u64 = 16 << 20;
/// Length in bytes of the archive's last record, without the comment that may follow.
const END: usize = 22;
/// Maximum length of such a comment in bytes.
const COMMENT: u64 = 0xffff;
/// Placeholder for a number that does not fit into 32 bits and is stored elsewhere.
const ELSEWHERE: u64 = 0xffff_ffff;

/// An entry of an archive.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Offset of its own header.
    header: u64,
    /// Its size in bytes as stored in the archive.
    pub(crate) size: u64,
    /// Compression method; 0 is uncompressed.
    method: u64,
    encrypted: bool,
}

/// Reads an unsigned little-endian number of `bytes` bytes.
fn number(record: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let number = record.get(at..at + bytes)?;
    Some(number.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
}

/// The entries of an archive, in the order of its list.
pub(crate) fn entries(source: &Source) -> Result<Vec<Entry>> {
    let fault = |what: &str| {
        source.malformed(Fault::new(format!("a ZIP archive that is damaged: {what}")).advising(AGAIN))
    };
    let tail = source.length.min(COMMENT + END as u64 + 76);
    let tail = source.read(source.length - tail, tail)?;
    let Some(end) = tail.windows(END).rposition(|record| record.starts_with(b"PK\x05\x06")) else {
        let what = format!("a ZIP archive without its end, cut off after {} bytes", source.length);
        return Err(source.malformed(Fault::new(what).advising(AGAIN)));
    };
    let record = &tail[end..];
    let (mut length, mut at) = (number(record, 12, 4), number(record, 16, 4));
    if length == Some(ELSEWHERE) || at == Some(ELSEWHERE) || number(record, 10, 2) == Some(0xffff) {
        // The record before the last one contains the offset of the longer record of ZIP64.
        let place = end.checked_sub(20).and_then(|place| tail.get(place..end));
        let place =
            place.filter(|place| place.starts_with(b"PK\x06\x07")).and_then(|place| number(place, 8, 8));
        let long = source.read(place.ok_or_else(|| fault("its end names no list"))?, 56)?;
        (length, at) = (number(&long, 40, 8), number(&long, 48, 8));
    }
    let (Some(length), Some(at)) = (length, at) else { return Err(fault("its end is cut off")) };
    if length > LONGEST {
        return Err(fault(&format!("a list of entries of {length} bytes, at most {LONGEST} are read")));
    }
    let list = source.read(at, length)?;
    let (mut entries, mut rest) = (vec![], &list[..]);
    while !rest.is_empty() {
        let (entry, after) = entry(rest).ok_or_else(|| fault("its list of entries is not one"))?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

/// Parses the first entry of a list; returns it and the rest.
fn entry(list: &[u8]) -> Option<(Entry, &[u8])> {
    let list = list.strip_prefix(b"PK\x01\x02")?;
    // Offsets are those of the format, less the four bytes that were just removed.
    let field = |at: usize, bytes| number(list, at - 4, bytes);
    let (name, extra, comment) = (field(28, 2)? as usize, field(30, 2)? as usize, field(32, 2)? as usize);
    let own = list.get(42..42 + name)?;
    let more = list.get(42 + name..42 + name + extra)?;
    let [size, whole, header] = long([field(20, 4)?, field(24, 4)?, field(42, 4)?], more)?;
    let method = field(10, 2)?;
    // An uncompressed entry has the same size before and after unpacking.
    if method == 0 && size != whole {
        return None;
    }
    let encrypted = field(8, 2)? & 1 == 1;
    let name = String::from_utf8_lossy(own).into_owned();
    Some((Entry { name, header, size, method, encrypted }, list.get(42 + own.len() + extra + comment..)?))
}

/// Returns size, unpacked size and offset. Those that do not fit into 32 bits are in the field of ZIP64.
fn long([size, whole, header]: [u64; 3], mut extra: &[u8]) -> Option<[u64; 3]> {
    while let (Some(id), Some(length)) = (number(extra, 0, 2), number(extra, 2, 2)) {
        let field = extra.get(4..4 + length as usize)?;
        if id == 1 {
            let mut at = 0;
            let mut next = |short: u64| {
                if short != ELSEWHERE {
                    return Some(short);
                }
                at += 8;
                number(field, at - 8, 8)
            };
            // The field stores the values in this order.
            let whole = next(whole)?;
            return Some([next(size)?, whole, next(header)?]);
        }
        extra = extra.get(4 + length as usize..)?;
    }
    Some([size, whole, header])
}

impl Entry {
    /// Returns the offset of its content. An error if the entry is encrypted or compressed, or ends beyond the file.
    pub(crate) fn content(&self, source: &Source) -> Result<u64> {
        let fault = |what: &str, help| {
            let fault = Fault::new(what).within(&self.name).advising(help);
            Error::Malformed { file: source.path.clone(), fault: Box::new(fault) }
        };
        if self.encrypted {
            return Err(fault("an encrypted ZIP archive", "unpack it, and save the weights with torch.save"));
        }
        if self.method != 0 {
            let help = "torch.save writes entries without compression: unpack the archive if it holds the file that \
                        was meant, or load it in Python and save it again";
            return Err(fault("a compressed entry of a ZIP archive", help));
        }
        let header = source.read(self.header, 30)?;
        let lengths = number(&header, 26, 2).zip(number(&header, 28, 2));
        let (Some((name, extra)), true) = (lengths, header.starts_with(b"PK\x03\x04")) else {
            return Err(fault("a ZIP archive whose list of entries does not fit its entries", AGAIN));
        };
        let at = self.header + 30 + name + extra;
        match at.checked_add(self.size).is_some_and(|end| end <= source.length) {
            true => Ok(at),
            false => Err(fault("an entry of a ZIP archive that goes on beyond the end of the file", AGAIN)),
        }
    }
}
