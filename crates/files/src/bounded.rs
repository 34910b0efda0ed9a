//! Reading files within a bound: a file that a user names may have any length, or no end.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// Maximum length of a line in bytes.
const LONGEST: u64 = 1 << 20;
/// Maximum number of lines of a text, because short lines take time, too. All of ImageNet has 14 million images.
const LINES: usize = 1 << 24;

/// A file and the maximum length that is read.
#[derive(Debug, Clone, Copy)]
pub struct Bounded<'a> {
    /// The file.
    pub file: &'a Path,
    /// Maximum length of the file in bytes.
    pub most: u64,
    /// The expected content, as in "a list of labels".
    pub what: &'a str,
}

impl<'a> Bounded<'a> {
    /// Opens the file, which must be a regular file, and returns it with its length. A file longer than `most` is an
    /// error before any byte is read.
    pub fn open(&self) -> Result<(File, u64)> {
        // Opening a pipe would wait for a writer.
        let about = fs::metadata(self.file).map_err(|source| self.io(source))?;
        if !about.is_file() && !about.is_dir() {
            return Err(self.fault(None, format!("a pipe or a device, expected {} in a file", self.what)));
        }
        if about.is_file() && about.len() > self.most {
            return Err(self.too_long(about.len()));
        }
        Ok((File::open(self.file).map_err(|source| self.io(source))?, about.len()))
    }

    /// Reads the bytes of the file, which must be a regular file.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let (file, len) = self.open()?;
        let mut bytes = vec![];
        let room = bytes.try_reserve_exact(usize::try_from(len).unwrap_or(usize::MAX));
        room.map_err(|_| self.io(io::ErrorKind::OutOfMemory.into()))?;
        self.read(file, bytes)
    }

    /// Reads all bytes of a reader, whatever its source is.
    pub fn bytes_of(&self, reader: impl Read) -> Result<Vec<u8>> {
        self.read(reader, vec![])
    }

    /// Reads into `bytes` and checks the bound again: a file may grow after its length was read, and files that the
    /// system generates report no true length.
    fn read(&self, reader: impl Read, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        reader.take(self.most.saturating_add(1)).read_to_end(&mut bytes).map_err(|source| self.io(source))?;
        match bytes.len() as u64 > self.most {
            true => Err(self.too_long(format_args!("more than {}", self.most))),
            false => Ok(bytes),
        }
    }

    /// The lines of a text in UTF-8, read one by one from a regular file.
    pub fn lines(&self) -> Result<Lines<'a>> {
        let (file, _) = self.open()?;
        Ok(Lines {
            bounded: *self,
            reader: BufReader::new(file.take(self.most.saturating_add(1))),
            longest: LONGEST,
            many: LINES,
            line: 0,
            at: 0,
        })
    }

    fn too_long(&self, length: impl fmt::Display) -> Error {
        let Self { most, what, .. } = self;
        let what = format!(
            "{length} bytes, but {what} may have {} at most; name the file that was meant, or a shorter one",
            size(*most)
        );
        self.fault(None, what)
    }

    fn fault(&self, at: Option<u64>, what: String) -> Error {
        Error::Malformed { file: self.file.into(), at, what }
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { file: self.file.into(), source }
    }
}

/// The lines of a text, each with its number from 1 and with its line ending. A byte order mark before
/// the first line is removed.
#[derive(Debug)]
pub struct Lines<'a> {
    bounded: Bounded<'a>,
    reader: BufReader<io::Take<File>>,
    /// Maximum length of a line in bytes.
    longest: u64,
    /// Maximum number of lines.
    many: usize,
    line: usize,
    /// Offset of the next line in the file.
    at: u64,
}

impl Lines<'_> {
    fn read(&mut self) -> Result<Option<String>> {
        let mut bytes = vec![];
        let line = self.reader.by_ref().take(self.longest + 1).read_until(b'\n', &mut bytes);
        let length = line.map_err(|source| self.bounded.io(source))? as u64;
        if length == 0 {
            return Ok(None);
        }
        let expected = self.bounded.what;
        let fault = |what| Error::Line { file: self.bounded.file.into(), line: self.line + 1, what };
        if self.line >= self.many {
            return Err(fault(format!("more than {} lines, expected {expected}", self.many)));
        }
        if let Some(place) = bytes.iter().position(|byte| *byte == 0) {
            let what = format!("a byte 0, which no text has: expected {expected}");
            return Err(self.bounded.fault(Some(self.at + place as u64), what));
        }
        if length > self.longest {
            return Err(fault(format!("a line of more than {} bytes, expected {expected}", self.longest)));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = self.at + error.utf8_error().valid_up_to() as u64;
            self.bounded.fault(Some(at), format!("not UTF-8: expected {expected}"))
        })?;
        self.at += length;
        if self.at > self.bounded.most {
            return Err(self.bounded.too_long(format_args!("more than {}", self.bounded.most)));
        }
        Ok(Some(match text.strip_prefix('\u{feff}') {
            Some(rest) if self.line == 0 => rest.into(),
            _ => text,
        }))
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<(usize, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.read().transpose()?;
        self.line += 1;
        Some(line.map(|text| (self.line, text)))
    }
}

