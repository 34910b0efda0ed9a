//! The gradient of a 3 x 3 filter at stride 1: `G^T [sum over tiles of (B^T x B) * (A y A^T)] G`.

use rayon::prelude::*;

use super::super::buffer::across;
use super::super::gemm::{Rows, outer};
use super::super::vector::{Kernel, PANEL, Row, Vector, dispatch};
use super::super::{Buffer, Real};
use super::rows::{Layout, input_row};
use super::tiling::{FILTERS, Same, same_gradient, taps};
use super::{Kind, Shapes, zero_row};

/// Points of both axes.
const POINTS: usize = FILTERS * FILTERS;
/// Bytes of scratch memory of the tiles that are transformed together: part of the result's definition, like every order of
/// summation.
const BLOCK: usize = 4 << 20;

/// Gradient of torch's weight `[out, in, 3, 3]` with true `channels` [out, in], from stored `x` and the gradient `dy` of the
/// convolution's output.
pub(in super::super) fn weight_gradient<T: Real>(
    channels: [usize; 2],
    shapes: Shapes,
    x: &[T],
    dy: &[T],
) -> Buffer<T> {
    let ([c, ..], [n, ..]) = (shapes.input, shapes.output);
    let samples = x.len() / shapes.input.iter().product::<usize>();
    assert_eq!(dy.len(), samples * shapes.output.iter().product::<usize>());
    let [tile_rows, columns] = shapes.tiles(Kind::Same);
    let all = samples * tile_rows;
    let most = BLOCK / (POINTS * columns * (c + n) * size_of::<T>());
    let block = most.max(1).min(all.max(1));
    let (panels_c, panels_n) = (c / PANEL, n / PANEL);
    // For every pair of panels nine taps of 16 x 16 channels.
    let mut sums = Buffer::zeros(panels_c * panels_n * PANEL * 9 * PANEL);
    let size = POINTS * (c + n) * block * columns;
    let mut scratch = Buffer::take(size + zero_row(&shapes));
    let (zeros, scratch) = scratch.split_at_mut(zero_row(&shapes));
    zeros.fill(T::ZERO);
    let zeros = &*zeros;
    for start in (0..all).step_by(block) {
        let rows = block.min(all - start);
        let tiles = rows * columns;
        let (xs, rest) = scratch.split_at_mut(POINTS * tiles * c);
        let ys = &mut rest[..POINTS * tiles * n];
        let (mut x_rows, mut y_rows) = (strips(xs, tiles, columns, rows), strips(ys, tiles, columns, rows));
        x_rows.par_iter_mut().zip(&mut y_rows).enumerate().for_each(|(i, (x_planes, y_planes))| {
            let row = start + i;
            dispatch(Transform { shapes, tile_rows, x, dy, row, zeros, x_planes, y_planes });
        });
        drop((x_rows, y_rows));
        let (xs, ys) = (&*xs, &*ys);
        sums.par_chunks_exact_mut(PANEL * 9 * PANEL).enumerate().for_each(|(pair, sums)| {
            dispatch(Pair { xs, ys, tiles, panels: [panels_c, panels_n], which: pair, sums });
        });
    }
    in_torch_order(channels, panels_n, &sums)
}

/// Of planes `[panels][tiles][16]` (one after the other, 36 points each of some panels), the strips that belong to each of
/// `rows` tile rows: by point, then by panel.
fn strips<T>(planes: &mut [T], tiles: usize, columns: usize, rows: usize) -> Vec<Vec<&mut [T]>> {
    let mut strips = across(planes, tiles * PANEL, columns * PANEL);
    strips.truncate(rows);
    strips
}

struct Transform<'a, 'x, T> {
    shapes: Shapes,
    tile_rows: usize,
    x: &'a [T],
    dy: &'a [T],
    row: usize,
    zeros: &'a [T],
    x_planes: &'a mut [&'x mut [T]],
    y_planes: &'a mut [&'x mut [T]],
}

impl<T: Real> Kernel<T> for Transform<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { shapes, tile_rows, x, dy, row, zeros, x_planes, y_planes } = self;
        input_row::<V, Same, 6, 6, 4>(&shapes, tile_rows, x, row, zeros, x_planes, Layout::Panels);
        gradient_row::<V>(&shapes, tile_rows, dy, row, y_planes);
    }
}

