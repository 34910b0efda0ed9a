//! The header of a safetensors file, read and compared with the file's length before the rest is read. Data that a
//! file claims to contain but does not contain costs no memory.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;

use crate::error::{Error, Result};

/// Size in bytes of the file's first field, the length of the header.
const LENGTH: u64 = 8;
/// Maximum length of the header in bytes, as the format defines it.
const LONGEST: u64 = 100_000_000;

/// A safetensors file whose header has been read.
#[derive(Debug)]
pub struct Head {
    /// The content of the header.
    pub metadata: Metadata,
    file: PathBuf,
    input: File,
    /// The bytes read so far.
    bytes: Vec<u8>,
    /// Length of the file in bytes.
    length: u64,
}

impl Head {
    /// Reads the header of a file, whose length must match the header. The inner error states why the
    /// file is not safetensors.
    pub fn read(file: &Path) -> Result<Result<Self, String>> {
        let io = |source| Error::Io { file: file.into(), source };
        let about = fs::metadata(file).map_err(io)?;
        // Opening a pipe would wait for a writer; reading a folder is an error of its own.
        if !about.is_file() && !about.is_dir() {
            return Ok(Err("a pipe or a device, expected a file".into()));
        }
        let (mut input, length) = (File::open(file).map_err(io)?, about.len());
        let mut bytes = vec![];
        input.by_ref().take(LENGTH).read_to_end(&mut bytes).map_err(io)?;
        let Some(first) = bytes.first_chunk() else {
            return Ok(Err(format!("{} bytes in all", bytes.len())));
        };
        let header = u64::from_le_bytes(*first);
        if header > LONGEST || header > length.saturating_sub(LENGTH) {
            let what =
                format!("its first bytes promise a header of {header} bytes, the file has {length} in all");
            return Ok(Err(what));
        }
        input.by_ref().take(header).read_to_end(&mut bytes).map_err(io)?;
        let metadata: Metadata = match serde_json::from_slice(&bytes[LENGTH as usize..]) {
            Ok(metadata) => metadata,
            Err(error) => {
                return Ok(Err(format!("its header is damaged: {error}").chars().take(500).collect()));
            }
        };
        let promised = (LENGTH + header).saturating_add(metadata.data_len() as u64);
        Ok(match promised == length {
            true => Ok(Self { metadata, file: file.into(), input, bytes, length }),
            false => Err(format!("its header promises {promised} bytes in all, the file has {length}")),
        })
    }

    /// Reads the rest of the file and returns all its bytes.
    pub fn whole(mut self) -> Result<Vec<u8>> {
        let rest = self.length - self.bytes.len() as u64;
        let room = self.bytes.try_reserve_exact(usize::try_from(rest).unwrap_or(usize::MAX));
        let read = room.map_err(Into::into).and_then(|()| self.input.take(rest).read_to_end(&mut self.bytes));
        match read {
            Ok(_) => Ok(self.bytes),
            Err(source) => Err(Error::Io { file: self.file, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_only_claims_is_told_and_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.safetensors");
        // Extends the file to `length` with zeros that take no disk space.
        let said = |start: &[u8], length: u64| {
            fs::write(&file, start).unwrap();
            File::options().write(true).open(&file).unwrap().set_len(length).unwrap();
            Head::read(&file).unwrap().map(|_| ()).unwrap_err()
        };
        let begun = |header: &str| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        let good = begun(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#);
        let size = good.len() as u64 + 8;
        assert!(said(b"", 20 << 30).starts_with("its header is damaged: "));
        assert_eq!(said(b"", 7), "7 bytes in all");
        let claim = u64::MAX.to_le_bytes();
        let told =
            "its first bytes promise a header of 18446744073709551615 bytes, the file has 21474836480 in all";
        assert_eq!(said(&claim, 20 << 30), told);
        let told = "its first bytes promise a header of 90000000 bytes, the file has 60 in all";
        assert_eq!(said(&90_000_000u64.to_le_bytes(), 60), told);
        for length in [size - 1, size + 1, 20 << 30] {
            let told = format!("its header promises {size} bytes in all, the file has {length}");
            assert_eq!(said(&good, length), told);
        }
        let huge = begun(r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#);
        assert!(said(&huge, 1 << 20).starts_with("its header is damaged: "), "{}", said(&huge, 1 << 20));
        let huge = begun(r#"{"a":{"dtype":"U8","shape":[99999999999],"data_offsets":[0,99999999999]}}"#);
        assert!(
            said(&huge, 1 << 20).starts_with("its header promises 100000000"),
            "{}",
            said(&huge, 1 << 20)
        );

        fs::write(&file, [&good[..], &[7; 8]].concat()).unwrap();
        let head = Head::read(&file).unwrap().unwrap();
        assert_eq!(head.metadata.data_len(), 8);
        assert_eq!(head.whole().unwrap(), fs::read(&file).unwrap());
        assert!(matches!(Head::read(&folder.path().join("none")), Err(Error::Io { .. })));
        assert!(matches!(Head::read(folder.path()), Err(Error::Io { .. })));
        #[cfg(unix)]
        assert!(Head::read(Path::new("/dev/zero")).unwrap().is_err_and(|what| what.starts_with("a pipe or")));
    }
}
