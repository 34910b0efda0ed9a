//! Images: an array of bytes, or of floating point in [0, 1].

use std::collections::TryReserveError;

use temper_core::prelude::*;

use crate::array::{Array, Numbers, PIECE};

options! {
    /// In which order the axes of images stand.
    pub enum Layout {
        /// Image, row, column, channel: `TensorFlow`'s.
        Nhwc = "nhwc",
        /// Image, channel, row, column: `PyTorch`'s.
        Nchw = "nchw",
    }
}

/// Maximum distance of a number from a multiple of 1/255: rounding in single precision, and in a mean that was
/// subtracted and added again.
const TOLERANCE: f64 = 1e-6;

/// Images `[n, c, h, w]`.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) n: usize,
    /// Channels, height, width.
    pub(crate) shape: [usize; 3],
    /// The pixels of all images.
    pub(crate) pixels: Pixels,
}

impl Images {
    /// One image.
    pub(crate) fn image(&self, index: usize) -> Option<Image> {
        let size: usize = self.shape.iter().product();
        let from = index.checked_mul(size)?;
        Some(match &self.pixels {
            Pixels::Bytes(bytes) => Image::of_bytes(self.shape, bytes.get(from..from + size)?.to_vec()),
            Pixels::Floats(floats) => Image::of_floats(self.shape, floats.get(from..from + size)?.to_vec()),
        })
    }
}

/// Sizes of the axes n, c, h, w.
pub(crate) fn axes(array: &Array, layout: Option<Layout>) -> Result<[usize; 4], DataError> {
    Ok(arrangement(array, layout)?.map(|(size, _)| size))
}

/// Reads the images of an array.
pub(crate) fn read(mut array: Array, layout: Option<Layout>) -> Result<(Images, String), DataError> {
    let arrangement = arrangement(&array, layout)?;
    let mut values = Values::of(&array)?;
    array.read(|array, first, bytes| values.add(array, first, bytes))?;
    let place = array.place();
    let pixels = match values.pixels {
        Pixels::Bytes(bytes) => Pixels::Bytes(arranged(bytes, arrangement)),
        Pixels::Floats(floats) => Pixels::Floats(arranged(floats, arrangement)),
    };
    let [n, c, h, w] = arrangement.map(|(size, _)| size);
    Ok((Images { n, shape: [c, h, w], pixels }, place))
}

/// Size and stride in the file of the axes n, c, h, w.
fn arrangement(array: &Array, layout: Option<Layout>) -> Result<[(usize, usize); 4], DataError> {
    let shape = &array.shape;
    // Beside a 0, the other sizes can be arbitrarily large.
    if shape.contains(&0) {
        return Err(array.bad_shape(&format!("an array of shape {shape:?}, without any image")));
    }
    let mut strides = vec![1; shape.len()];
    for axis in 1..shape.len() {
        let (axis, inner) = match array.fortran {
            true => (axis, axis - 1),
            false => (shape.len() - 1 - axis, shape.len() - axis),
        };
        strides[axis] = strides[inner] * shape[inner];
    }
    let axis = |i: usize| (shape[i], strides[i]);
    let order = match shape[..] {
        [_, side] => {
            let what = format!(
                "images of {side} numbers each: give them their shape, as with images.reshape(-1, 28, 28)"
            );
            return Err(array.bad_shape(&what));
        }
        [_, _, _] => [axis(0), (1, 0), axis(1), axis(2)],
        [_, second, _, last] => match told(second, last, layout).map_err(|what| array.bad_shape(&what))? {
            Layout::Nhwc => [axis(0), axis(3), axis(1), axis(2)],
            Layout::Nchw => [axis(0), axis(1), axis(2), axis(3)],
        },
        _ => {
            let what =
                format!("an array of shape {shape:?}, expected [n, h, w], [n, h, w, c] or [n, c, h, w]");
            return Err(array.bad_shape(&what));
        }
    };
    Ok(order)
}

/// The given layout, or if there is none the layout that follows from the sizes of the second and the last axis.
fn told(second: usize, last: usize, given: Option<Layout>) -> Result<Layout, String> {
    let channels = |size: usize| matches!(size, 1 | 3);
    let layout = match (given, channels(second), channels(last)) {
        (Some(layout), ..) => layout,
        (None, true, false) => Layout::Nchw,
        (None, false, true) => Layout::Nhwc,
        (None, true, true) => {
            return Err(format!(
                "channels may be the second axis (of {second}) or the last one (of {last}): say `layout = \"nchw\"` or \
                 `layout = \"nhwc\"`"
            ));
        }
        (None, false, false) if second == 4 || last == 4 => {
            return Err("four channels, expected 1 or 3: leave the fourth one (transparency) out".into());
        }
        (None, false, false) => {
            return Err(format!(
                "no axis of 1 or 3 channels: the second axis has {second}, the last one {last}"
            ));
        }
    };
    let (axis, c) = if layout == Layout::Nhwc { ("last", last) } else { ("second", second) };
    match channels(c) {
        true => Ok(layout),
        false => Err(format!("{c} channels on the {axis} axis, which `layout` names; expected 1 or 3")),
    }
}

