//! One row of tiles: from the image to points, and from sums to the output.

use std::mem::MaybeUninit;

use super::super::Finish;
use super::super::Real as _;
use super::super::vector::{PANEL, Vector};
use super::Shapes;
use super::tiling::Tiling;

/// How the channels of a row's tiles are stored.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Layout {
    /// One plane per point: `[tiles][channels]`, from this index on.
    Tiles(usize),
    /// One plane for each panel of each point: `[tiles][16]`.
    Panels,
}

/// Transforms the patches of one tile row into the planes.
#[inline(always)]
pub(super) fn input_row<V: Vector, X: Tiling<P, D, O>, const P: usize, const D: usize, const O: usize>(
    shapes: &Shapes,
    tile_rows: usize,
    x: &[V::Lane],
    row: usize,
    zeros: &[V::Lane],
    planes: &mut [&mut [V::Lane]],
    layout: Layout,
) {
    let [c, h, w] = shapes.input;
    let sample = &x[row / tile_rows * c * h * w..][..c * h * w];
    let top = row % tile_rows * X::STEP;
    let mut lines: [&[V::Lane]; D] = [&zeros[..c * w]; D];
    for (y, line) in lines.iter_mut().enumerate() {
        // Above the image, the difference wraps around and is too large as well.
        let y = (top + y).wrapping_sub(X::BEFORE);
        if y < h {
            *line = &sample[y * w * c..][..w * c];
        }
    }
    let columns = shapes.output[2].div_ceil(O);
    // Number of planes of a point, index of the first number in each, and distance from one tile to the next.
    let (panels, first, stride) = match layout {
        Layout::Tiles(first) => (1, first, c),
        Layout::Panels => (c / PANEL, 0, PANEL),
    };
    assert!(planes.len() == P * P * panels);
    assert!(planes.iter().all(|plane| plane.len() >= first + columns * stride));
    for column in 0..columns {
        for channel in (0..c).step_by(V::LANES) {
            // Points of the vertical axis, by column of the patch.
            let mut points = [const { MaybeUninit::<[V; P]>::uninit() }; D];
            for (i, points) in points.iter_mut().enumerate() {
                let at = (column * X::STEP + i).wrapping_sub(X::BEFORE);
                let mut patch = [V::splat(V::Lane::ZERO); D];
                if at < w {
                    for y in 0..D {
                        // SAFETY: a line has `w` positions of `c` channels, and `c` is a multiple of the
                        // lanes.
                        patch[y] = unsafe { V::load(lines[y].as_ptr().add(at * c + channel)) };
                    }
                    if i >= D - X::STEP {
                        // Positions that only the next tile row reads: loading them from far memory takes long.
                        for y in D..D + X::STEP {
                            V::prefetch(sample.as_ptr().wrapping_add(((top + y) * w + at) * c + channel));
                        }
                    }
                }
                points.write(X::input(patch));
            }
            let (panel, within) = match layout {
                Layout::Tiles(_) => (0, channel),
                Layout::Panels => (channel / PANEL, channel % PANEL),
            };
            let at = first + column * stride + within;
            for y in 0..P {
                let mut patch = [V::splat(V::Lane::ZERO); D];
                for i in 0..D {
                    // SAFETY: written above.
                    patch[i] = unsafe { points[i].assume_init_ref()[y] };
                }
                let transformed = X::input(patch);
                for i in 0..P {
                    let plane = &mut planes[(y * P + i) * panels + panel];
                    // SAFETY: every plane reaches beyond the last tile's channels, as checked above.
                    unsafe { transformed[i].store(plane.as_mut_ptr().add(at)) };
                }
            }
        }
    }
}

/// Transforms the sums of one tile row, which begin at `at` of each plane, into the output from `out` on.
#[inline(always)]
pub(super) fn output_row<V: Vector, X: Tiling<P, D, O>, const P: usize, const D: usize, const O: usize>(
    shapes: &Shapes,
    tile_rows: usize,
    sums: &[V::Lane],
    (plane, at): (usize, usize),
    row: usize,
    finish: &mut Finish<'_, V::Lane>,
    out: usize,
) {
    let [n, h, w] = shapes.output;
    let columns = w.div_ceil(O);
    let height = O.min(h - row % tile_rows * O);
    assert!(sums.len() >= P * P * plane && plane >= at + columns * n);
    assert!(finish.out.len() >= out + height * w * n && finish.bias.is_none_or(|bias| bias.len() >= n));
    for column in 0..columns {
        let width = O.min(w - column * O);
        for channel in (0..n).step_by(V::LANES) {
            // Outputs of the vertical axis, by point of the horizontal one.
            let mut lines = [const { MaybeUninit::<[V; O]>::uninit() }; P];
            for (i, lines) in lines.iter_mut().enumerate() {
                let mut points = [V::splat(V::Lane::ZERO); P];
                for y in 0..P {
                    let from = (y * P + i) * plane + at + column * n + channel;
                    // SAFETY: within the plane, as checked above.
                    points[y] = unsafe { V::load(sums.as_ptr().add(from)) };
                }
                lines.write(X::output(points));
            }
            for y in 0..O {
                if y < height {
                    for i in 0..O {
                        // For the next tile row.
                        finish.prefetch::<V>(out + ((y + O) * w + column * O + i) * n + channel);
                    }
                    let mut points = [V::splat(V::Lane::ZERO); P];
                    for i in 0..P {
                        // SAFETY: written above.
                        points[i] = unsafe { lines[i].assume_init_ref()[y] };
                    }
                    let transformed = X::output(points);
                    for i in 0..O {
                        if i < width {
                            let to = out + (y * w + column * O + i) * n + channel;
                            // SAFETY: row `y` and column `i` are inside the output, as checked above.
                            unsafe { finish.put(to, channel, transformed[i]) };
                        }
                    }
                }
            }
        }
    }
}
