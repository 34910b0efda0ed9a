//! Winograd's convolution (Lavin & Gray, CVPR 2016, <https://arxiv.org/abs/1509.09308>) of 3 x 3 kernels with
//! padding 1: stride 1, stride 2, and the input gradients of both.
//!
//! Tiles of the image are transformed so that the convolution becomes one product for each of 36 (stride 2: 81)
//! points: matrices `[tiles, channels]` times packed filters. The rounding of sums differs from the definition by
//! about 1e-6 of the largest sum; `Numerics::Exact` does not use this method.

mod filters;
mod gradient;
mod rows;
mod tiling;

use self::filters::filter_of;
use self::rows::{Layout, input_row, output_row};
use self::tiling::{Down, Same, Tiling, Up};
use super::buffer::across;
use super::gemm::{PatchRows, Product};
use super::vector::{Kernel, PANEL, Vector, dispatch};
use super::{Buffer, Finish, Real, tasks};
use crate::profile::{self, Work};

#[cfg(test)]
pub(super) use filters::STREAMED;
pub(super) use filters::{Filters, Weight};
pub(super) use gradient::weight_gradient;

/// Largest number of points of both axes.
const MOST: usize = 81;

/// The kind of a tiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TilingKind {
    /// Stride 1, and its transpose.
    Same,
    /// Stride 2.
    Down,
    /// The transpose of stride 2.
    Up,
}

impl TilingKind {
    /// Number of points of both axes.
    fn points(self) -> usize {
        match self {
            TilingKind::Same => 6 * 6,
            TilingKind::Down | TilingKind::Up => 9 * 9,
        }
    }

    /// Number of outputs of a tile along an axis.
    fn outputs(self) -> usize {
        match self {
            TilingKind::Same | TilingKind::Down => 4,
            TilingKind::Up => 8,
        }
    }
}

/// Bytes of scratch memory that one task's tiles may fill. The tiles and some of the filters must stay in a core's
/// own cache.
const BLOCK: usize = 384 << 10;
/// Minimum number of tiles of a task, so that it does not read its filters too often.
const TILES: usize = 6;
/// Bytes of filters above which all tasks process them together.
pub(super) const LARGE: usize = 12 << 20;
/// Bytes of scratch memory for tiles that all tasks share.
const SHARED: usize = 12 << 20;

/// Shapes of a pass, with stored channels: `[c, h, w]` in, `[n, h, w]` out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shapes {
    pub(super) input: [usize; 3],
    pub(super) output: [usize; 3],
}

impl Shapes {
    /// Tile rows of a sample, and tiles of a row.
    fn tiles(&self, kind: TilingKind) -> [usize; 2] {
        [self.output[1], self.output[2]].map(|length| length.div_ceil(kind.outputs()))
    }

    /// Count of numbers of the output that a tile row covers.
    fn covers(&self, kind: TilingKind, row: usize) -> usize {
        let [n, h, w] = self.output;
        let [rows, _] = self.tiles(kind);
        kind.outputs().min(h - row % rows * kind.outputs()) * w * n
    }
}

/// Count of scratch numbers for a block of this many tiles.
fn block_size<T: Real>(filters: &Filters<T>, shapes: &Shapes, tiles: usize) -> usize {
    filters.kind.points() * (plane(tiles, filters.c) + plane(tiles, filters.n)) + zero_row(shapes)
}

/// Distance from one point's matrix to the next: one line more than its size. All points' numbers of a tile are
/// written together, and would otherwise fall on the same few lines of the cache.
fn plane(tiles: usize, channels: usize) -> usize {
    tiles * channels + PANEL
}

/// Length of a row of zeros, which replaces rows outside the image.
fn zero_row(shapes: &Shapes) -> usize {
    (shapes.input[0] * shapes.input[2]).next_multiple_of(PANEL)
}

