//! Corruptions that move pixels.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::filters::{Border, gaussian};
use crate::planes::{Planes, Size};

/// Fractional bits of the weights of [`pixelate`].
const BITS: u32 = 22;

/// The centre of a plane, enlarged bilinearly by `factor` (at least 1) to the plane's size, as in
/// `scipy.ndimage.zoom` of order 1, whose corners are the corners of the input. Height and width are cropped
/// separately; the published code only handles squares.
pub(crate) fn clipped_zoom(plane: &[f32], [h, w]: Size, factor: f64) -> Vec<f32> {
    let (rows, columns) = (enlarged(h, factor), enlarged(w, factor));
    let mut out = Vec::with_capacity(h * w);
    for (top, bottom, down) in rows {
        let (top, bottom) = (&plane[top * w..][..w], &plane[bottom * w..][..w]);
        out.extend(columns.iter().map(|(left, right, along)| {
            let mix = |row: &[f32]| row[*left] + along * (row[*right] - row[*left]);
            let above = mix(top);
            above + down * (mix(bottom) - above)
        }));
    }
    out
}

/// For each position of an axis its two source positions, and the weight of the second.
fn enlarged(len: usize, factor: f64) -> Vec<(usize, usize, f32)> {
    let crop = ((len as f64 / factor).ceil() as usize).clamp(1, len);
    let first = (len - crop) / 2;
    let out = (crop as f64 * factor).round_ties_even() as usize;
    let trim = out.saturating_sub(len) / 2;
    let scale = if out > 1 { (crop - 1) as f64 / (out - 1) as f64 } else { 1.0 };
    let place = |at: usize| {
        let from = (at + trim) as f64 * scale;
        let low = (from as usize).min(crop - 1);
        (first + low, first + (low + 1).min(crop - 1), (from - low as f64) as f32)
    };
    (0..len).map(place).collect()
}

/// Elastic transform: a random affine map, which moves three anchors around the centre by up to `affine`
/// pixels in each direction, then random displacements: uniform in [-1, 1], smoothed by a Gaussian of
/// standard deviation `sigma` pixels, times `alpha` pixels.
///
/// Coordinates are exact here; those of `OpenCV` are multiples of 1/32 of a pixel. Images with a side of less
/// than three pixels have no three anchors, and no affine map is applied.
pub(crate) fn elastic(planes: &mut Planes, alpha: f32, sigma: f32, affine: f64, rng: &mut ChaCha8Rng) {
    let [h, w] = planes.size;
    let far = (h.min(w) / 3) as f64;
    // The published code uses the height for x here; its images are square.
    let (x, y) = ((w / 2) as f64, (h / 2) as f64);
    let anchors = [[x + far, y + far], [x + far, y - far], [x - far, y - far]];
    let moved = anchors.map(|anchor| anchor.map(|at| at + affine * rng.random_range(-1.0..1.0)));
    if let Some([from_x, from_y]) = affine_map(moved, anchors) {
        planes.replace(|plane, size| {
            let at = |[a, b, c]: [f64; 3], y, x| (a * f64::from(x) + b * f64::from(y) + c) as f32;
            moving(plane, size, Border::Mirror, |y, x| (at(from_y, y, x), at(from_x, y, x)))
        });
    }
    let mut displacement = || {
        let uniform: Vec<f32> = (0..h * w).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut field = gaussian(&uniform, [h, w], sigma, 3.0, Border::Reflect);
        for value in &mut field {
            *value *= alpha;
        }
        field
    };
    let (dx, dy) = (displacement(), displacement());
    planes.replace(|plane, size| {
        moving(plane, size, Border::Reflect, |y, x| {
            let at = y as usize * w + x as usize;
            (y as f32 + dy[at], x as f32 + dx[at])
        })
    });
}

