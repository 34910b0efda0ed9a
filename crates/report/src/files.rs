//! Files of a run, read within bounds: a folder may come from anywhere, and what lies in it be of any length.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use safetensors::tensor::Metadata;

use crate::results::Error;

/// Bytes of a text. Results that name every image of ImageNet as unreadable would have about as many.
const LONGEST: u64 = 256 << 20;
/// Bytes of the longest header of safetensors, by the format's own rule.
const HEADER: u64 = 100_000_000;

/// Opens a regular file, and says how long it is.
fn open(file: &Path) -> Result<(File, u64), Error> {
    let io = |source| Error::Io { file: file.into(), source };
    let about = fs::metadata(file).map_err(io)?;
    // Opening a pipe would wait for a writer; reading a folder is an error of its own.
    if !about.is_file() && !about.is_dir() {
        return Err(Error::Unfit { file: file.into(), what: "a pipe or a device, expected a file".into() });
    }
    Ok((File::open(file).map_err(io)?, about.len()))
}

/// The text of a file.
pub(crate) fn text(file: &Path) -> Result<String, Error> {
    text_within(file, LONGEST)
}

fn text_within(file: &Path, longest: u64) -> Result<String, Error> {
    let io = |source| Error::Io { file: file.into(), source };
    let (input, length) = open(file)?;
    let mut text = String::new();
    if length <= longest {
        input.take(longest + 1).read_to_string(&mut text).map_err(io)?;
    }
    match length.max(text.len() as u64) > longest {
        true => {
            let what =
                format!("more than the {longest} bytes that are read of a text; runs write shorter ones");
            Err(Error::Unfit { file: file.into(), what })
        }
        false => Ok(text),
    }
}

/// The bytes of a safetensors file, which are read once its header fits its length.
pub(crate) fn tensors(file: &Path) -> Result<Vec<u8>, Error> {
    let io = |source| Error::Io { file: file.into(), source };
    let unfit = |what: String| Error::Unfit { file: file.into(), what: format!("not safetensors: {what}") };
    let (mut input, length) = open(file)?;
    let mut bytes = vec![];
    input.by_ref().take(8).read_to_end(&mut bytes).map_err(io)?;
    let first = bytes.first_chunk().ok_or_else(|| unfit(format!("{} bytes in all", bytes.len())))?;
    let header = u64::from_le_bytes(*first);
    if header > HEADER || header > length.saturating_sub(8) {
        return Err(unfit(format!("a header of {header} bytes, the file has {length} in all")));
    }
    input.by_ref().take(header).read_to_end(&mut bytes).map_err(io)?;
    let metadata: Metadata = serde_json::from_slice(&bytes[8..]).map_err(|e| unfit(short(&e)))?;
    let promised = (8 + header).saturating_add(metadata.data_len() as u64);
    if promised != length {
        return Err(unfit(format!("its header promises {promised} bytes in all, the file has {length}")));
    }
    let rest = length - bytes.len() as u64;
    let room = bytes.try_reserve_exact(usize::try_from(rest).unwrap_or(usize::MAX));
    room.map_err(|_| io(io::ErrorKind::OutOfMemory.into()))?;
    input.take(rest).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// What serde says, which may repeat what stands in a file.
pub(crate) fn short(error: &serde_json::Error) -> String {
    error.to_string().chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_run_writes_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        fs::write(&file, "12345").unwrap();
        assert_eq!(text_within(&file, 5).unwrap(), "12345");
        let told = text_within(&file, 4).unwrap_err().to_string();
        assert!(
            told.ends_with("f: more than the 4 bytes that are read of a text; runs write shorter ones"),
            "{told}"
        );
        assert!(tensors(&file).unwrap_err().to_string().ends_with("f: not safetensors: 5 bytes in all"));
        // 20 GiB that take no disk: zeros alone, behind the claim of a long header, and behind a sound one.
        let header = br#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
        let sound = [&(header.len() as u64).to_le_bytes()[..], header].concat();
        for (start, told) in [
            (&[][..], "not safetensors: EOF while parsing"),
            (&u64::MAX.to_le_bytes(), "not safetensors: a header of 18446744073709551615 bytes"),
            (&sound, &format!("not safetensors: its header promises {} bytes in all", sound.len() + 2)),
        ] {
            fs::write(&file, start).unwrap();
            File::options().write(true).open(&file).unwrap().set_len(20 << 30).unwrap();
            let said = tensors(&file).unwrap_err().to_string();
            assert!(said.contains(told), "{said}");
            let said = text(&file).unwrap_err().to_string();
            assert!(said.contains("f: more than the 268435456 bytes that are read of a text"), "{said}");
        }
        #[cfg(unix)]
        for said in [text(Path::new("/dev/zero")).map(drop), tensors(Path::new("/dev/zero")).map(drop)] {
            assert_eq!(said.unwrap_err().to_string(), "/dev/zero: a pipe or a device, expected a file");
        }
    }
}