/// `finish(conv(x))` for a batch `x`.
pub(super) fn conv<T: Real>(filters: &Filters<T>, shapes: Shapes, x: &[T], finish: Finish<'_, T>) {
    let samples = x.len() / shapes.input.iter().product::<usize>();
    assert_eq!(finish.out.len(), samples * shapes.output.iter().product::<usize>());
    assert!(shapes.input[0] == filters.c && shapes.output[0] == filters.n);
    let [rows, columns] = shapes.tiles(filters.kind);
    let tile = filters.kind.points() * (filters.c + filters.n) * size_of::<T>();
    let all = samples * rows;
    let large = filters.bytes() > LARGE;
    let tiles = if large { SHARED / tile } else { (BLOCK / tile).max(TILES) };
    let most = (tiles / columns).max(1);
    // Blocks of equal size, so that no single task remains at the end.
    let block = all.div_ceil(all.div_ceil(most).max(1)).max(1);
    let starts: Vec<usize> = (0..all).step_by(block).collect();
    // Winograd's method needs less than a third of the nine products for each pair of channels.
    let cost = finish.out.len() * filters.c * 2;
    let covered =
        |start: &usize| (*start..all.min(start + block)).map(|row| shapes.covers(filters.kind, row)).sum();
    let parts = finish.parts(starts.iter().map(covered));
    let work = |(start, finish): (usize, Finish<'_, T>)| {
        let rows = (start, all.min(start + block));
        if large {
            shared_block(filters, shapes, x, rows, finish);
        } else {
            let size = block_size(filters, &shapes, (rows.1 - rows.0) * columns);
            let scratch = &mut Buffer::take(size);
            dispatch(Block { filters, shapes, x, rows, finish, scratch });
        }
    };
    if large {
        starts.into_iter().zip(parts).for_each(work);
    } else {
        tasks::each(cost, starts.into_iter().zip(parts), |_, part| work(part));
    }
}

/// As [`conv`], for a few samples on this thread alone.
pub(super) fn conv_here<T: Real>(filters: &Filters<T>, shapes: Shapes, x: &[T], finish: Finish<'_, T>) {
    let samples = x.len() / shapes.input.iter().product::<usize>();
    let [rows, columns] = shapes.tiles(filters.kind);
    let rows = (0, samples * rows);
    assert_eq!(finish.out.len(), samples * shapes.output.iter().product::<usize>());
    let scratch = &mut Buffer::take(block_size(filters, &shapes, rows.1 * columns));
    dispatch(Block { filters, shapes, x, rows, finish, scratch });
}

/// All steps for some tile rows.
struct Block<'a, 'f, T: Real> {
    filters: &'a Filters<T>,
    shapes: Shapes,
    /// The whole batch.
    x: &'a [T],
    /// The half-open range of tile rows, counted through the batch.
    rows: (usize, usize),
    /// For these tile rows only.
    finish: Finish<'f, T>,
    scratch: &'a mut [T],
}

impl<T: Real> Kernel<T> for Block<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        match self.filters.kind {
            TilingKind::Same => self.tiled::<V, Same, 6, 6, 4>(),
            TilingKind::Down => self.tiled::<V, Down, 9, 9, 4>(),
            TilingKind::Up => self.tiled::<V, Up, 9, 5, 8>(),
        }
    }
}

impl<T: Real> Block<'_, '_, T> {
    #[inline(always)]
    fn tiled<V: Vector<Lane = T>, X: Tiling<P, D, O>, const P: usize, const D: usize, const O: usize>(self) {
        let Self { filters, shapes, x, rows, mut finish, scratch } = self;
        let (c, n) = (filters.c, filters.n);
        let points = P * P;
        let [tile_rows, columns] = shapes.tiles(filters.kind);
        let tiles = (rows.1 - rows.0) * columns;
        let (zeros, scratch) = scratch.split_at_mut(zero_row(&shapes));
        zeros.fill(T::ZERO);
        let (input_plane, sum_plane) = (plane(tiles, c), plane(tiles, n));
        let (inputs, sums) = scratch.split_at_mut(points * input_plane);
        let mut planes: [&mut [T]; MOST] = std::array::from_fn(|_| Default::default());
        for (plane, part) in planes.iter_mut().zip(inputs.chunks_exact_mut(input_plane)) {
            *plane = part;
        }
        let clock = profile::clock();
        for row in rows.0..rows.1 {
            let at = (row - rows.0) * columns * c;
            input_row::<V, X, P, D, O>(
                &shapes,
                tile_rows,
                x,
                row,
                zeros,
                &mut planes[..points],
                Layout::Tiles(at),
            );
        }
        let clock = profile::count(Work::Transform, clock);
        let points = inputs.chunks_exact(input_plane).zip(sums.chunks_exact_mut(sum_plane));
        for (p, (inputs, sums)) in points.enumerate() {
            point(filters, filter_of::<T, P>(filters, p), &inputs[..tiles * c], sums);
        }
        let clock = profile::count(Work::Product, clock);
        let mut out = 0;
        for row in rows.0..rows.1 {
            let at = (row - rows.0) * columns * n;
            output_row::<V, X, P, D, O>(&shapes, tile_rows, sums, (sum_plane, at), row, &mut finish, out);
            out += shapes.covers(filters.kind, row);
        }
        profile::count(Work::Transform, clock);
    }
}

