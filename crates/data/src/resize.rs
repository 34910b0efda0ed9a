//! Antialiased bilinear resizing, bit for bit as in Pillow (`Image.resize`), and therefore as in torchvision
//! on Pillow's images: first along rows, then along columns, with bytes in between. Since version 13 Pillow
//! resizes columns first where the height shrinks much more than the width, which differs by one level in
//! some crops.

use std::ops::Range;

use crate::image::{Image, Pixels};

/// Fractional bits of the weights.
const BITS: u32 = 22;

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// The inputs of one output pixel along one axis: the first input pixel, and the weights of it and the
/// following ones.
type Taps = (usize, Vec<i32>);

/// The part `from` of an image, resized to `[height, width]`. Only the part `cut` of the result is computed.
/// Floats are resized with the same weights, and not rounded to levels.
pub(crate) fn resize(image: &Image, from: Window, to: [usize; 2], cut: Window) -> Image {
    let shape = [image.shape[0], cut.height, cut.width];
    let pixels = match &image.pixels {
        Pixels::Bytes(bytes) => Pixels::Bytes(resized(bytes, image.shape, from, to, cut)),
        Pixels::Floats(floats) => Pixels::Floats(resized(floats, image.shape, from, to, cut)),
    };
    Image { shape, pixels }
}

fn resized<T: Value>(
    values: &[T],
    [c, h, w]: [usize; 3],
    from: Window,
    [height, width]: [usize; 2],
    cut: Window,
) -> Vec<T> {
    let rows = axis(from.height, height, cut.top..cut.top + cut.height);
    let columns = axis(from.width, width, cut.left..cut.left + cut.width);
    let first = rows.first().map_or(0, |(first, _)| *first);
    let last = rows.iter().map(|(first, weights)| first + weights.len()).max().unwrap_or(first);
    let mut result = Vec::with_capacity(c * cut.height * cut.width);
    let (mut narrow, mut sums) = (vec![], vec![T::START; cut.width]);
    for plane in values.chunks_exact(h * w) {
        narrow.clear();
        for y in first..last {
            let row = &plane[(from.top + y) * w + from.left..][..from.width];
            narrow.extend(columns.iter().map(|(first, weights)| {
                let pixels = row[*first..].iter().zip(weights);
                T::of(pixels.fold(T::START, |sum, (pixel, weight)| pixel.added(*weight, sum)))
            }));
        }
        for (top, weights) in &rows {
            sums.fill(T::START);
            for (y, weight) in weights.iter().enumerate() {
                let row = &narrow[(top + y - first) * cut.width..][..cut.width];
                for (sum, pixel) in sums.iter_mut().zip(row) {
                    *sum = pixel.added(*weight, *sum);
                }
            }
            result.extend(sums.iter().map(|sum| T::of(*sum)));
        }
    }
    result
}

/// A pixel value, and sums of such values times weights.
trait Value: Copy {
    type Sum: Copy;
    /// The initial value of a sum.
    const START: Self::Sum;
    /// `sum` and this value times a weight.
    fn added(self, weight: i32, sum: Self::Sum) -> Self::Sum;
    /// The value of a sum whose weights are scaled by 2^[`BITS`].
    fn of(sum: Self::Sum) -> Self;
}

impl Value for u8 {
    type Sum = i32;
    /// One half, for rounding.
    const START: i32 = 1 << (BITS - 1);
    fn added(self, weight: i32, sum: i32) -> i32 {
        sum + i32::from(self) * weight
    }
    fn of(sum: i32) -> Self {
        (sum >> BITS).clamp(0, 255) as u8
    }
}

impl Value for f32 {
    type Sum = f64;
    const START: f64 = 0.0;
    fn added(self, weight: i32, sum: f64) -> f64 {
        sum + f64::from(self) * f64::from(weight)
    }
    /// Weights are rounded, so their sum may exceed one.
    fn of(sum: f64) -> Self {
        (sum / f64::from(1 << BITS)).clamp(0.0, 1.0) as f32
    }
}

/// The weights of the output pixels `cut`, along an axis of `len` pixels resized to `out`: a triangle filter,
/// widened where the axis shrinks so that every input pixel counts.
fn axis(len: usize, out: usize, cut: Range<usize>) -> Vec<Taps> {
    let scale = len as f64 / out as f64;
    let support = scale.max(1.0);
    cut.map(|at| {
        let center = (at as f64 + 0.5) * scale;
        // Casting a negative number to `usize` gives 0.
        let first = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(len);
        let weight = |x: usize| (1.0 - ((x as f64 - center + 0.5) * support.recip()).abs()).max(0.0);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let whole = |weight: &f64| (weight / sum * f64::from(1 << BITS) + 0.5) as i32;
        (first, weights.iter().map(whole).collect())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_a_triangle_and_sum_to_one() {
        // From four pixels to two: centre 1 and support 2 give 1, 3, 3, 1 of eight, without the parts
        // outside.
        let eighth = |n: f64, of: f64| (n / of * f64::from(1 << BITS) + 0.5) as i32;
        assert_eq!(
            axis(4, 2, 0..2),
            [
                (0, [3.0, 3.0, 1.0].map(|n| eighth(n, 7.0)).to_vec()),
                (1, [1.0, 3.0, 3.0].map(|n| eighth(n, 7.0)).to_vec())
            ]
        );
        for (len, out) in [(500, 341), (7, 40), (1, 3), (9, 1), (224, 224)] {
            for (first, weights) in axis(len, out, 0..out) {
                assert!(first + weights.len() <= len);
                let sum: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
                assert!((sum - (1 << BITS)).abs() <= weights.len() as i64, "{len} to {out}: {sum}");
            }
        }
    }

    #[test]
    fn the_same_size_is_the_same_image_and_a_cut_is_a_part() {
        let image = Image::of_bytes([2, 5, 7], (0..70).map(|v| v * 3).collect());
        let all = Window { top: 0, left: 0, height: 5, width: 7 };
        assert_eq!(resize(&image, all, [5, 7], all), image);
        let whole = resize(&image, all, [9, 4], Window { top: 0, left: 0, height: 9, width: 4 });
        let cut = resize(&image, all, [9, 4], Window { top: 3, left: 1, height: 2, width: 3 });
        for (c, y, x) in [(0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 1, 2)] {
            let wanted = whole.bytes()[(c * 9 + y + 3) * 4 + x + 1];
            assert_eq!(cut.bytes()[(c * 2 + y) * 3 + x], wanted, "{c} {y} {x}");
        }
        // Floats are the same up to the rounding of bytes, once along each axis.
        let floats = Image { pixels: Pixels::Floats(image.floats().into_owned()), ..image };
        let fine = resize(&floats, all, [9, 4], Window { top: 0, left: 0, height: 9, width: 4 });
        let near = |(x, y): (&f32, &f32)| (x - y).abs() <= 1.1 / 255.0;
        assert!(fine.floats().iter().zip(&*whole.floats()).all(near) && fine.floats() != whole.floats());
        assert!(matches!(fine.pixels, Pixels::Floats(_)));
    }
}