/// Values in the order n, c, h, w.
fn arranged<T: Copy>(values: Vec<T>, axes: [(usize, usize); 4]) -> Vec<T> {
    let [n, c, h, w] = axes;
    let plain = [c.0 * h.0 * w.0, h.0 * w.0, w.0, 1];
    if axes.iter().zip(plain).all(|((size, stride), plain)| *size == 1 || *stride == plain) {
        return values;
    }
    let mut arranged = Vec::with_capacity(values.len());
    for image in 0..n.0 {
        for channel in 0..c.0 {
            for row in 0..h.0 {
                let first = image * n.1 + channel * c.1 + row * h.1;
                arranged.extend((0..w.0).map(|column| values[first + column * w.1]));
            }
        }
    }
    arranged
}

/// Values in the order of the file: bytes as long as all are multiples of 1/255, then floats.
struct Values {
    pixels: Pixels,
}

impl Values {
    /// An empty collection; an error if the type is not supported.
    fn of(array: &Array) -> Result<Self, DataError> {
        match (array.numbers, array.size) {
            (Numbers::Unsigned, 1) | (Numbers::Float, 4 | 8) => Ok(Self { pixels: Pixels::Bytes(vec![]) }),
            _ => {
                let what = format!(
                    "images of type `{}`, expected bytes (|u1) or floating point from 0 to 1 (<f4, <f8): \
                     images.astype(numpy.uint8) makes bytes of whole numbers from 0 to 255",
                    array.descr
                );
                Err(array.bad_type(&what))
            }
        }
    }

    /// Adds values; `first` is the index of the first one in the file.
    fn add(&mut self, array: &Array, first: usize, values: &[u8]) -> Result<(), DataError> {
        let n = values.len() / array.size;
        let room = match &mut self.pixels {
            Pixels::Bytes(bytes) => bytes.try_reserve(n),
            Pixels::Floats(floats) => floats.try_reserve(n),
        };
        room.map_err(|_| out_of_memory(array))?;
        match array.size {
            1 => match &mut self.pixels {
                Pixels::Bytes(bytes) => bytes.extend(values),
                Pixels::Floats(floats) => floats.extend(values.iter().map(|byte| f32::from(*byte) / 255.0)),
            },
            4 => {
                for (i, value) in values.as_chunks().0.iter().enumerate() {
                    self.push(array, first + i, f32::from_le_bytes(*value).into())?;
                }
            }
            _ => {
                for (i, value) in values.as_chunks().0.iter().enumerate() {
                    self.push(array, first + i, f64::from_le_bytes(*value))?;
                }
            }
        }
        Ok(())
    }

    /// Adds a number that should be in [0, 1].
    fn push(&mut self, array: &Array, index: usize, value: f64) -> Result<(), DataError> {
        if value.is_nan() {
            return Err(array.bad_value(index, "stands NaN, expected a number from 0 to 1"));
        }
        if !(-TOLERANCE..=1.0 + TOLERANCE).contains(&value) {
            let what = format!(
                "stands {value}, expected 0 to 1: divide by 255 if the images go from 0 to 255, or undo their \
                 normalisation (images * std + mean)"
            );
            return Err(array.bad_value(index, &what));
        }
        let byte = (value * 255.0).round().clamp(0.0, 255.0);
        let level = (value - byte / 255.0).abs() <= TOLERANCE;
        match &mut self.pixels {
            Pixels::Bytes(bytes) if level => bytes.push(byte as u8),
            Pixels::Bytes(bytes) => {
                let mut floats = as_floats(bytes).map_err(|_| out_of_memory(array))?;
                floats.push(value as f32);
                self.pixels = Pixels::Floats(floats);
            }
            // Whether a value counts as a multiple does not depend on the other values of the array.
            Pixels::Floats(floats) => floats.push(if level { byte as f32 / 255.0 } else { value as f32 }),
        }
        Ok(())
    }
}

/// The same values as floats, with capacity for one more piece of the file.
fn as_floats(bytes: &[u8]) -> Result<Vec<f32>, TryReserveError> {
    let mut floats = vec![];
    floats.try_reserve(bytes.len() + PIECE)?;
    floats.extend(bytes.iter().map(|byte| f32::from(*byte) / 255.0));
    Ok(floats)
}

fn out_of_memory(array: &Array) -> DataError {
    DataError::Io { file: array.file.clone(), source: std::io::ErrorKind::OutOfMemory.into() }
}
