//! The gradient of a 3 x 3 filter at stride 1 or 2: `G^T [sum over tiles of (B^T x B) * (A y A^T)] G`.

use super::super::buffer::across;
use super::super::gemm::{PatchRows, outer};
use super::super::vector::{Kernel, PANEL, PanelRow, Vector, dispatch};
use super::super::{Buffer, Real, tasks};
use super::rows::{Layout, input_row};
use super::tiling::{Down, FILTERS, Same, Tiling, taps};
use super::{Shapes, TilingKind, zero_row};
use crate::profile::{self, Work};

/// Bytes of scratch memory of the tiles that are transformed together. Like every order of summation, this size and
/// the batch size are part of the result's definition.
const BLOCK: usize = 2 << 20;
/// Minimum number of tiles that are transformed together. Their sums are passed to [`taps`], which must not cost
/// more than the sums.
const TILES: usize = 64;

/// Gradient of torch's weight `[out, in, 3, 3]` with true `channels` [out, in], from stored `x` and the gradient
/// `dy` of the convolution's output. `kind` is the tiling of the forward pass.
pub(in super::super) fn weight_gradient<T: Real>(
    kind: TilingKind,
    channels: [usize; 2],
    shapes: Shapes,
    x: &[T],
    dy: &[T],
) -> Buffer<T> {
    let ([c, ..], [n, ..]) = (shapes.input, shapes.output);
    let samples = x.len() / shapes.input.iter().product::<usize>();
    assert_eq!(dy.len(), samples * shapes.output.iter().product::<usize>());
    let [tile_rows, columns] = shapes.tiles(kind);
    let all = samples * tile_rows;
    let points = kind.points();
    let most = (BLOCK / (points * (c + n) * size_of::<T>())).max(TILES) / columns;
    // Blocks of equal size: a small one at the end would cost as much as a large one.
    let block = all.div_ceil(all.div_ceil(most.max(1)).max(1)).max(1);
    let panels = [c / PANEL, n / PANEL];
    // Nine taps of 16 x 16 channels for every pair of panels.
    let mut sums = Buffer::zeros(panels[0] * panels[1] * PANEL * 9 * PANEL);
    let size = points * (panels[0] + panels[1]) * plane(block * columns);
    let mut scratch = Buffer::take(size + zero_row(&shapes));
    let (zeros, scratch) = scratch.split_at_mut(zero_row(&shapes));
    zeros.fill(T::ZERO);
    let zeros = &*zeros;
    // If there are few pairs, they are split in two, so that two threads have work.
    let rows = if panels[0] * panels[1] < 4 { PANEL / 2 } else { PANEL };
    for start in (0..all).step_by(block) {
        let count = block.min(all - start);
        let tiles = count * columns;
        let (xs, rest) = scratch.split_at_mut(points * panels[0] * plane(tiles));
        let ys = &mut rest[..points * panels[1] * plane(tiles)];
        let (mut x_rows, mut y_rows) = (strips(xs, tiles, columns, count), strips(ys, tiles, columns, count));
        let cost = points * tiles * (panels[0] + panels[1]) * PANEL;
        tasks::each(cost, x_rows.iter_mut().zip(&mut y_rows), |i, (x_planes, y_planes)| {
            let row = start + i;
            let clock = profile::clock();
            dispatch(Transform { kind, shapes, tile_rows, x, dy, row, zeros, x_planes, y_planes });
            profile::count(Work::Transform, clock);
        });
        drop((x_rows, y_rows));
        let (xs, ys) = (&*xs, &*ys);
        let cost = points * tiles * panels[0] * panels[1] * PANEL * PANEL;
        tasks::each(cost, sums.chunks_exact_mut(rows * 9 * PANEL), |i, sums| {
            let (pair, first) = (i * rows / PANEL, i * rows % PANEL);
            let clock = profile::clock();
            dispatch(Pair { kind, xs, ys, tiles, panels, which: pair, first, sums });
            profile::count(Work::Product, clock);
        });
    }
    in_torch_order(channels, panels[1], &sums)
}

/// Distance from one plane to the next: one line more than its size. All points' numbers of a tile are written
/// together, and would otherwise fall on the same few lines of the cache.
fn plane(tiles: usize) -> usize {
    (tiles + 1) * PANEL
}

/// Splits planes `[points][panels][tiles][16]` into the strips of each of `rows` tile rows, ordered by point, then
/// by panel.
fn strips<T>(planes: &mut [T], tiles: usize, columns: usize, rows: usize) -> Vec<Vec<&mut [T]>> {
    let mut strips = across(planes, plane(tiles), columns * PANEL);
    strips.truncate(rows);
    strips
}

struct Transform<'a, 'x, T> {
    kind: TilingKind,
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
        match self.kind {
            TilingKind::Same => self.tiled::<V, Same, 6, 6>(),
            TilingKind::Down => self.tiled::<V, Down, 9, 9>(),
            TilingKind::Up => unreachable!("no forward pass is of that kind"),
        }
    }
}

impl<T: Real> Transform<'_, '_, T> {
    #[inline(always)]
    fn tiled<V: Vector<Lane = T>, X: Tiling<P, D, 4>, const P: usize, const D: usize>(self) {
        let Self { shapes, tile_rows, x, dy, row, zeros, x_planes, y_planes, .. } = self;
        input_row::<V, X, P, D, 4>(&shapes, tile_rows, x, row, zeros, x_planes, Layout::Panels);
        gradient_row::<V, X, P, D>(&shapes, tile_rows, dy, row, y_planes);
    }
}

