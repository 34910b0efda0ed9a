//! JPEG compression: only its losses.
//!
//! The lossless part of the format, codes and file structure, is left out. This is libjpeg's colour
//! transform, halved chroma (Pillow's default), cosine transform, quantisation, and the inverse of all of
//! these, in integers that are rounded as in libjpeg's slow integer transform, which Pillow uses. It agrees
//! bit for bit with Pillow 13 for 1800 pairs of an image (1 x 1 to 224 x 224 pixels, grey and colour: smooth,
//! noisy, black and white) and a quality (15 values from 1 to 100).

use crate::planes::{Planes, Size};

/// Side of a block.
const SIDE: usize = 8;

/// Quantisation steps of luma at quality 50, row by row (ITU-T T.81, K.1).
const LUMA: [u16; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, //
    12, 12, 14, 19, 26, 58, 60, 55, //
    14, 13, 16, 24, 40, 57, 69, 56, //
    14, 17, 22, 29, 51, 87, 80, 62, //
    18, 22, 37, 56, 68, 109, 103, 77, //
    24, 35, 55, 64, 81, 104, 113, 92, //
    49, 64, 78, 87, 103, 121, 120, 101, //
    72, 92, 95, 98, 112, 100, 103, 99,
];
/// Quantisation steps of chroma at quality 50 within the first four rows and columns; all others are 99
/// (K.2).
const CHROMA: [[u16; 4]; 4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]];

/// Fractional bits of [`COSINES`].
const BITS: u32 = 13;
/// The cosine transform of eight numbers, times the root of 8, in multiples of 2^-13. The entries are not the
/// rounded cosines but sums of the twelve constants of Loeffler, Ligtenberg & Moschytz 1989, each rounded, as
/// in libjpeg.
const COSINES: [i64; 64] = [
    8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192, //
    11_363, 9633, 6437, 2260, -2260, -6437, -9633, -11_363, //
    10_703, 4433, -4433, -10_703, -10_703, -4433, 4433, 10_703, //
    9633, -2259, -11_362, -6436, 6436, 11_362, 2259, -9633, //
    8192, -8192, -8192, 8192, 8192, -8192, -8192, 8192, //
    6437, -11_362, 2261, 9633, -9633, -2261, 11_362, -6437, //
    4433, -10_704, 10_704, -4433, -4433, 10_704, -10_704, 4433, //
    2260, -6436, 9633, -11_363, 11_363, -9633, 6436, -2260,
];

/// JPEG compression with a quality of 1 to 100.
pub(crate) fn jpeg(planes: &mut Planes, quality: u16) {
    let size = planes.size;
    let chroma: [u16; 64] = std::array::from_fn(|at| match (at / SIDE, at % SIDE) {
        (y, x) if y < 4 && x < 4 => CHROMA[y][x],
        _ => 99,
    });
    let (luma, chroma) = (steps(&LUMA, quality), steps(&chroma, quality));
    let levels: Vec<f32> = planes.values.iter().map(|value| (value * 255.0).round()).collect();
    let parts: Vec<&[f32]> = levels.chunks_exact(planes.area()).collect();
    let lossy = match parts[..] {
        [red, green, blue] => {
            let [y, cb, cr] = split(red, green, blue);
            let [cb, cr] = [cb, cr].map(|part| {
                let (small, half) = halve(&part, size);
                double(&quantise(&small, half, &chroma), half[1], size)
            });
            join(&quantise(&y, size, &luma), &cb, &cr)
        }
        _ => quantise(&levels, size, &luma),
    };
    planes.values = lossy.iter().map(|level| level / 255.0).collect();
}

/// Quantisation steps at a quality, scaled as in libjpeg.
fn steps(table: &[u16; 64], quality: u16) -> [i64; 64] {
    let quality = quality.clamp(1, 100);
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    table.map(|step| ((i64::from(step) * i64::from(percent) + 50) / 100).clamp(1, 255))
}

/// Luma and both chroma planes, in levels. Weights are multiples of 2^-16, and halves of chroma are rounded
/// down, as in libjpeg.
fn split(red: &[f32], green: &[f32], blue: &[f32]) -> [Vec<f32>; 3] {
    let part = |[r, g, b]: [i32; 3], more: i32| {
        let sum = |((red, green), blue): ((&f32, &f32), &f32)| {
            (r * *red as i32 + g * *green as i32 + b * *blue as i32 + more) >> 16
        };
        red.iter().zip(green).zip(blue).map(|pixel| sum(pixel) as f32).collect()
    };
    let (half, middle) = (1 << 15, 128 << 16);
    [
        part([19_595, 38_470, 7_471], half),
        part([-11_059, -21_709, 32_768], middle + half - 1),
        part([32_768, -27_439, -5_329], middle + half - 1),
    ]
}