/// The affine map that takes three points to three others, as the coefficients of x, y and 1 for both
/// coordinates; `None` if the first three are collinear.
fn affine_map(from: [[f64; 2]; 3], to: [[f64; 2]; 3]) -> Option<[[f64; 3]; 2]> {
    let [[x, y], second, third] = from;
    let (u, v) = ([second[0] - x, second[1] - y], [third[0] - x, third[1] - y]);
    let area = u[0] * v[1] - u[1] * v[0];
    if area.abs() < 1e-3 {
        return None;
    }
    Some([0, 1].map(|axis| {
        let [origin, p, q] = to.map(|point| point[axis]);
        let (p, q) = (p - origin, q - origin);
        let (a, b) = ((p * v[1] - q * u[1]) / area, (q * u[0] - p * v[0]) / area);
        [a, b, origin - a * x - b * y]
    }))
}

/// The plane whose pixel (y, x) is the bilinear interpolation at `from(y, x)`.
fn moving(plane: &[f32], [h, w]: Size, border: Border, from: impl Fn(i32, i32) -> (f32, f32)) -> Vec<f32> {
    let mut out = Vec::with_capacity(h * w);
    for y in 0..h as i32 {
        for x in 0..w as i32 {
            let (y, x) = from(y, x);
            let (top, left) = (y.floor(), x.floor());
            let (down, along) = (y - top, x - left);
            let rows = [0, 1].map(|more| border.place(top as isize + more, h) * w);
            let columns = [0, 1].map(|more| border.place(left as isize + more, w));
            let [above, below] = rows.map(|row| {
                let [first, second] = columns.map(|column| plane[row + column]);
                first + along * (second - first)
            });
            out.push(above + down * (below - above));
        }
    }
    out
}

/// Pixelation: reduction with box means, then enlargement to the original size. Bit for bit as Pillow's
/// `Image.resize` with its box filter.
pub(crate) fn pixelate(planes: &mut Planes, scale: f64) {
    let [h, w] = planes.size;
    let small = |len: usize| ((len as f64 * scale) as usize).max(1);
    let mut values = Vec::with_capacity(planes.values.len());
    for plane in planes.each() {
        let levels: Vec<i32> = plane.iter().map(|value| (*value * 255.0).round() as i32).collect();
        let fewer = boxes(&levels, [h, w], [small(h), small(w)]);
        let again = boxes(&fewer, [small(h), small(w)], [h, w]);
        values.extend(again.iter().map(|level| *level as f32 / 255.0));
    }
    planes.values = values;
}

/// Resizes levels: first along rows, then along columns, rounded in between.
fn boxes(levels: &[i32], [h, w]: Size, [height, width]: Size) -> Vec<i32> {
    let columns = box_axis(w, width);
    let mut narrow = Vec::with_capacity(h * width);
    for row in levels.chunks_exact(w) {
        narrow.extend(columns.iter().map(|(first, weights)| weighted(row[*first..].iter(), weights)));
    }
    let rows = box_axis(h, height);
    let mut out = Vec::with_capacity(height * width);
    for (first, weights) in rows {
        out.extend((0..width).map(|x| weighted(narrow[first * width + x..].iter().step_by(width), &weights)));
    }
    out
}

fn weighted<'a>(levels: impl Iterator<Item = &'a i32>, weights: &[i32]) -> i32 {
    levels.zip(weights).fold(1 << (BITS - 1), |sum, (level, weight)| sum + level * weight) >> BITS
}

/// For each position of an axis of length `len` resized to `out`: the first position whose centre is in its
/// box, and the weights.
fn box_axis(len: usize, out: usize) -> Vec<(usize, Vec<i32>)> {
    let scale = len as f64 / out as f64;
    let stretch = scale.max(1.0);
    let taps = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        // Casting a negative number to `usize` gives 0.
        let first = (centre - 0.5 * stretch + 0.5) as usize;
        let end = ((centre + 0.5 * stretch + 0.5) as usize).min(len);
        let inside = |x: usize| {
            let x = (x as f64 - centre + 0.5) / stretch;
            -0.5 < x && x <= 0.5
        };
        let inside: Vec<bool> = (first..end).map(inside).collect();
        let count = inside.iter().filter(|inside| **inside).count().max(1);
        let weight = (f64::from(1 << BITS) / count as f64 + 0.5) as i32;
        (first, inside.into_iter().map(|inside| if inside { weight } else { 0 }).collect())
    };
    (0..out).map(taps).collect()
}
