//! Texts of a run, read within bounds: a folder may come from anywhere, and what lies in it be of any length.

use std::path::Path;

use serde::Serialize;
use temper_files::{Bounded, Head};

use crate::error::Error;

/// Bytes of a text. Results that name every image of ImageNet as unreadable would have about as many.
const LONGEST: u64 = 256 << 20;

/// The text of a file that a run wrote.
pub fn text(file: &Path) -> Result<String, Error> {
    let bytes = Bounded { file, most: LONGEST, what: "a text that runs write" }.bytes()?;
    String::from_utf8(bytes).map_err(|error| Error::Unfit {
        file: file.into(),
        what: format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()),
    })
}

/// The bytes of a safetensors file, which are read once its header fits its length.
pub(crate) fn tensors(file: &Path) -> Result<Vec<u8>, Error> {
    let unfit = |what: String| Error::Unfit { file: file.into(), what: format!("not safetensors: {what}") };
    Ok(Head::read(file)?.map_err(unfit)?.whole()?)
}

/// A value as a line of JSON.
pub(crate) fn json(file: &Path, value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let text = serde_json::to_vec(value);
    let mut text = text.map_err(|fault| Error::Malformed { file: file.into(), fault })?;
    text.push(b'\n');
    Ok(text)
}