/// Transforms one tile row of gradients into strips of the planes.
#[inline(always)]
fn gradient_row<V: Vector>(
    shapes: &Shapes,
    tile_rows: usize,
    dy: &[V::Lane],
    row: usize,
    planes: &mut [&mut [V::Lane]],
) {
    let [n, h, w] = shapes.output;
    let sample = &dy[row / tile_rows * n * h * w..][..n * h * w];
    let first = row % tile_rows * 4;
    let columns = w.div_ceil(4);
    let panels = n / PANEL;
    assert!(planes.len() == POINTS * panels && planes.iter().all(|plane| plane.len() >= columns * PANEL));
    for column in 0..columns {
        for channel in (0..n).step_by(V::LANES) {
            let mut points = [[V::splat(V::Lane::ZERO); 4]; FILTERS];
            for i in 0..4 {
                let at = column * 4 + i;
                if at < w {
                    let mut patch = [V::splat(V::Lane::ZERO); 4];
                    for y in 0..4 {
                        if first + y < h {
                            // SAFETY: row and position are inside the sample, and `n` is a multiple of the lanes.
                            patch[y] =
                                unsafe { V::load(sample.as_ptr().add(((first + y) * w + at) * n + channel)) };
                        }
                    }
                    let transformed = same_gradient(patch);
                    for y in 0..FILTERS {
                        points[y][i] = transformed[y];
                    }
                }
            }
            let (panel, at) = (channel / PANEL, column * PANEL + channel % PANEL);
            for y in 0..FILTERS {
                let transformed = same_gradient(points[y]);
                for i in 0..FILTERS {
                    let plane = &mut planes[(y * FILTERS + i) * panels + panel];
                    // SAFETY: every strip holds a panel for each tile of the row, as checked above.
                    unsafe { transformed[i].store(plane.as_mut_ptr().add(at)) };
                }
            }
        }
    }
}

/// One pair of panels: input channels by output channels.
struct Pair<'a, T> {
    xs: &'a [T],
    ys: &'a [T],
    tiles: usize,
    panels: [usize; 2],
    which: usize,
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for Pair<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        // As many rows as registers hold, and as divide a panel.
        if V::ROWS >= 8 { self.rows::<V, 8>() } else { self.rows::<V, 4>() }
    }
}

impl<T: Real> Pair<'_, T> {
    #[inline(always)]
    fn rows<V: Vector<Lane = T>, const R: usize>(self) {
        let Self { xs, ys, tiles, panels, which, sums } = self;
        let (panel_x, panel_y) = (which / panels[1], which % panels[1]);
        let strip = tiles * PANEL;
        let mut points = [[V::Row::zero(); R]; POINTS];
        for first in (0..PANEL).step_by(R) {
            for (p, sums) in points.iter_mut().enumerate() {
                let x = Rows { values: &xs[(p * panels[0] + panel_x) * strip..][..strip], stride: PANEL };
                let y = Rows { values: &ys[(p * panels[1] + panel_y) * strip..][..strip], stride: PANEL };
                *sums = outer::<V, R>((x, first), (y, 0), tiles);
            }
            for r in 0..R {
                let sums = &mut sums[(first + r) * 9 * PANEL..][..9 * PANEL];
                for part in (0..PANEL).step_by(V::LANES) {
                    let mut lines = [[V::splat(T::ZERO); FILTERS]; 3];
                    for i in 0..FILTERS {
                        let mut column = [V::splat(T::ZERO); FILTERS];
                        for y in 0..FILTERS {
                            column[y] = lanes::<V>(&points[y * FILTERS + i][r], part);
                        }
                        let transformed = taps::<V>(column);
                        for y in 0..3 {
                            lines[y][i] = transformed[y];
                        }
                    }
                    for (y, line) in lines.into_iter().enumerate() {
                        for (i, tap) in taps::<V>(line).into_iter().enumerate() {
                            let to = &mut sums[(y * 3 + i) * PANEL + part..][..V::LANES];
                            // SAFETY: there are so many lanes, read and written.
                            unsafe { V::load(to.as_ptr()).add(tap).store(to.as_mut_ptr()) };
                        }
                    }
                }
            }
        }
    }
}

/// The lanes of a row from `part` on.
#[inline(always)]
fn lanes<V: Vector>(row: &V::Row, part: usize) -> V {
    let mut line = [V::Lane::ZERO; PANEL];
    // SAFETY: a line is `PANEL` numbers, and `part` a multiple of the lanes below that.
    unsafe {
        row.store(line.as_mut_ptr());
        V::load(line.as_ptr().add(part))
    }
}

/// From `[in panels][out panels][in 16][9][out 16]` to `[out, in, 9]`.
fn in_torch_order<T: Real>([out, into]: [usize; 2], panels_n: usize, sums: &[T]) -> Buffer<T> {
    let mut weight = Buffer::take(out * into * 9);
    weight.par_chunks_mut(PANEL * into * 9).enumerate().for_each(|(panel, weight)| {
        for i in 0..into {
            let pair = i / PANEL * panels_n + panel;
            let block = &sums[(pair * PANEL + i % PANEL) * 9 * PANEL..][..9 * PANEL];
            for (o, weight) in weight.chunks_exact_mut(into * 9).enumerate() {
                for (tap, value) in weight[i * 9..][..9].iter_mut().enumerate() {
                    *value = block[tap * PANEL + o];
                }
            }
        }
    });
    weight
}