/// Transforms one tile row of gradients into strips of the planes.
#[inline(always)]
fn gradient_row<V: Vector, X: Tiling<P, D, 4>, const P: usize, const D: usize>(
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
    assert!(planes.len() == P * P * panels && planes.iter().all(|plane| plane.len() >= columns * PANEL));
    for column in 0..columns {
        for channel in (0..n).step_by(V::LANES) {
            let mut points = [[V::splat(V::Lane::ZERO); 4]; P];
            for i in 0..4 {
                let at = column * 4 + i;
                if at < w {
                    let mut patch = [V::splat(V::Lane::ZERO); 4];
                    for y in 0..4 {
                        // For the next tile row.
                        V::prefetch(sample.as_ptr().wrapping_add(((first + 4 + y) * w + at) * n + channel));
                        if first + y < h {
                            // SAFETY: row and position are inside the sample, and `n` is a multiple of the
                            // lanes.
                            patch[y] =
                                unsafe { V::load(sample.as_ptr().add(((first + y) * w + at) * n + channel)) };
                        }
                    }
                    let transformed = X::gradient(patch);
                    for y in 0..P {
                        points[y][i] = transformed[y];
                    }
                }
            }
            let (panel, at) = (channel / PANEL, column * PANEL + channel % PANEL);
            for y in 0..P {
                let transformed = X::gradient(points[y]);
                for i in 0..P {
                    let plane = &mut planes[(y * P + i) * panels + panel];
                    // SAFETY: every strip holds a panel for each tile of the row, as checked above.
                    unsafe { transformed[i].store(plane.as_mut_ptr().add(at)) };
                }
            }
        }
    }
}

/// One pair of panels, input channels by output channels, or some of its rows.
struct Pair<'a, T> {
    kind: TilingKind,
    xs: &'a [T],
    ys: &'a [T],
    tiles: usize,
    panels: [usize; 2],
    which: usize,
    /// The first row.
    first: usize,
    /// `[rows][9][16]`.
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for Pair<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        // As many rows as registers hold.
        let rows = self.sums.len() / (9 * PANEL);
        match self.kind {
            TilingKind::Up => unreachable!("no forward pass is of that kind"),
            TilingKind::Same if V::ROWS > 8 && rows == PANEL => self.rows::<V, Same, 6, 6, PANEL>(),
            TilingKind::Down if V::ROWS > 8 && rows == PANEL => self.rows::<V, Down, 9, 9, PANEL>(),
            TilingKind::Same if V::ROWS > 8 => self.rows::<V, Same, 6, 6, 8>(),
            TilingKind::Down if V::ROWS > 8 => self.rows::<V, Down, 9, 9, 8>(),
            TilingKind::Same => self.rows::<V, Same, 6, 6, 4>(),
            TilingKind::Down => self.rows::<V, Down, 9, 9, 4>(),
        }
    }
}

impl<T: Real> Pair<'_, T> {
    #[inline(always)]
    fn rows<V, X, const P: usize, const D: usize, const R: usize>(self)
    where
        V: Vector<Lane = T>,
        X: Tiling<P, D, 4>,
    {
        let Self { xs, ys, tiles, panels, which, first, sums, .. } = self;
        let (panel_x, panel_y) = (which / panels[1], which % panels[1]);
        for (part, sums) in sums.chunks_exact_mut(R * 9 * PANEL).enumerate() {
            // Points that share a filter are summed.
            let mut points = [[V::PanelRow::zero(); R]; FILTERS * FILTERS];
            for p in 0..P * P {
                let x = PatchRows::whole(&xs[(p * panels[0] + panel_x) * plane(tiles)..], PANEL);
                let y = PatchRows::whole(&ys[(p * panels[1] + panel_y) * plane(tiles)..], PANEL);
                let tile = outer::<V, R>((x, first + part * R), (y, 0), tiles);
                let sum = (p / P).min(FILTERS - 1) * FILTERS + (p % P).min(FILTERS - 1);
                for r in 0..R {
                    points[sum][r] = points[sum][r].grow(T::from_f64(1.0), tile[r]);
                }
            }
            for r in 0..R {
                let sums = &mut sums[r * 9 * PANEL..][..9 * PANEL];
                for lane in (0..PANEL).step_by(V::LANES) {
                    let mut lines = [[V::splat(T::ZERO); FILTERS]; 3];
                    for i in 0..FILTERS {
                        let mut column = [V::splat(T::ZERO); FILTERS];
                        for y in 0..FILTERS {
                            column[y] = lanes::<V>(&points[y * FILTERS + i][r], lane);
                        }
                        let transformed = taps(&X::FILTER, column);
                        for y in 0..3 {
                            lines[y][i] = transformed[y];
                        }
                    }
                    for (y, line) in lines.into_iter().enumerate() {
                        for (i, tap) in taps(&X::FILTER, line).into_iter().enumerate() {
                            let to = &mut sums[(y * 3 + i) * PANEL + lane..][..V::LANES];
                            // SAFETY: there are so many lanes, read and written.
                            unsafe { V::load(to.as_ptr()).add(tap).store(to.as_mut_ptr()) };
                        }
                    }
                }
            }
        }
    }
}

/// The lanes of a row from `lane` on.
#[inline(always)]
fn lanes<V: Vector>(row: &V::PanelRow, lane: usize) -> V {
    let mut line = [V::Lane::ZERO; PANEL];
    // SAFETY: a line is `PANEL` numbers, and `lane` a multiple of the lanes below that.
    unsafe {
        row.store(line.as_mut_ptr());
        V::load(line.as_ptr().add(lane))
    }
}

/// From `[in panels][out panels][in 16][9][out 16]` to `[out, in, 9]`.
fn in_torch_order<T: Real>([out, into]: [usize; 2], panels_n: usize, sums: &[T]) -> Buffer<T> {
    let mut weight = Buffer::take(out * into * 9);
    tasks::each(sums.len(), weight.chunks_mut(PANEL * into * 9), |panel, weight| {
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