/// Formats a number of bytes for people: "4096 (4 KiB)".
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(bits, _)| bytes > 0 && bytes.is_multiple_of(1 << bits));
    unit.map_or_else(|| bytes.to_string(), |(bits, unit)| format!("{bytes} ({} {unit})", bytes >> bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a file of 20 GiB of zeros that takes no disk space.
    fn hole(file: &Path) {
        File::create(file).unwrap().set_len(20 << 30).unwrap();
    }

    fn told<T: fmt::Debug>(result: Result<T>, file: &Path) -> String {
        result.unwrap_err().to_string().replace(file.to_str().unwrap(), "FILE")
    }

    #[test]
    fn as_much_is_read_as_the_bound_allows_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let bounded = |most| Bounded { file: &file, most, what: "a list" };
        fs::write(&file, "12345").unwrap();
        assert_eq!(bounded(5).bytes().unwrap(), b"12345");
        let rest = "but a list may have 4 at most; name the file that was meant, or a shorter one";
        assert_eq!(told(bounded(4).bytes(), &file), format!("FILE: 5 bytes, {rest}"));
        assert_eq!(told(bounded(4).open(), &file), format!("FILE: 5 bytes, {rest}"));
        assert_eq!(bounded(4).bytes_of(&b"1234"[..]).unwrap(), b"1234");
        // A reader without an end.
        assert_eq!(
            told(bounded(4).bytes_of(io::repeat(7)), &file),
            format!("FILE: more than 4 bytes, {rest}")
        );
        hole(&file);
        let said = told(bounded(1 << 20).bytes(), &file);
        assert!(
            said.starts_with("FILE: 21474836480 bytes, but a list may have 1048576 (1 MiB) at most"),
            "{said}"
        );
        assert!(told(bounded(9).lines(), &file).starts_with("FILE: 21474836480 bytes"));
        fs::remove_file(&file).unwrap();
        assert!(told(bounded(9).bytes(), &file).starts_with("cannot read FILE: "));
        assert!(matches!(Bounded { file: folder.path(), ..bounded(9 << 20) }.bytes(), Err(Error::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_no_files() {
        let bounded = Bounded { file: Path::new("/dev/zero"), most: 9, what: "a list" };
        let said = bounded.bytes().unwrap_err().to_string();
        assert_eq!(said, "/dev/zero: a pipe or a device, expected a list in a file");
        assert_eq!(bounded.lines().unwrap_err().to_string(), said);
        // A stream may come from a device, as in other programs.
        let zero = File::open("/dev/zero").unwrap();
        assert!(
            bounded.bytes_of(zero).unwrap_err().to_string().starts_with("/dev/zero: more than 9 bytes, but")
        );
    }

    #[test]
    fn lines_come_with_their_numbers_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let lines = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            let mut lines = Bounded { file: &file, most: 99, what: "a list" }.lines().unwrap();
            (lines.longest, lines.many) = (6, 4);
            lines.collect::<Result<Vec<_>>>()
        };
        let line = |number: usize, text: &str| (number, text.to_string());
        let all = lines("\u{feff}a\r\n\n\u{feff}é\nlast".as_bytes()).unwrap();
        assert_eq!(all, [line(1, "a\r\n"), line(2, "\n"), line(3, "\u{feff}é\n"), line(4, "last")]);
        assert_eq!(lines(b"").unwrap(), []);
        assert_eq!(lines(b"12345\n123456").unwrap().len(), 2);
        for (bytes, message) in [
            (&b"1\n123456\n"[..], "FILE:2: a line of more than 6 bytes, expected a list"),
            (b"1\n2\n\n4\n5", "FILE:5: more than 4 lines, expected a list"),
            (b"1\n123456789", "FILE:2: a line of more than 6 bytes, expected a list"),
            (b"1\n\0\0\0\0\0\0\0\0\0", "FILE: a byte 0, which no text has: expected a list (at byte 2)"),
            (b"1\n1\xff\n", "FILE: not UTF-8: expected a list (at byte 3)"),
        ] {
            assert_eq!(told(lines(bytes), &file), message);
        }
    }

    #[test]
    fn sizes_are_told_in_units_that_fit() {
        assert_eq!(
            [0, 1000, 1024, 256 << 20, 3 << 30].map(size),
            ["0", "1000", "1024 (1 KiB)", "268435456 (256 MiB)", "3221225472 (3 GiB)"]
        );
    }
}
