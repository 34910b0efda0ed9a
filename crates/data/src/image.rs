//! One image, with 8-bit or floating-point values.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

/// One image `[c, h, w]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Pixel values, by channel, then row.
    pub pixels: Pixels,
}

/// Pixel values.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// From 0 to 255, as in image files: multiples of 1/255.
    Bytes(Vec<u8>),
    /// In [0, 1]; not all of them are multiples of 1/255.
    Floats(Vec<f32>),
}

/// The byte nearest to a value in [0, 1]. Rounded in double precision, so that every caller gets the same byte.
pub fn nearest_byte(value: f32) -> u8 {
    (f64::from(value) * 255.0).round() as u8
}

impl Image {
    /// An image of bytes.
    pub fn of_bytes(shape: [usize; 3], bytes: Vec<u8>) -> Self {
        Self { shape, pixels: Pixels::Bytes(bytes) }
    }

    /// An image of values in [0, 1]. If all are multiples of 1/255 (as `f32`), it becomes an image of bytes, so
    /// that equal images compare equal however they were stored.
    pub fn of_floats(shape: [usize; 3], floats: Vec<f32>) -> Self {
        let level = |value: &f32| *value == f32::from(nearest_byte(*value)) / 255.0;
        let pixels = match floats.iter().all(level) {
            true => Pixels::Bytes(floats.iter().map(|value| nearest_byte(*value)).collect()),
            false => Pixels::Floats(floats),
        };
        Self { shape, pixels }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match &self.pixels {
            Pixels::Bytes(bytes) => bytes.len(),
            Pixels::Floats(floats) => floats.len(),
        }
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its values as bytes. Values between two levels are rounded to the nearest level.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.pixels {
            Pixels::Bytes(bytes) => bytes.into(),
            Pixels::Floats(floats) => floats.iter().map(|value| nearest_byte(*value)).collect(),
        }
    }

    /// Its values in [0, 1].
    pub fn floats(&self) -> Cow<'_, [f32]> {
        match &self.pixels {
            Pixels::Bytes(bytes) => bytes.iter().map(|byte| f32::from(*byte) / 255.0).collect(),
            Pixels::Floats(floats) => floats.into(),
        }
    }

    /// Writes its values in [0, 1].
    pub(crate) fn write(&self, to: &mut [f32]) {
        match &self.pixels {
            Pixels::Bytes(bytes) => {
                for (value, byte) in to.iter_mut().zip(bytes) {
                    *value = f32::from(*byte) / 255.0;
                }
            }
            Pixels::Floats(floats) => to.iter_mut().zip(floats).for_each(|(value, float)| *value = *float),
        }
    }

    /// Its pixels in other places: `places` contains the source place of each new value, `None` for 0.
    pub(crate) fn moved(&self, shape: [usize; 3], places: impl Iterator<Item = Option<usize>>) -> Self {
        let size = shape.iter().product();
        let pixels = match &self.pixels {
            Pixels::Bytes(bytes) => {
                let mut moved = Vec::with_capacity(size);
                moved.extend(places.map(|place| place.map_or(0, |at| bytes[at])));
                Pixels::Bytes(moved)
            }
            Pixels::Floats(floats) => {
                let mut moved = Vec::with_capacity(size);
                moved.extend(places.map(|place| place.map_or(0.0, |at| floats[at])));
                Pixels::Floats(moved)
            }
        };
        Self { shape, pixels }
    }
}

/// Hashes the bytes, or the bits of the floats.
impl Hash for Image {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.pixels {
            Pixels::Bytes(bytes) => (self.shape, bytes).hash(state),
            Pixels::Floats(floats) => {
                self.shape.hash(state);
                for value in floats {
                    value.to_bits().hash(state);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_floats_are_the_same_values() {
        let image = Image::of_bytes([1, 1, 3], vec![0, 51, 255]);
        assert_eq!(image.floats()[..], [0.0, 0.2, 1.0]);
        assert_eq!(Image::of_floats([1, 1, 3], vec![0.0, 0.2, 1.0]), image);
        let floats = Image::of_floats([1, 1, 3], vec![0.0, 0.201, 0.999]);
        assert_eq!((floats.bytes().into_owned(), floats.len()), (vec![0, 51, 255], 3));
        let mut values = [0.0; 3];
        floats.write(&mut values);
        assert_eq!(values, [0.0, 0.201, 0.999]);
        let moved = floats.moved([1, 1, 2], [Some(2), None].into_iter());
        assert_eq!(moved, Image { shape: [1, 1, 2], pixels: Pixels::Floats(vec![0.999, 0.0]) });
        // Single precision would round the half up.
        assert_eq!(nearest_byte(128.5 / 255.0), 128);
        assert!((0..=255).all(|byte| nearest_byte(f32::from(byte) / 255.0) == byte));
    }
}
