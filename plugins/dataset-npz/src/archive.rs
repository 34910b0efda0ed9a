//! The members of a `.npz` file: a ZIP archive of `.npy` files, stored or deflated.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use temper_core::prelude::*;

/// Maximum size of an archive in bytes.
pub(crate) const LARGEST: u64 = 4 << 30;
/// Maximum size of the list of members in bytes: some 10,000 members.
const LONGEST: u64 = 1 << 20;
/// Size of the last record in bytes, without the comment that may follow.
const END: u64 = 22;
/// Maximum size of this comment in bytes.
const COMMENT: u64 = 0xffff;
/// Size of a member's own header in bytes, without its name and extra fields.
const LOCAL: usize = 30;
/// The placeholder for a number of more than 32 bits.
const ELSEWHERE: u64 = 0xffff_ffff;
/// Maximum factor by which deflate can expand data.
const RATIO: u64 = 1032;
/// The suffix of the members' names in `.npz` files that Python writes.
const SUFFIX: &str = ".npy";

/// An archive of which only the list of members was read.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) path: PathBuf,
    length: u64,
    /// Members by name.
    members: BTreeMap<String, Member>,
}

/// A member's entry in the list.
#[derive(Debug)]
struct Member {
    encrypted: bool,
    /// 0: stored; 8: deflated.
    method: u64,
    crc: u32,
    /// Size in bytes, as stored and unpacked.
    packed: u64,
    size: u64,
    /// Offset of its own header.
    header: u64,
}

/// An unsigned number of `bytes` bytes, the least significant first.
fn number(record: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let number = record.get(at..at + bytes)?;
    Some(number.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
}

impl Archive {
    /// Reads the list of members.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let (mut file, length) = Bounded { file: path, most: LARGEST, what: "a `.npz` archive" }.open()?;
        let mut archive = Self { path: path.into(), length, members: BTreeMap::new() };
        let mut start = vec![];
        file.by_ref().take(6).read_to_end(&mut start).map_err(|source| archive.io(source))?;
        if !start.starts_with(b"PK") {
            let what = match &start[..] {
                [] => "an empty file, expected a `.npz` archive",
                b"\x93NUMPY" => {
                    "a single array (`.npy`), expected a `.npz` archive: give arrays by `images` and `labels`"
                }
                _ => "no `.npz` archive, which begins with PK (numpy.savez writes it)",
            };
            return Err(archive.fault(0, what));
        }
        let tail_at = length.saturating_sub(END + COMMENT);
        let tail = archive.bytes(&mut file, tail_at, length - tail_at)?;
        let end = tail.windows(END as usize).rposition(|record| record.starts_with(b"PK\x05\x06"));
        let Some(end) = end else {
            return Err(archive.fault(length, "a ZIP archive without its end: it was cut off, copy it again"));
        };
        let (at, record) = (tail_at + end as u64, &tail[end..]);
        let (Some(size), Some(list_at)) = (number(record, 12, 4), number(record, 16, 4)) else {
            return Err(archive.fault(at, "the end of a ZIP archive that is cut off: copy the file again"));
        };
        if list_at == ELSEWHERE || size == ELSEWHERE {
            return Err(
                archive.fault(at, "a ZIP64 archive, which numpy writes from 2 GiB on: save fewer images")
            );
        }
        if size > LONGEST || list_at.checked_add(size).is_none_or(|list_end| list_end > at) {
            let what = format!(
                "a list of members of {size} bytes at byte {list_at}, expected at most {LONGEST} before byte {at}"
            );
            return Err(archive.fault(at + 12, what));
        }
        let list = archive.bytes(&mut file, list_at, size)?;
        archive.members = archive.list(&list, list_at)?;
        Ok(archive)
    }

    /// The members of a list that begins at byte `start`.
    fn list(&self, list: &[u8], start: u64) -> Result<BTreeMap<String, Member>, DataError> {
        let (mut members, mut rest) = (BTreeMap::new(), list);
        while !rest.is_empty() {
            let at = start + (list.len() - rest.len()) as u64;
            let (name, member, length) = member(rest)
                .ok_or_else(|| self.fault(at, "no entry of a ZIP archive's list: the file is damaged"))?;
            if [member.packed, member.size, member.header].contains(&ELSEWHERE) {
                let what = format!(
                    "a member `{name}` in the format ZIP64, which numpy writes from 2 GiB on: save fewer images"
                );
                return Err(self.fault(at, what));
            }
            if members.contains_key(&name) {
                return Err(self.fault(at, format!("a member `{name}` a second time")));
            }
            members.insert(name, member);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(members)
    }

    /// Names of the arrays, as in numpy.
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.members.keys().filter_map(|name| name.strip_suffix(SUFFIX)).collect()
    }

    /// The bytes of the array of this name, and their number.
    pub(crate) fn array(&self, key: &str) -> Result<(impl Read + use<>, u64), DataError> {
        let name = format!("{key}{SUFFIX}");
        let Some(member) = self.members.get(&name) else {
            let what = format!("no array `{key}`; there are {}", listed(&self.keys()));
            return Err(DataError::Malformed { file: self.path.clone(), at: None, what });
        };
        let Member { encrypted, method, crc, packed, size, header } = member;
        let fault = |what: &str| self.fault(*header, format!("`{name}`: {what}"));
        if *encrypted {
            return Err(fault("it is encrypted: unpack the archive and save the arrays with numpy.savez"));
        }
        if !matches!(method, 0 | 8) {
            let what =
                format!("compression {method}, expected none or deflate: save with numpy.savez_compressed");
            return Err(fault(&what));
        }
        if *method == 0 && packed != size {
            return Err(fault("stored bytes of two lengths: the archive is damaged"));
        }
        if *size > packed.saturating_mul(RATIO) {
            return Err(fault(&format!("{packed} packed bytes cannot hold the {size} bytes that it claims")));
        }
        let mut file = File::open(&self.path).map_err(|source| self.io(source))?;
        let own = self.bytes(&mut file, *header, LOCAL as u64)?;
        let lengths = number(&own, 26, 2).zip(number(&own, 28, 2));
        let (Some((name_length, extra)), true) = (lengths, own.starts_with(b"PK\x03\x04")) else {
            return Err(fault("no member begins where the list says: the archive is damaged"));
        };
        let at = header + LOCAL as u64 + name_length + extra;
        if at + packed > self.length {
            return Err(fault("it goes on beyond the end of the file: copy the file again"));
        }
        file.seek(SeekFrom::Start(at)).map_err(|source| self.io(source))?;
        let packed = file.take(*packed);
        let inner =
            if *method == 0 { Inner::Stored(packed) } else { Inner::Deflated(DeflateDecoder::new(packed)) };
        Ok((Checked { inner, left: *size, crc: Crc::new(), expected: *crc }, *size))
    }

    /// Exactly `n` bytes from byte `at` on.
    fn bytes(&self, file: &mut File, at: u64, n: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = vec![];
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.take(n).read_to_end(&mut bytes));
        read.map_err(|source| self.io(source))?;
        match bytes.len() as u64 == n {
            true => Ok(bytes),
            false => Err(self.fault(at, format!("{n} bytes were expected here, the file ends before"))),
        }
    }

    fn io(&self, source: io::Error) -> DataError {
        DataError::Io { file: self.path.clone(), source }
    }

    fn fault(&self, at: u64, what: impl Into<String>) -> DataError {
        DataError::Malformed { file: self.path.clone(), at: Some(at), what: what.into() }
    }
}

