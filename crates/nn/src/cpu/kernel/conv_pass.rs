//! The forward pass and the input gradient of a convolution, with weights packed for each.

use super::conv::PATCHES;
use super::gemm::{Panels, PatchRows, multiply};
use super::pointwise::finish_all;
use super::pool::{pool_sample, pool_sample_gradient};
use super::winograd::{self, Filters, Shapes, Weight};
use super::{Addend, Buffer, Conv, Finish, Real, depthwise, pixels, stored, tasks};
use crate::graph::{Numerics, Pool};

/// Number of tasks for a product that fits into one task, so that threads share it.
const TASKS: usize = 8;

/// A packed weight for one pass.
#[derive(Debug)]
enum Packed<T: Real> {
    /// One matrix per group.
    Patches(Vec<Panels<T>>),
    Winograd(Filters<T>),
    /// For the gradient of pixels: `[kernel row, kernel column, channel][n]`.
    Taps(Vec<T>),
    /// `[kernel row, kernel column][n]`.
    Depthwise(Vec<T>),
}

/// A weight packed for the forward pass.
#[derive(Debug)]
pub struct ConvForward<T: Real> {
    shape: Conv,
    packed: Packed<T>,
    bias: Option<Vec<T>>,
}

impl<T: Real> ConvForward<T> {
    /// Packs a torch weight `[out, in / groups, kh, kw]`, each output channel times `scale`, and a bias.
    pub fn pack(
        shape: &Conv,
        numerics: Numerics,
        weight: &[T],
        bias: Option<&[T]>,
        scale: Option<&[T]>,
    ) -> Self {
        let packed = match shape.winograd(numerics) {
            Some([kind, _]) => {
                let weight = Weight { values: weight, channels: [shape.channels, shape.input[0]], scale };
                Packed::Winograd(Filters::pack(kind, weight, false))
            }
            None if shape.is_depthwise() => Packed::Depthwise(depthwise::taps(shape, weight, scale)),
            None => Packed::Patches(pack_groups(shape, weight, scale, false)),
        };
        let bias = bias.map(|bias| {
            let mut all = bias.to_vec();
            all.resize(stored(shape.channels), T::ZERO);
            all
        });
        Self { shape: *shape, packed, bias }
    }

    /// `finish(conv(x) + bias)`; `finish` itself must not have a bias.
    ///
    /// # Panics
    /// If a length does not fit the shape.
    pub fn run(&self, x: &[T], finish: Finish<'_, T>) {
        let finish = Finish { bias: self.bias.as_deref(), ..finish };
        let Shapes { input, output: [n, rows, columns] } = self.shape.shapes();
        let samples = x.len() / input.iter().product::<usize>();
        assert_eq!(finish.out.len(), samples * n * rows * columns);
        match &self.packed {
            Packed::Winograd(filters) => winograd::conv(filters, self.shape.shapes(), x, finish),
            Packed::Taps(_) => unreachable!("for gradients alone"),
            Packed::Depthwise(taps) => {
                let block = (PATCHES / (columns * n * size_of::<T>())).max(1);
                self.blocks(block, samples, finish, |row, finish| {
                    depthwise::rows(&self.shape, taps, x, row, finish);
                });
            }
            Packed::Patches(panels) => {
                let block = self.shape.block_rows(size_of::<T>());
                self.blocks(block, samples, finish, |row, finish| self.rows(panels, x, row, finish));
            }
        }
    }

