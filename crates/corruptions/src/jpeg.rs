//! What JPEG loses.
//!
//! The lossless part of the format, the codes and the file around them, is left out: this is libjpeg's colour transform, halved
//! chroma (as Pillow does by default), cosine transform, quantisation, and all of it back. Cosine transforms are exact here and of 13
//! binary places in libjpeg; a coefficient that lies between two steps may fall the other way, which moves few pixels by few levels.

use std::f32::consts::PI;

use crate::planes::{Planes, Size};

/// Side of a block.
const SIDE: usize = 8;

/// Steps of luma at quality 50, of coefficients in rows (ITU-T T.81, K.1).
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
/// Steps of chroma at quality 50 within the first four rows and columns; elsewhere they are 99 (K.2).
const CHROMA: [[u16; 4]; 4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]];

/// JPEG at a quality of 1 to 100.
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
                double(&quantise(&small, half, &chroma), half, size)
            });
            join(&quantise(&y, size, &luma), &cb, &cr)
        }
        _ => quantise(&levels, size, &luma),
    };
    planes.values = lossy.iter().map(|level| level / 255.0).collect();
}

/// Steps at a quality, as libjpeg scales them.
fn steps(table: &[u16; 64], quality: u16) -> [f32; 64] {
    let quality = quality.clamp(1, 100);
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    table.map(|step| f32::from(((u32::from(step) * u32::from(percent) + 50) / 100).clamp(1, 255) as u8))
}

fn level(value: f32) -> f32 {
    value.round().clamp(0.0, 255.0)
}

/// Luma and both chromas, in levels.
fn split(red: &[f32], green: &[f32], blue: &[f32]) -> [Vec<f32>; 3] {
    let pixels = || red.iter().zip(green).zip(blue);
    [
        pixels().map(|((r, g), b)| level(0.299 * r + 0.587 * g + 0.114 * b)).collect(),
        pixels().map(|((r, g), b)| level(-0.168_735_9 * r - 0.331_264_1 * g + 0.5 * b + 128.0)).collect(),
        pixels().map(|((r, g), b)| level(0.5 * r - 0.418_687_6 * g - 0.081_312_4 * b + 128.0)).collect(),
    ]
}

/// Red, green and blue one after the other.
fn join(y: &[f32], cb: &[f32], cr: &[f32]) -> Vec<f32> {
    let pixels = || y.iter().zip(cb).zip(cr).map(|((y, cb), cr)| (y, cb - 128.0, cr - 128.0));
    let red = pixels().map(|(y, _, cr)| level(y + 1.402 * cr));
    let green = pixels().map(|(y, cb, cr)| level(y - 0.344_136_3 * cb - 0.714_136_3 * cr));
    let blue = pixels().map(|(y, cb, _)| level(y + 1.772 * cb));
    red.chain(green).chain(blue).collect()
}

/// Means of 2 x 2 pixels, of which half levels are rounded down and up in turns.
fn halve(plane: &[f32], [h, w]: Size) -> (Vec<f32>, Size) {
    let (height, width) = (h.div_ceil(2), w.div_ceil(2));
    let mut out = Vec::with_capacity(height * width);
    for y in 0..height {
        for x in 0..width {
            let row = |y: usize| y.min(h - 1) * w;
            let (left, right) = (2 * x, (2 * x + 1).min(w - 1));
            let (top, bottom) = (row(2 * y), row(2 * y + 1));
            let sum = plane[top + left] + plane[top + right] + plane[bottom + left] + plane[bottom + right];
            out.push(((sum + (1 + x % 2) as f32) / 4.0).floor());
        }
    }
    (out, [height, width])
}

/// Twice the size: a pixel is made of its nearest one and its next ones, three to one each way; images of up to two pixels are
/// repeated instead.
fn double(plane: &[f32], [height, width]: Size, [h, w]: Size) -> Vec<f32> {
    if width <= 2 {
        return (0..h * w).map(|at| plane[at / w / 2 * width + at % w / 2]).collect();
    }
    // The neighbour on the side where the larger pixel lies, or the pixel itself at the border.
    let next = |at: usize, len: usize| match at % 2 {
        0 => (at / 2).saturating_sub(1),
        _ => (at / 2 + 1).min(len - 1),
    };
    let mut out = Vec::with_capacity(h * w);
    for y in 0..h {
        let (near, far) = (y / 2 * width, next(y, height) * width);
        for x in 0..w {
            let column = |x: usize| 3.0 * plane[near + x] + plane[far + x];
            let bias = if x % 2 == 0 { 8.0 } else { 7.0 };
            out.push(((3.0 * column(x / 2) + column(next(x, width)) + bias) / 16.0).floor());
        }
    }
    out
}

/// What is left of a plane of levels: blocks transformed, quantised, and transformed back.
fn quantise(plane: &[f32], [h, w]: Size, steps: &[f32; 64]) -> Vec<f32> {
    let cosines = cosines();
    let mut out = vec![0.0; h * w];
    for top in (0..h).step_by(SIDE) {
        for left in (0..w).step_by(SIDE) {
            // Beyond its border an image is its border.
            let pixel = |at: usize| plane[(top + at / SIDE).min(h - 1) * w + (left + at % SIDE).min(w - 1)];
            let block: [f32; 64] = std::array::from_fn(|at| pixel(at) - 128.0);
            let mut coefficients = product(&product(&cosines, &block), &turned(&cosines));
            for (coefficient, step) in coefficients.iter_mut().zip(steps) {
                // libjpeg's coefficients are whole numbers, eight times as large.
                *coefficient = ((*coefficient * 8.0).round() / (step * 8.0)).round() * step;
            }
            let block = product(&product(&turned(&cosines), &coefficients), &cosines);
            for y in 0..SIDE.min(h - top) {
                for x in 0..SIDE.min(w - left) {
                    out[(top + y) * w + left + x] = level(block[y * SIDE + x] + 128.0);
                }
            }
        }
    }
    out
}

/// The orthonormal cosine transform of eight numbers, `[8, 8]`.
fn cosines() -> [f32; 64] {
    std::array::from_fn(|at| {
        let (k, n) = ((at / SIDE) as f32, (at % SIDE) as f32);
        let norm = if at < SIDE { 0.125_f32 } else { 0.25 }.sqrt();
        norm * ((2.0 * n + 1.0) * k * PI / 16.0).cos()
    })
}

fn turned(block: &[f32; 64]) -> [f32; 64] {
    std::array::from_fn(|at| block[at % SIDE * SIDE + at / SIDE])
}

fn product(a: &[f32; 64], b: &[f32; 64]) -> [f32; 64] {
    let mut out = [0.0; 64];
    for (row, sums) in a.chunks_exact(SIDE).zip(out.chunks_exact_mut(SIDE)) {
        for (weight, values) in row.iter().zip(b.chunks_exact(SIDE)) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    out
}
