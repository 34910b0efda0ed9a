//! Numbers that are stored in a separate file beside the ONNX file.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use temper_files::Bounded;

use crate::error::{Found, Problem};

/// The folder of the ONNX file, if it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beside<'a>(pub(crate) Option<&'a Path>);

impl Beside<'_> {
    /// Reads the numbers of a tensor as `bytes` bytes of the file that `places` names.
    pub(crate) fn read(self, tensor: &str, places: &[(&str, &str)], bytes: usize) -> Found<Vec<u8>> {
        let bad = |why: String| Problem::External(tensor.into(), why);
        let of = |key: &str| places.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let whole = |key: &str, default: u64| match of(key) {
            Some(text) => text.parse::<u64>().map_err(|_| bad(format!("whose {key} is `{text}`"))),
            None => Ok(default),
        };
        let location = of("location").unwrap_or_default();
        let (offset, length) = (whole("offset", 0)?, whole("length", bytes as u64)?);
        let path = Path::new(location);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if location.is_empty() || !plain {
            return Err(bad(format!("`{location}`, which is not beside it")));
        }
        let Some(folder) = self.0 else {
            return Err(bad(format!("`{location}`, and it is not known where this one lies")));
        };
        if length != bytes as u64 {
            return Err(bad(format!(
                "`{location}`, which is said to have {length} bytes of it instead of {bytes}"
            )));
        }
        let file = folder.join(path);
        let opened = Bounded { file: &file, most: u64::MAX, what: "numbers of an ONNX file" }.open();
        let (input, size) = opened.map_err(|error| bad(format!("`{location}`: {error}")))?;
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(bad(format!("`{location}`, which has {size} bytes and should have more")));
        }
        let mut read = vec![];
        let mut fill = || {
            (&input).seek(SeekFrom::Start(offset))?;
            (&input).take(length).read_to_end(&mut read)
        };
        match fill() {
            Ok(got) if got == bytes => Ok(read),
            Ok(_) => Err(bad(format!("`{location}`, which became shorter"))),
            Err(error) => Err(bad(format!("`{location}`: {error}"))),
        }
    }
}
