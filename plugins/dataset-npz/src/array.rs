//! An array in numpy's `.npy` format, in a file of its own or in an archive.

use std::fmt;
use std::io::{self, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use temper_core::npy;
use temper_core::prelude::*;

use crate::archive::{Archive, LARGEST};

/// Number of bytes that are read at once: a multiple of the size of every type.
pub(crate) const PIECE: usize = 1 << 16;

/// The type of an array's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Whole numbers of at least 0.
    Unsigned,
    /// Whole numbers.
    Signed,
    /// Floating point.
    Float,
}

/// An array of which only the header was read.
pub(crate) struct Array {
    /// The file.
    pub(crate) file: PathBuf,
    /// Its name in an archive.
    pub(crate) key: Option<String>,
    /// The type as numpy writes it, for example `<f4`.
    pub(crate) descr: String,
    pub(crate) numbers: Numbers,
    /// Size of a value in bytes.
    pub(crate) size: usize,
    big: bool,
    /// Whether the first index is the innermost one.
    pub(crate) fortran: bool,
    pub(crate) shape: Vec<usize>,
    /// Offsets of the type, the sizes and the values.
    at: [u64; 3],
    reader: Box<dyn Read>,
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} of {}", self.descr, self.shape, self.place())
    }
}

/// The kind, the size and whether the most significant byte comes first; an error if the type is not supported.
fn kind(descr: &str) -> Result<(Numbers, usize, bool), String> {
    let mut letters = descr.chars();
    let (order, letter) = (letters.next(), letters.next());
    let size = letters.as_str().parse::<usize>().ok();
    let numbers = match letter {
        Some('u') => Numbers::Unsigned,
        Some('i') => Numbers::Signed,
        Some('f') => Numbers::Float,
        Some('O') => {
            return Err("an array of Python's objects, which only code in the file could make: nothing of it is run; save \
                        numbers, as with array.astype(numpy.uint8)"
                .into());
        }
        _ => {
            return Err(format!(
                "values of type `{descr}`, expected whole numbers (u, i) or floating point (f)"
            ));
        }
    };
    match (order, size) {
        (Some('<' | '|' | '>'), Some(1)) if numbers != Numbers::Float => Ok((numbers, 1, false)),
        (Some(order @ ('<' | '>')), Some(size @ (2 | 4 | 8))) => Ok((numbers, size, order == '>')),
        _ => Err(format!(
            "values of type `{descr}`, expected a size of 1, 2, 4 or 8 bytes and their order, < or >"
        )),
    }
}

impl Array {
    /// The array of a `.npy` file.
    pub(crate) fn open(file: &Path) -> Result<Self, DataError> {
        let most = LARGEST + npy::START;
        let (reader, length) = Bounded { file, most, what: "a `.npy` array" }.open()?;
        Self::begin(file, None, reader, length)
    }

    /// An array of an archive.
    pub(crate) fn within(archive: &Archive, key: &str) -> Result<Self, DataError> {
        let (reader, length) = archive.array(key)?;
        Self::begin(&archive.path, Some(key), reader, length)
    }

    /// Reads the header. The values must fill the rest of the `length` bytes exactly.
    fn begin(
        file: &Path,
        key: Option<&str>,
        mut reader: impl Read + 'static,
        length: u64,
    ) -> Result<Self, DataError> {
        let fault = |at, what: String| malformed(file, key, Some(at), &what);
        let mut start = vec![];
        let read = reader.by_ref().take(npy::START).read_to_end(&mut start);
        read.map_err(|source| failed(file, key, start.len() as u64, source))?;
        if key.is_none() && start.starts_with(b"PK") {
            return Err(fault(
                0,
                "an archive, expected one array (`.npy`): name a `.npz` archive by `path`".into(),
            ));
        }
        let header = npy::parse(&start).map_err(|(at, what)| fault(at, what))?;
        let (numbers, size, big) = kind(&header.descr.1).map_err(|what| fault(header.descr.0, what))?;
        let bytes = header.shape.1.iter().try_fold(size as u64, |bytes, size| bytes.checked_mul(*size));
        let (held, shape) = (length.saturating_sub(header.data), &header.shape.1);
        if bytes.is_none_or(|bytes| bytes > LARGEST) {
            let what =
                format!("an array of shape {shape:?} has more than the {} GiB that are read", LARGEST >> 30);
            return Err(fault(header.shape.0, what));
        }
        if bytes != Some(held) {
            let bytes = bytes.unwrap_or_default();
            let what = format!(
                "{held} bytes of values, expected {bytes}: the header says {} of shape {shape:?}",
                header.descr.1
            );
            return Err(fault(header.data + held.min(bytes), what));
        }
        let rest = start.split_off(header.data as usize);
        Ok(Self {
            file: file.into(),
            key: key.map(String::from),
            descr: header.descr.1,
            numbers,
            size,
            big,
            fortran: header.fortran.1,
            shape: header.shape.1.iter().map(|size| *size as usize).collect(),
            at: [header.descr.0, header.shape.0, header.data],
            reader: Box::new(Cursor::new(rest).chain(reader)),
        })
    }

