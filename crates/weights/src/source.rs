//! A file that is read in parts: no memory is reserved for data that a file claims to contain but does not contain.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Fault, Found, Result};

/// Advice for a file that ends too early.
pub(crate) const AGAIN: &str = "the file is damaged or was not copied whole: download or copy it again";

/// An open file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    input: File,
    /// Length of the file in bytes.
    pub(crate) length: u64,
}

impl Source {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { file: path.into(), source };
        let about = fs::metadata(path).map_err(io)?;
        if about.is_dir() {
            return Err(io(io::ErrorKind::IsADirectory.into()));
        }
        // Opening a pipe would wait for a writer.
        if !about.is_file() {
            let fault = Box::new(Fault::new("a pipe or a device, expected a file of weights"));
            return Err(Error::Malformed { file: path.into(), fault });
        }
        Ok(Self { path: path.into(), input: File::open(path).map_err(io)?, length: about.len() })
    }

    /// Reads `bytes` bytes from offset `at`; an error if the file ends before.
    pub(crate) fn read(&self, at: u64, bytes: u64) -> Result<Vec<u8>> {
        if at.checked_add(bytes).is_none_or(|end| end > self.length) {
            let what = format!("{bytes} bytes are promised from byte {at} on, the file has {}", self.length);
            return Err(self.malformed(Fault::new(what).advising(AGAIN)));
        }
        self.fill(at, bytes).map_err(|source| Error::Io { file: self.path.clone(), source })
    }

    fn fill(&self, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let size = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut read = vec![];
        read.try_reserve_exact(size)?;
        let mut input = &self.input;
        input.seek(SeekFrom::Start(at))?;
        // A file may have become shorter since it was opened.
        match input.take(bytes).read_to_end(&mut read)? == size {
            true => Ok(read),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads the first `most` bytes of the file, or all bytes of a shorter file.
    pub(crate) fn start(&self, most: u64) -> Result<Vec<u8>> {
        self.read(0, most.min(self.length))
    }

    /// The error about a fault of this file.
    pub(crate) fn malformed(&self, fault: Fault) -> Error {
        Error::Malformed { file: self.path.clone(), fault: Box::new(fault) }
    }

    /// Adds this file to the error of a result.
    pub(crate) fn found<T>(&self, found: Found<T>) -> Result<T> {
        found.map_err(|fault| self.malformed(fault))
    }
}
