//! The gradients of a convolution's weight and bias.

use super::buffer::across;
use super::gemm::{PatchRows, outer};
use super::vector::{Kernel, PANEL, PanelRow, Vector, dispatch};
use super::winograd::{self, Shapes};
use super::{Buffer, Conv, Real, depthwise, tasks};
use crate::graph::Numerics;

/// Bytes of gradients that all tasks process together. Like every order of summation, this is part of the result's
/// definition.
const BLOCK: usize = 512 << 10;
/// Rows in one partial sum of the bias's gradient.
const CHUNK: usize = 512;

/// Gradient with respect to torch's weight `[out, in / groups, kh, kw]`, summed over the batch, from the
/// stored input and the gradient `dy` of the output.
pub fn conv_weight_gradient<T: Real>(shape: &Conv, numerics: Numerics, x: &[T], dy: &[T]) -> Buffer<T> {
    if let Some([kind, _]) = shape.winograd(numerics) {
        return winograd::weight_gradient(kind, [shape.channels, shape.input[0]], shape.shapes(), x, dy);
    }
    if shape.is_depthwise() {
        return depthwise::weight_gradient(shape, x, dy);
    }
    let outputs = shape.channels / shape.groups;
    let mut weight = Buffer::take(shape.channels * shape.fan_in());
    for group in 0..shape.groups {
        let sums = group_gradient(shape, group, x, dy);
        let (width, fan_in) = (outputs.next_multiple_of(PANEL), shape.fan_in());
        let weight = &mut weight[group * outputs * fan_in..][..outputs * fan_in];
        tasks::each(weight.len(), weight.chunks_exact_mut(fan_in), |o, weight| {
            for p in 0..shape.patch() {
                if let Some(i) = shape.weight_index(0, 0, p) {
                    weight[i] = sums[p * width + o];
                }
            }
        });
    }
    weight
}

/// `patches^T * dy` for a group: `[patch (filled to a panel), outputs (filled to a panel)]`.
fn group_gradient<T: Real>(shape: &Conv, group: usize, x: &[T], dy: &[T]) -> Buffer<T> {
    let Shapes { input, output: [n, rows, columns] } = shape.shapes();
    let size = input.iter().product::<usize>();
    let outputs = shape.channels / shape.groups;
    let (panels, panels_n) = (shape.patch().div_ceil(PANEL), outputs.div_ceil(PANEL));
    let all = x.len() / size * rows;
    let block = (BLOCK / (columns * panels_n * PANEL * size_of::<T>())).clamp(1, all.max(1));
    let mut sums = Buffer::zeros(panels * PANEL * panels_n * PANEL);
    let plane = block * columns * PANEL;
    let mut scratch = Buffer::take((panels + panels_n) * plane);
    let (lefts, rights) = scratch.split_at_mut(panels * plane);
    for start in (0..all).step_by(block) {
        let count = block.min(all - start);
        let strip = columns * PANEL;
        let mut lines = across(lefts, plane, strip);
        let mut gradients = across(rights, plane, strip);
        lines.truncate(count);
        gradients.truncate(count);
        let cost = count * columns * (panels + panels_n) * PANEL;
        tasks::each(cost, lines.iter_mut().zip(&mut gradients), |i, (left, right)| {
            let row = start + i;
            let sample = &x[row / rows * size..][..size];
            into_panels(shape, group, sample, row % rows, left);
            let dy = &dy[row * columns * n..][..columns * n];
            for (panel, right) in right.iter_mut().enumerate() {
                let first = group * outputs + panel * PANEL;
                let width = PANEL.min(outputs - panel * PANEL);
                for (to, from) in right.chunks_exact_mut(PANEL).zip(dy.chunks_exact(n)) {
                    to[..width].copy_from_slice(&from[first..first + width]);
                    to[width..].fill(T::ZERO);
                }
            }
        });
        drop((lines, gradients));
        let m = count * columns;
        let (lefts, rights) = (&*lefts, &*rights);
        let parts = sums.chunks_exact_mut(PANEL * panels_n * PANEL);
        tasks::each(m * panels * panels_n * PANEL * PANEL, parts, |panel, sums| {
            let left = &lefts[panel * plane..][..m * PANEL];
            dispatch(PanelRows { left, rights, plane, m, sums });
        });
    }
    sums
}

/// The patches of an output row in panels of 16 patch positions: each strip is `[columns][16]`.
fn into_panels<T: Real>(shape: &Conv, group: usize, x: &[T], row: usize, strips: &mut [&mut [T]]) {
    let patch = shape.patch();
    let columns = shape.output()[2];
    let patches = &mut Buffer::take(columns * patch)[..];
    shape.gather(group, x, row, patches);
    for (panel, strip) in strips.iter_mut().enumerate() {
        let width = PANEL.min(patch - panel * PANEL);
        for (to, from) in strip.chunks_exact_mut(PANEL).zip(patches.chunks_exact(patch)) {
            to[..width].copy_from_slice(&from[panel * PANEL..][..width]);
            to[width..].fill(T::ZERO);
        }
    }
}

/// Computes sixteen rows of sums.
struct PanelRows<'a, T> {
    left: &'a [T],
    rights: &'a [T],
    plane: usize,
    m: usize,
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for PanelRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        if V::ROWS >= 8 { self.rows::<V, 8>() } else { self.rows::<V, 4>() }
    }
}

impl<T: Real> PanelRows<'_, T> {
    #[inline(always)]
    fn rows<V: Vector<Lane = T>, const R: usize>(self) {
        let Self { left, rights, plane, m, sums } = self;
        let width = sums.len() / PANEL;
        let left = PatchRows::whole(left, PANEL);
        for (panel, right) in rights.chunks_exact(plane).enumerate() {
            let right = PatchRows::whole(&right[..m * PANEL], PANEL);
            for first in (0..PANEL).step_by(R) {
                let tile = outer::<V, R>((left, first), (right, 0), m);
                for (r, tile) in tile.into_iter().enumerate() {
                    let to = &mut sums[(first + r) * width + panel * PANEL..][..PANEL];
                    // SAFETY: there are `PANEL` numbers, read and written.
                    unsafe {
                        V::PanelRow::load(to.as_ptr()).grow(T::from_f64(1.0), tile).store(to.as_mut_ptr());
                    }
                }
            }
        }
    }
}

/// Sums over all rows of `[rows, channels]`: the gradient of a bias.
pub fn column_sums<T: Real>(values: &[T], channels: usize) -> Buffer<T> {
    let parts = tasks::map(values.len(), values.chunks(CHUNK * channels), |rows| {
        let mut sums = vec![T::ZERO; channels];
        for row in rows.chunks_exact(channels) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += *value;
            }
        }
        sums
    });
    let mut total = Buffer::zeros(channels);
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            *total += part;
        }
    }
    total
}