    /// Number of values.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Passes all values to `take` as bytes, the most significant one last, in the order of the file: in pieces of
    /// whole values, each with the index of its first value.
    pub(crate) fn read(
        &mut self,
        mut take: impl FnMut(&Self, usize, &[u8]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut reader = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        let (mut piece, mut done, whole) = (vec![], 0, self.count() * self.size);
        while done < whole {
            piece.clear();
            let n = PIECE.min(whole - done);
            let read = reader.by_ref().take(n as u64).read_to_end(&mut piece);
            read.map_err(|source| failed(&self.file, self.key.as_deref(), self.at[2] + done as u64, source))?;
            if piece.len() < n {
                let what = format!("the file ends here, {} bytes early", whole - done - piece.len());
                return Err(self.fault_at_byte(self.at[2] + (done + piece.len()) as u64, &what));
            }
            if self.big {
                piece.chunks_exact_mut(self.size).for_each(<[u8]>::reverse);
            }
            take(self, done / self.size, &piece)?;
            done += n;
        }
        // The checksum of an archive's member is compared when its end is read.
        let end = reader.read(&mut [0]);
        match end
            .map_err(|source| failed(&self.file, self.key.as_deref(), self.at[2] + done as u64, source))?
        {
            0 => Ok(()),
            _ => Err(self.fault_at_byte(self.at[2] + done as u64, "more bytes than the header says")),
        }
    }

    /// Its name in messages and origins.
    pub(crate) fn place(&self) -> String {
        match &self.key {
            Some(key) => format!("{} ({key})", self.file.display()),
            None => self.file.display().to_string(),
        }
    }

    /// An error about its type.
    pub(crate) fn bad_type(&self, what: &str) -> DataError {
        self.fault_at_byte(self.at[0], what)
    }

    /// An error about its shape.
    pub(crate) fn bad_shape(&self, what: &str) -> DataError {
        self.fault_at_byte(self.at[1], what)
    }

    /// An error about a value, given by its index in the order of the file.
    pub(crate) fn bad_value(&self, index: usize, what: &str) -> DataError {
        let what = format!("at {:?} {what}", self.position(index));
        self.fault_at_byte(self.at[2] + (index * self.size) as u64, &what)
    }

    fn fault_at_byte(&self, at: u64, what: &str) -> DataError {
        malformed(&self.file, self.key.as_deref(), Some(at), what)
    }

    /// The indices along each axis of a value, given by its index in the order of the file.
    fn position(&self, mut index: usize) -> Vec<usize> {
        let mut position = vec![0; self.shape.len()];
        let axes: Vec<usize> = (0..self.shape.len()).collect();
        let inner_first: Vec<usize> = if self.fortran { axes } else { axes.into_iter().rev().collect() };
        for axis in inner_first {
            position[axis] = index % self.shape[axis];
            index /= self.shape[axis];
        }
        position
    }
}

/// An error at a byte of the unpacked array.
fn malformed(file: &Path, key: Option<&str>, at: Option<u64>, what: &str) -> DataError {
    let what = key.map_or_else(|| what.to_string(), |key| format!("array `{key}`: {what}"));
    DataError::Malformed { file: file.into(), at, what }
}

/// The error of a failed read: of the disk, or of unpacking.
fn failed(file: &Path, key: Option<&str>, at: u64, source: io::Error) -> DataError {
    match source.kind() {
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
            malformed(file, key, Some(at), &format!("damaged: {source}"))
        }
        _ => DataError::Io { file: file.into(), source },
    }
}
