//! Brings images of different sizes to one size.

use crate::image::Image;
use crate::resize::{Window, resize};

/// Resizes the shorter side and crops a square from the centre: torchvision's `Resize(resize)` and
/// `CenterCrop(size)`, bit for bit as on Pillow's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    resize: usize,
    size: usize,
}

/// Larger sizes are refused, in pixels of a side.
const LONGEST: usize = 1 << 16;

impl Fit {
    /// A shorter side of `resize` pixels and a square of `size` pixels. The error states why they are
    /// incompatible.
    pub fn new(resize: usize, size: usize) -> Result<Self, String> {
        if resize > LONGEST {
            return Err(format!("`resize` is {resize}, expected at most {LONGEST}"));
        }
        match resize >= size && size > 0 {
            true => Ok(Self { resize, size }),
            false => {
                Err(format!("`resize` is {resize}, but `size`, {size}, is cut out of that: at least {size}"))
            }
        }
    }

    /// Side of the square.
    pub fn size(self) -> usize {
        self.size
    }

    /// The central square of an image.
    pub fn apply(self, image: &Image) -> Image {
        let [_, h, w] = image.shape;
        let long = |side: usize, short: usize| self.resize * side / short;
        let [height, width] = if h <= w { [self.resize, long(w, h)] } else { [long(h, w), self.resize] };
        // As Python's `round`: halves are rounded to even.
        let middle = |side: usize| ((side - self.size) as f64 / 2.0).round_ties_even() as usize;
        let cut = Window { top: middle(height), left: middle(width), height: self.size, width: self.size };
        resize(image, Window { top: 0, left: 0, height: h, width: w }, [height, width], cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_shape_becomes_the_square() {
        let fit = Fit::new(8, 6).unwrap();
        for shape in [[3, 8, 8], [3, 5, 9], [3, 100, 3], [1, 1, 1], [3, 1, 4000]] {
            let image = Image::of_bytes(shape, vec![77; shape.iter().product()]);
            assert_eq!(fit.apply(&image), Image::of_bytes([shape[0], 6, 6], vec![77; shape[0] * 36]));
        }
        // 9 x 8: half a pixel above, which is rounded to 0; two columns less, one on each side.
        let image = Image::of_bytes([1, 9, 8], (0..72).collect());
        let cut = Fit::new(8, 8).unwrap().apply(&image);
        assert_eq!((cut.shape, cut.bytes()[0], cut.bytes()[63]), ([1, 8, 8], 0, 63));
        let cut = Fit::new(8, 6).unwrap().apply(&Image::of_bytes([1, 8, 8], (0..64).collect()));
        assert_eq!((cut.bytes()[0], cut.bytes()[35]), (9, 54));
    }

    #[test]
    fn a_square_larger_than_what_it_is_cut_from_is_refused() {
        assert_eq!(
            Fit::new(6, 8).unwrap_err(),
            "`resize` is 6, but `size`, 8, is cut out of that: at least 8"
        );
    }
}