    /// Calls `f` for every `block` output rows, with their first row, counted through the batch, and their part of
    /// `finish`.
    fn blocks(
        &self,
        block: usize,
        samples: usize,
        finish: Finish<'_, T>,
        f: impl Fn(usize, Finish<'_, T>) + Sync,
    ) {
        let [n, rows, columns] = self.shape.shapes().output;
        let starts: Vec<usize> = (0..samples * rows).step_by(block).collect();
        let lengths = starts.iter().map(|s| (samples * rows).min(s + block) - s);
        let cost = finish.out.len() * self.shape.fan_in();
        let parts = finish.parts(lengths.map(|rows| rows * columns * n));
        tasks::each(cost, starts.into_iter().zip(parts), |_, (row, finish)| f(row, finish));
    }

    /// Computes output rows from `row` on, counted through the batch.
    fn rows(&self, panels: &[Panels<T>], x: &[T], row: usize, finish: Finish<'_, T>) {
        let Shapes { input, output: [n, rows, columns] } = self.shape.shapes();
        let (size, patch) = (input.iter().product::<usize>(), self.shape.patch());
        let positions = finish.out.len() / n;
        if self.shape.is_its_own_patches() {
            let x = PatchRows::whole(&x[row * columns * patch..], patch);
            return multiply(x, positions, &panels[0], finish, (n, 0));
        }
        if self.shape.reads_lines() {
            return self.line_by_line(&panels[0], x, row, finish);
        }
        let patches = &mut Buffer::take(positions * patch)[..];
        let gather = |group: usize, patches: &mut [T]| {
            for (i, patches) in patches.chunks_exact_mut(columns * patch).enumerate() {
                let row = row + i;
                let x = &x[row / rows * size..][..size];
                self.shape.gather(group, x, row % rows, patches);
            }
        };
        if let [panels] = panels {
            gather(0, patches);
            let patches = PatchRows::whole(patches, patch);
            return multiply(patches, positions, panels, finish, (n, 0));
        }
        assert!(finish.signs.is_none() && finish.open.is_none(), "groups give no bits");
        if !matches!(finish.addend, Addend::Output) {
            // The numbers that fill up the last panel.
            finish.out.fill(T::ZERO);
        }
        for (group, panels) in panels.iter().enumerate() {
            gather(group, patches);
            let patches = PatchRows::whole(patches, patch);
            let finish = Finish { out: finish.out, signs: None, ..finish };
            multiply(patches, positions, panels, finish, (n, group * panels.n()));
        }
    }

    /// As [`Self::rows`], without gathering.
    fn line_by_line(&self, panels: &Panels<T>, x: &[T], row: usize, finish: Finish<'_, T>) {
        let Shapes { input, output: [n, rows, columns] } = self.shape.shapes();
        let (size, pitch) = (input.iter().product::<usize>(), self.shape.line());
        let [tall, wide] = self.shape.axes;
        let end = row + finish.out.len() / (columns * n);
        let mut parts = finish.parts((row..end).map(|_| columns * n)).into_iter();
        let mut row = row;
        while row < end {
            // The rest of this sample, or of the block.
            let (first, last) = (row % rows, rows.min(row % rows + end - row));
            let sample = &x[row / rows * size..][..size];
            let mut padded;
            let lines = if self.shape.pads() {
                padded = Buffer::take(self.shape.lines_of(last - first) * pitch);
                self.shape.lines(sample, (first, last), &mut padded);
                &padded[..]
            } else {
                &sample[first * tall.stride * pitch..]
            };
            for (i, finish) in parts.by_ref().take(last - first).enumerate() {
                let values = &lines[i * tall.stride * pitch..];
                let (stride, pitch) = (wide.stride * input[0], tall.dilation * pitch);
                let patches = PatchRows { values, stride, runs: tall.kernel, pitch };
                multiply(patches, columns, panels, finish, (n, 0));
            }
            row += last - first;
        }
    }

    /// As [`Self::run`], then `ReLU` if `relu`, and pooling. `tape` receives the winning tap of every output.
    pub fn run_pooled(&self, pool: &Pool, relu: bool, x: &[T], out: &mut [T], tape: &mut [u8]) {
        let shapes = self.shape.shapes();
        let size = shapes.input.iter().product::<usize>();
        let unpooled = shapes.output.iter().product::<usize>();
        let pooled = out.len() / (x.len() / size);
        let cost = x.len() / size * unpooled * self.shape.fan_in();
        let parts = x.chunks(size).zip(out.chunks_mut(pooled).zip(tape.chunks_mut(pooled)));
        tasks::each(cost, parts, |_, (x, (out, tape))| {
            let sums = &mut Buffer::take(unpooled)[..];
            let finish = Finish { relu, bias: self.bias.as_deref(), ..Finish::plain(sums) };
            match &self.packed {
                Packed::Winograd(filters) => winograd::conv_here(filters, shapes, x, finish),
                Packed::Taps(_) | Packed::Depthwise(_) => unreachable!("no pooling follows at once"),
                Packed::Patches(panels) => {
                    let block = self.shape.block_rows(size_of::<T>());
                    let line = shapes.output[0] * shapes.output[2];
                    let lengths = sums_of(shapes.output[1], block).map(|rows| rows * line);
                    for (i, finish) in finish.parts(lengths).into_iter().enumerate() {
                        self.rows(panels, x, i * block, finish);
                    }
                }
            }
            pool_sample(pool, shapes.output, relu, sums, out, tape);
        });
    }
}

/// The lengths of blocks of at most `block` that add up to `all`.
fn sums_of(all: usize, block: usize) -> impl Iterator<Item = usize> {
    (0..all).step_by(block).map(move |start| block.min(all - start))
}

/// Packs each group's weight into panels: a matrix of patch positions by outputs, or its transpose.
fn pack_groups<T: Real>(shape: &Conv, weight: &[T], scale: Option<&[T]>, transposed: bool) -> Vec<Panels<T>> {
    let ([_, outputs], patch) = (shape.group(), shape.patch());
    let pack = |group: usize| {
        let at = |p: usize, o: usize| match shape.weight_index(group, o, p) {
            None => T::ZERO,
            Some(i) => weight[i] * scale.map_or(T::from_f64(1.0), |s| s[group * outputs + o]),
        };
        match transposed {
            false => Panels::pack(patch, outputs, at),
            true => Panels::pack(outputs, patch, |o, p| at(p, o)),
        }
    };
    (0..shape.groups).map(pack).collect()
}

/// A weight packed for the input gradient.
#[derive(Debug)]
pub struct ConvBackward<T: Real> {
    shape: Conv,
    packed: Packed<T>,
}

impl<T: Real> ConvBackward<T> {
    /// Packs a torch weight `[out, in / groups, kh, kw]`, each output channel times `scale`.
    pub fn pack(shape: &Conv, numerics: Numerics, weight: &[T], scale: Option<&[T]>) -> Self {
        let packed = match shape.winograd(numerics) {
            Some([_, kind]) => {
                let weight = Weight { values: weight, channels: [shape.channels, shape.input[0]], scale };
                Packed::Winograd(Filters::pack(kind, weight, true))
            }
            None if shape.pixels && shape.groups == 1 => Packed::Taps(pixels::taps(shape, weight, scale)),
            None if shape.is_depthwise() => {
                let taps = depthwise::taps(shape, weight, scale);
                let flipped = depthwise::transposed(shape).is_some();
                Packed::Depthwise(if flipped {
                    depthwise::opposite(&taps, stored(shape.channels))
                } else {
                    taps
                })
            }
            None => Packed::Patches(pack_groups(shape, weight, scale, true)),
        };
        Self { shape: *shape, packed }
    }