/// The product of one point: `[tiles, c]` times its filter.
#[inline(always)]
fn point<T: Real>(filters: &Filters<T>, panels: &[T], inputs: &[T], out: &mut [T]) {
    let k = filters.c;
    dispatch(Product { rows: PatchRows::whole(inputs, k), m: inputs.len() / k, panels, k, out });
}

/// Computes some tile rows on all threads. The filters are too large for one core's cache, so one thread handles
/// all filters of a point.
fn shared_block<T: Real>(
    filters: &Filters<T>,
    shapes: Shapes,
    x: &[T],
    rows: (usize, usize),
    finish: Finish<'_, T>,
) {
    let [tile_rows, columns] = shapes.tiles(filters.kind);
    let (c, n, kind) = (filters.c, filters.n, filters.kind);
    let tiles = (rows.1 - rows.0) * columns;
    let mut scratch = Buffer::take(block_size(filters, &shapes, tiles));
    let (zeros, scratch) = scratch.split_at_mut(zero_row(&shapes));
    zeros.fill(T::ZERO);
    let zeros = &*zeros;
    let (input_plane, sum_plane) = (plane(tiles, c), plane(tiles, n));
    let (inputs, sums) = scratch.split_at_mut(kind.points() * input_plane);
    let mut of_rows = across(inputs, input_plane, columns * c);
    of_rows.truncate(rows.1 - rows.0);
    tasks::each(kind.points() * tiles * c, of_rows, |i, mut planes| {
        let planes = &mut planes[..];
        let clock = profile::clock();
        dispatch(Input { kind, shapes, tile_rows, x, row: rows.0 + i, zeros, planes });
        profile::count(Work::Transform, clock);
    });
    let inputs = &*inputs;
    let parts = sums.chunks_exact_mut(sum_plane);
    tasks::each(kind.points() * tiles * c * n, parts, |which, sums| {
        let inputs = &inputs[which * input_plane..][..tiles * c];
        let filter = match kind {
            TilingKind::Same => filter_of::<T, 6>(filters, which),
            TilingKind::Down | TilingKind::Up => filter_of::<T, 9>(filters, which),
        };
        let clock = profile::clock();
        point(filters, filter, inputs, sums);
        profile::count(Work::Product, clock);
    });
    let sums = &*sums;
    let parts = finish.parts((rows.0..rows.1).map(|row| shapes.covers(kind, row)));
    tasks::each(kind.points() * tiles * n, parts, |i, finish| {
        let place = (sum_plane, i * columns * n);
        let clock = profile::clock();
        dispatch(Output { kind, shapes, tile_rows, sums, place, row: rows.0 + i, finish });
        profile::count(Work::Transform, clock);
    });
}

struct Input<'a, 'p, T> {
    kind: TilingKind,
    shapes: Shapes,
    tile_rows: usize,
    x: &'a [T],
    row: usize,
    zeros: &'a [T],
    planes: &'a mut [&'p mut [T]],
}

impl<T: Real> Kernel<T> for Input<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { kind, shapes, tile_rows, x, row, zeros, planes } = self;
        let layout = Layout::Tiles(0);
        match kind {
            TilingKind::Same => {
                input_row::<V, Same, 6, 6, 4>(&shapes, tile_rows, x, row, zeros, planes, layout);
            }
            TilingKind::Down => {
                input_row::<V, Down, 9, 9, 4>(&shapes, tile_rows, x, row, zeros, planes, layout);
            }
            TilingKind::Up => input_row::<V, Up, 9, 5, 8>(&shapes, tile_rows, x, row, zeros, planes, layout),
        }
    }
}

struct Output<'a, 'f, T> {
    kind: TilingKind,
    shapes: Shapes,
    tile_rows: usize,
    sums: &'a [T],
    place: (usize, usize),
    row: usize,
    finish: Finish<'f, T>,
}

impl<T: Real> Kernel<T> for Output<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { kind, shapes, tile_rows, sums, place, row, mut finish } = self;
        let finish = &mut finish;
        match kind {
            TilingKind::Same => {
                output_row::<V, Same, 6, 6, 4>(&shapes, tile_rows, sums, place, row, finish, 0);
            }
            TilingKind::Down => {
                output_row::<V, Down, 9, 9, 4>(&shapes, tile_rows, sums, place, row, finish, 0);
            }
            TilingKind::Up => output_row::<V, Up, 9, 5, 8>(&shapes, tile_rows, sums, place, row, finish, 0),
        }
    }
}
