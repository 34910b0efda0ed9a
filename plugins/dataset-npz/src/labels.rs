//! Labels: an array of whole numbers.

use temper_core::prelude::*;

use crate::array::{Array, Numbers};

/// Maximum number of classes; larger numbers are not labels.
pub(crate) const CLASSES: u64 = 1 << 20;

/// The labels of `images` images: `[n]` or `[n, 1]`, of any type of whole numbers, from 0 on.
pub(crate) fn read(mut array: Array, images: usize) -> Result<(Vec<u32>, String), DataError> {
    let n = match array.shape[..] {
        [n] | [n, 1] => n,
        [_, k] => {
            let what = format!(
                "labels of shape {:?}, expected [n] or [n, 1]; one-hot labels of {k} classes become numbers by \
                 numpy.argmax(labels, axis=1)",
                array.shape
            );
            return Err(array.bad_shape(&what));
        }
        _ => {
            return Err(
                array.bad_shape(&format!("labels of shape {:?}, expected [n] or [n, 1]", array.shape))
            );
        }
    };
    if array.numbers == Numbers::Float {
        let what =
            format!("labels of type `{}`, expected whole numbers: labels.astype(numpy.int64)", array.descr);
        return Err(array.bad_type(&what));
    }
    if n != images {
        return Err(array.bad_shape(&format!("{n} labels for {images} images")));
    }
    let mut labels = vec![];
    array.read(|array, first, bytes| {
        for (i, value) in bytes.chunks_exact(array.size).enumerate() {
            labels.push(label(array, value).map_err(|what| array.bad_value(first + i, &what))?);
        }
        Ok(())
    })?;
    Ok((labels, array.place()))
}

/// A label from its bytes, the most significant one last.
fn label(array: &Array, value: &[u8]) -> Result<u32, String> {
    let negative = array.numbers == Numbers::Signed && value.last().is_some_and(|last| last >> 7 == 1);
    let filling = if negative { 0xff } else { 0 };
    let mut long = [filling; 8];
    long[..value.len()].copy_from_slice(value);
    match u64::from_le_bytes(long) {
        label if !negative && label < CLASSES => Ok(label as u32),
        _ if negative => Err(format!("a label of {}, expected 0 or more", i64::from_le_bytes(long))),
        label => Err(format!("a label of {label}, expected less than {CLASSES}")),
    }
}