    /// Stored shapes of this pass: from the output to the input.
    fn shapes(&self) -> Shapes {
        let Shapes { input, output } = self.shape.shapes();
        Shapes { input: output, output: input }
    }

    /// `finish(dx)` from the gradient of the convolution's output.
    ///
    /// # Panics
    /// If a length does not fit the shape.
    pub fn run(&self, dy: &[T], finish: Finish<'_, T>) {
        let Shapes { input, output } = self.shapes();
        let samples = dy.len() / input.iter().product::<usize>();
        let size = output.iter().product::<usize>();
        assert_eq!(finish.out.len(), samples * size);
        let cost = dy.len() * self.shape.fan_in();
        let dys = dy.chunks(input.iter().product());
        match &self.packed {
            Packed::Winograd(filters) => winograd::conv(filters, self.shapes(), dy, finish),
            Packed::Taps(taps) => {
                let parts = finish.parts((0..samples).map(|_| size));
                tasks::each(cost, dys.zip(parts), |_, (dy, finish)| {
                    pixels::gradient(&self.shape, taps, dy, finish);
                });
            }
            Packed::Depthwise(taps) => {
                let parts = finish.parts((0..samples).map(|_| size));
                let transposed = depthwise::transposed(&self.shape);
                tasks::each(cost, dys.zip(parts), |_, (dy, finish)| match &transposed {
                    Some(shape) => depthwise::rows(shape, taps, dy, 0, finish),
                    None => depthwise::spread(&self.shape, taps, dy, finish),
                });
            }
            Packed::Patches(panels) if self.shape.is_its_own_patches() => {
                // Rows of the patch matrix, some at a time.
                let (patch, n) = (self.shape.patch(), input[0]);
                let most = (PATCHES / (n * size_of::<T>())).max(1);
                let block = most.min((dy.len() / n).div_ceil(TASKS)).max(1);
                let parts = finish.parts(sums_of(dy.len() / n, block).map(|rows| rows * patch));
                tasks::each(cost, dy.chunks(block * n).zip(parts), |_, (dy, finish)| {
                    multiply(PatchRows::whole(dy, n), dy.len() / n, &panels[0], finish, (patch, 0));
                });
            }
            Packed::Patches(panels) => {
                let parts = finish.parts((0..samples).map(|_| size));
                tasks::each(cost, dys.zip(parts), |_, (dy, finish)| self.sample(panels, dy, finish));
            }
        }
    }