/// The first member of a list with its name, and the length of its entry.
fn member(list: &[u8]) -> Option<(String, Member, usize)> {
    let field = |at, bytes| number(list, at, bytes);
    list.starts_with(b"PK\x01\x02").then_some(())?;
    let (name, extra, comment) = (field(28, 2)? as usize, field(30, 2)? as usize, field(32, 2)? as usize);
    let length = 46 + name + extra + comment;
    (length <= list.len()).then_some(())?;
    let name = String::from_utf8_lossy(&list[46..46 + name]).into_owned();
    let member = Member {
        encrypted: field(8, 2)? & 1 == 1,
        method: field(10, 2)?,
        crc: field(16, 4)? as u32,
        packed: field(20, 4)?,
        size: field(24, 4)?,
        header: field(42, 4)?,
    };
    Some((name, member, length))
}

/// Names for a message.
pub(crate) fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(10).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "no arrays".into(),
        n if n > shown.len() => format!("{} and {} more", shown.join(", "), n - shown.len()),
        _ => shown.join(", "),
    }
}

enum Inner {
    Stored(io::Take<File>),
    Deflated(DeflateDecoder<io::Take<File>>),
}

/// A member's bytes, unpacked. A size or a checksum that differs from the list is an error.
struct Checked {
    inner: Inner,
    left: u64,
    crc: Crc,
    expected: u32,
}

impl Read for Checked {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let damaged = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let mut one = [0];
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        // At the end, reads one more byte, which must not exist.
        let bytes = if self.left == 0 { &mut one[..] } else { &mut bytes[..room] };
        if bytes.is_empty() {
            return Ok(0);
        }
        let n = match &mut self.inner {
            Inner::Stored(reader) => reader.read(bytes)?,
            Inner::Deflated(reader) => reader.read(bytes)?,
        };
        match (n, self.left) {
            (0, 0) if self.crc.sum() != self.expected => {
                damaged("its checksum is wrong: copy the file again")
            }
            (0, 0) => Ok(0),
            (0, _) => damaged("it unpacks to fewer bytes than it claims"),
            (_, 0) => damaged("it unpacks to more bytes than it claims"),
            _ => {
                self.crc.update(&bytes[..n]);
                self.left -= n as u64;
                Ok(n)
            }
        }
    }
}