/// Interleaved RGB.
fn join(luma: &[f32], cb: &[f32], cr: &[f32]) -> Vec<f32> {
    let part = |[b, r]: [i32; 2]| {
        let sum = move |((y, cb), cr): ((&f32, &f32), &f32)| {
            *y as i32 + ((b * (*cb as i32 - 128) + r * (*cr as i32 - 128) + (1 << 15)) >> 16)
        };
        luma.iter().zip(cb).zip(cr).map(move |pixel| sum(pixel).clamp(0, 255) as f32)
    };
    part([0, 91_881]).chain(part([-22_554, -46_802])).chain(part([116_130, 0])).collect()
}

/// Means of 2 x 2 pixels, whose halves are rounded down and up alternately. Rows are padded to complete
/// blocks with the last pixel.
fn halve(plane: &[f32], [h, w]: Size) -> (Vec<f32>, Size) {
    let (height, width) = (h.div_ceil(2), w.div_ceil(2).next_multiple_of(SIDE));
    let mut out = Vec::with_capacity(height * width);
    for y in 0..height {
        let row = |y: usize| &plane[y.min(h - 1) * w..][..w];
        let (top, bottom) = (row(2 * y), row(2 * y + 1));
        for x in 0..width {
            let (left, right) = ((2 * x).min(w - 1), (2 * x + 1).min(w - 1));
            let sum = top[left] + top[right] + bottom[left] + bottom[right];
            out.push(((sum + (1 + x % 2) as f32) / 4.0).floor());
        }
    }
    (out, [height, width])
}

/// Doubles both sides, with rows of `stride` pixels: a pixel is three parts of the nearest and one part of
/// the next one in each direction. Images of up to four pixels per row use only the nearest ones.
fn double(plane: &[f32], stride: usize, [h, w]: Size) -> Vec<f32> {
    if w <= 4 {
        return (0..h * w).map(|at| plane[at / w / 2 * stride + at % w / 2]).collect();
    }
    let (height, width) = (h.div_ceil(2), w.div_ceil(2));
    // The neighbour on the side of the larger pixel, or the pixel itself at the border.
    let next = |at: usize, len: usize| match at % 2 {
        0 => (at / 2).saturating_sub(1),
        _ => (at / 2 + 1).min(len - 1),
    };
    let mut out = Vec::with_capacity(h * w);
    for y in 0..h {
        let (near, far) = (y / 2 * stride, next(y, height) * stride);
        for x in 0..w {
            let column = |x: usize| 3.0 * plane[near + x] + plane[far + x];
            let bias = if x % 2 == 0 { 8.0 } else { 7.0 };
            out.push(((3.0 * column(x / 2) + column(next(x, width)) + bias) / 16.0).floor());
        }
    }
    out
}

/// A plane of levels after compression: blocks are transformed, quantised, and transformed back.
fn quantise(plane: &[f32], [h, w]: Size, steps: &[i64; 64]) -> Vec<f32> {
    let mut out = vec![0.0; h * w];
    for top in (0..h).step_by(SIDE) {
        for left in (0..w).step_by(SIDE) {
            // Beyond its border an image repeats its border.
            let pixel = |at: usize| plane[(top + at / SIDE).min(h - 1) * w + (left + at % SIDE).min(w - 1)];
            let block: [i64; 64] = std::array::from_fn(|at| pixel(at) as i64 - 128);
            // Rows, columns; then columns, rows. In between numbers are scaled by four, and coefficients by
            // eight.
            let mut coefficients = along_columns(&along_rows(&block, &COSINES, BITS - 2), &COSINES, BITS + 2);
            for (coefficient, step) in coefficients.iter_mut().zip(steps) {
                // Rounded to the nearest step, halves away from zero.
                let times = (coefficient.abs() + 4 * step) / (8 * step);
                *coefficient = coefficient.signum() * times * step;
            }
            let back = turned(&COSINES);
            let block = along_rows(&along_columns(&coefficients, &back, BITS - 2), &back, BITS + 5);
            for y in 0..SIDE.min(h - top) {
                for x in 0..SIDE.min(w - left) {
                    out[(top + y) * w + left + x] = (block[y * SIDE + x] + 128).clamp(0, 255) as f32;
                }
            }
        }
    }
    out
}

/// Transforms each column: products with a matrix, rounded to remove the last `bits` bits.
fn along_columns(block: &[i64; 64], matrix: &[i64; 64], bits: u32) -> [i64; 64] {
    std::array::from_fn(|at| {
        let (k, x) = (at / SIDE, at % SIDE);
        let sum: i64 = (0..SIDE).map(|n| matrix[k * SIDE + n] * block[n * SIDE + x]).sum();
        (sum + (1 << (bits - 1))) >> bits
    })
}

/// The same of each row.
fn along_rows(block: &[i64; 64], matrix: &[i64; 64], bits: u32) -> [i64; 64] {
    turned(&along_columns(&turned(block), matrix, bits))
}

fn turned(block: &[i64; 64]) -> [i64; 64] {
    std::array::from_fn(|at| block[at % SIDE * SIDE + at / SIDE])
}