    /// Computes one sample by scattering patches.
    fn sample(&self, panels: &[Panels<T>], dy: &[T], finish: Finish<'_, T>) {
        let Shapes { input: [n, rows, columns], .. } = self.shapes();
        let (patch, [_, group_n]) = (self.shape.patch(), self.shape.group());
        let block = self.shape.block_rows(size_of::<T>()).min(rows);
        let size = finish.out.len();
        let mut scratch = Buffer::take(size + block * columns * patch);
        let (dx, patches) = scratch.split_at_mut(size);
        dx.fill(T::ZERO);
        for (group, panels) in panels.iter().enumerate() {
            for (i, dy) in dy.chunks(block * columns * n).enumerate() {
                let positions = dy.len() / n;
                let patches = &mut patches[..positions * patch];
                let dy = PatchRows::whole(&dy[group * group_n..], n);
                multiply(dy, positions, panels, Finish::plain(patches), (patch, 0));
                self.shape.scatter(group, patches, i * block, dx);
            }
        }
        finish_all(dx, finish);
    }

    /// As [`Self::run`] for a convolution that was pooled: `dy` is the gradient of the pooling's output.
    pub fn run_pooled(&self, pool: &Pool, tape: &[u8], dy: &[T], finish: Finish<'_, T>) {
        let shapes = self.shapes();
        let (unpooled, size) =
            (shapes.input.iter().product::<usize>(), shapes.output.iter().product::<usize>());
        let samples = finish.out.len() / size;
        let pooled = dy.len() / samples;
        let parts = finish.parts((0..samples).map(|_| size));
        let cost = samples * unpooled * self.shape.fan_in();
        let parts = dy.chunks(pooled).zip(tape.chunks(pooled)).zip(parts);
        tasks::each(cost, parts, |_, ((dy, tape), finish)| {
            let sums = &mut Buffer::take(unpooled)[..];
            pool_sample_gradient(pool, shapes.input, tape, dy, sums);
            match &self.packed {
                Packed::Winograd(filters) => winograd::conv_here(filters, shapes, sums, finish),
                Packed::Taps(taps) => pixels::gradient(&self.shape, taps, sums, finish),
                Packed::Depthwise(_) => unreachable!("no pooling follows at once"),
                Packed::Patches(panels) if self.shape.is_its_own_patches() => {
                    let (patch, n) = (self.shape.patch(), shapes.input[0]);
                    let sums = PatchRows::whole(sums, n);
                    multiply(sums, unpooled / n, &panels[0], finish, (patch, 0));
                }
                Packed::Patches(panels) => self.sample(panels, sums, finish),
            }
        });
    }
}
