//! Convolution with what follows it, and its gradients.
//!
//! Channels are stored in whole panels of 16 ([`stored`]), filled up with zeros. Where Winograd's convolution fits, and
//! numerics allow it, it runs; everything else gathers patches of some image rows into a small matrix that stays in cache,
//! and multiplies. A linear layer is a convolution whose kernel covers its input: its weight `[out, c h w]` read as
//! `[out, c, h, w]` means the same, and no flattening happens anywhere.

use rayon::prelude::*;

use super::gemm::{Panels, Rows, multiply};
use super::pointwise::finish_all;
use super::pool::{Pool, pool_sample, pool_sample_gradient};
use super::vector::PANEL;
use super::winograd::{self, Filters, Kind, Shapes, Weight};
use super::{Addend, Buffer, Finish, Real, pixels};

/// Shape of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Input channels, height, width.
    pub input: [usize; 3],
    /// Output channels.
    pub channels: usize,
    /// Kernel height, width.
    pub kernel: [usize; 2],
    /// Distance of kernel positions.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
    /// Parts into which input and output channels are cut; each output reads its own part alone.
    pub groups: usize,
    /// Is its input pixels, which are stored without filling?
    pub pixels: bool,
}

/// How sums of a convolution are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Numerics {
    /// In the fastest way: Winograd's convolution where it fits.
    #[default]
    Fast,
    /// By the definition: one chain of multiply-adds an output.
    Exact,
}

/// Numbers that a position's channels take in memory: whole panels. Pixels alone are stored as they are.
pub fn stored(channels: usize) -> usize {
    channels.next_multiple_of(PANEL)
}

/// Bytes of gathered patches that stay in a core's own cache.
pub(super) const PATCHES: usize = 256 << 10;

/// Tasks of a product that could be one, so that threads share it.
const TASKS: usize = 8;

impl Conv {
    /// Output channels, height, width.
    pub fn output(&self) -> [usize; 3] {
        let axis = |i: usize| (self.input[i + 1] + 2 * self.padding - self.kernel[i]) / self.stride + 1;
        [self.channels, axis(0), axis(1)]
    }

    /// Inputs that an output sums.
    pub fn fan_in(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.input[0] / self.groups
    }

    /// Stored input and output.
    pub(super) fn shapes(&self) -> Shapes {
        let [c, h, w] = self.input;
        let [n, rows, columns] = self.output();
        let c = if self.pixels { c } else { stored(c) };
        Shapes { input: [c, h, w], output: [stored(n), rows, columns] }
    }

    /// Input and output channels of a group in memory.
    pub(super) fn group(&self) -> [usize; 2] {
        match self.groups {
            1 => [self.shapes().input[0], stored(self.channels)],
            groups => [self.input[0] / groups, self.channels / groups],
        }
    }

    /// Length of a group's patch, ordered (kernel row, kernel column, channel).
    pub(super) fn patch(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.group()[0]
    }

    /// Does the input already lie in memory as the patch matrix?
    fn is_its_own_patches(&self) -> bool {
        let whole = self.kernel[0] == self.input[1] && self.kernel[1] == self.input[2];
        let point = self.kernel == [1, 1] && self.stride == 1;
        self.groups == 1 && self.padding == 0 && (whole || point)
    }

    /// The tilings of the forward pass and of the input gradient, where they fit and save products.
    pub(super) fn winograd(&self, numerics: Numerics) -> Option<[Kind; 2]> {
        let [_, h, w] = self.input;
        let [_, rows, columns] = self.output();
        let fits = self.kernel == [3, 3] && self.padding == 1 && self.groups == 1 && !self.pixels;
        if numerics == Numerics::Exact || !fits {
            return None;
        }
        let tiles = rows.div_ceil(4) * columns.div_ceil(4);
        // Four fifths of the products, or it does not pay for its transforms.
        let saves = |points: usize| tiles * points * 5 <= rows * columns * 9 * 4;
        match self.stride {
            1 if saves(36) => Some([Kind::Same, Kind::Same]),
            2 if saves(81) && h.is_multiple_of(2) && w.is_multiple_of(2) => Some([Kind::Down, Kind::Up]),
            _ => None,
        }
    }

    /// Are its filters few enough for every task to go through them alone, and to pool a whole sample at once?
    pub(crate) fn pools_at_once(&self) -> bool {
        self.groups == 1 && stored(self.input[0]) * stored(self.channels) <= 128 * 128
    }

    /// Are patches read where they lie, one product an output row? They are gathered where groups cut them, and where so few
    /// stand in a row that products of several rows together pay.
    fn reads_lines(&self) -> bool {
        self.groups == 1 && self.output()[2] >= 8
    }

    /// Numbers of an image row with its padding.
    fn line(&self) -> usize {
        let [c, _, w] = self.shapes().input;
        (w + 2 * self.padding) * c
    }

    /// Output rows whose patches fill a block.
    fn block_rows(&self, size: usize) -> usize {
        let [_, rows, columns] = self.output();
        if self.reads_lines() && !self.is_its_own_patches() {
            return (PATCHES / (self.stride * self.line() * size)).clamp(1, rows);
        }
        (PATCHES / (columns * self.patch() * size).max(1)).max(1)
    }

    /// The image rows, with their padding, below the kernel at output rows from `first` to before `last` of a sample.
    fn lines<T: Real>(&self, x: &[T], (first, last): (usize, usize), to: &mut [T]) {
        let [c, h, w] = self.shapes().input;
        for (i, line) in to.chunks_exact_mut(self.line()).take(self.lines_of(last - first)).enumerate() {
            // Above the image the difference wraps, and is too large as well.
            let y = (first * self.stride + i).wrapping_sub(self.padding);
            if y >= h {
                line.fill(T::ZERO);
                continue;
            }
            line[..self.padding * c].fill(T::ZERO);
            line[self.padding * c..][..w * c].copy_from_slice(&x[y * w * c..][..w * c]);
            line[(self.padding + w) * c..].fill(T::ZERO);
        }
    }

    /// Image rows below the kernel at so many output rows.
    fn lines_of(&self, rows: usize) -> usize {
        (rows - 1) * self.stride + self.kernel[0]
    }

    /// The patch matrix of a group, for output rows from `first` on (of one sample).
    pub(super) fn gather<T: Real>(&self, group: usize, x: &[T], first: usize, patches: &mut [T]) {
        let ([c, h, w], [_, kw]) = (self.shapes().input, self.kernel);
        let [gc, _] = self.group();
        let columns = self.output()[2];
        let patch = self.patch();
        for (i, patch) in patches.chunks_exact_mut(patch).enumerate() {
            let (y, x0) = ((first + i / columns) * self.stride, i % columns * self.stride);
            // Kernel columns that fall on the image.
            let from = self.padding.saturating_sub(x0).min(kw);
            let to = kw.min((w + self.padding).saturating_sub(x0)).max(from);
            for (ky, line) in patch.chunks_exact_mut(kw * gc).enumerate() {
                // Above the image the difference wraps, and is too large as well.
                let iy = (y + ky).wrapping_sub(self.padding);
                if iy >= h || from == to {
                    line.fill(T::ZERO);
                    continue;
                }
                line[..from * gc].fill(T::ZERO);
                line[to * gc..].fill(T::ZERO);
                let start = (iy * w + x0 + from - self.padding) * c;
                if gc == c && c < PANEL {
                    // Pixels: so few numbers that a call would cost more than they do.
                    for (to, from) in line[from * gc..to * gc].iter_mut().zip(&x[start..]) {
                        *to = *from;
                    }
                } else if gc == c {
                    line[from * gc..to * gc].copy_from_slice(&x[start..][..(to - from) * c]);
                } else {
                    for (k, line) in line[from * gc..to * gc].chunks_exact_mut(gc).enumerate() {
                        line.copy_from_slice(&x[start + k * c + group * gc..][..gc]);
                    }
                }
            }
        }
    }

    /// The transpose of [`Self::gather`], added.
    fn scatter<T: Real>(&self, group: usize, patches: &[T], first: usize, dx: &mut [T]) {
        let ([c, h, w], [_, kw]) = (self.shapes().input, self.kernel);
        let [gc, _] = self.group();
        let columns = self.output()[2];
        for (i, patch) in patches.chunks_exact(self.patch()).enumerate() {
            let (y, x0) = ((first + i / columns) * self.stride, i % columns * self.stride);
            let from = self.padding.saturating_sub(x0).min(kw);
            let to = kw.min((w + self.padding).saturating_sub(x0)).max(from);
            for (ky, line) in patch.chunks_exact(kw * gc).enumerate() {
                let iy = (y + ky).wrapping_sub(self.padding);
                if iy >= h || from == to {
                    continue;
                }
                let start = (iy * w + x0 + from - self.padding) * c;
                if gc == c {
                    for (d, v) in dx[start..].iter_mut().zip(&line[from * c..to * c]) {
                        *d += *v;
                    }
                    continue;
                }
                for (k, line) in line[from * gc..to * gc].chunks_exact(gc).enumerate() {
                    for (d, v) in dx[start + k * c + group * gc..][..gc].iter_mut().zip(line) {
                        *d += *v;
                    }
                }
            }
        }
    }

    /// Index into torch's weight `[out, in / groups, kh, kw]` of a group's output and of position `p` of its patch; `None`
    /// where either is there only to fill a panel.
    pub(super) fn weight_index(&self, group: usize, output: usize, p: usize) -> Option<usize> {
        let ([gc, _], taps) = (self.group(), self.kernel[0] * self.kernel[1]);
        let [true_in, true_out] = [self.input[0], self.channels].map(|c| c / self.groups);
        let (channel, tap) = (p % gc, p / gc);
        (channel < true_in && output < true_out)
            .then(|| ((group * true_out + output) * true_in + channel) * taps + tap)
    }
}

/// A packed weight for one pass.
#[derive(Debug)]
enum Packed<T: Real> {
    /// One a group.
    Patches(Vec<Panels<T>>),
    Winograd(Filters<T>),
    /// For the gradient of pixels: `[kernel row, kernel column, channel][n]`.
    Taps(Vec<T>),
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
            Packed::Patches(panels) => {
                let block = self.shape.block_rows(size_of::<T>());
                let starts: Vec<usize> = (0..samples * rows).step_by(block).collect();
                let lengths = starts.iter().map(|s| (samples * rows).min(s + block) - s);
                let parts = finish.parts(lengths.map(|rows| rows * columns * n));
                starts.into_par_iter().zip(parts).for_each(|(row, finish)| self.rows(panels, x, row, finish));
            }
        }
    }

    /// Output rows from `row` on, counted through the batch.
    fn rows(&self, panels: &[Panels<T>], x: &[T], row: usize, finish: Finish<'_, T>) {
        let Shapes { input, output: [n, rows, columns] } = self.shape.shapes();
        let (size, patch) = (input.iter().product::<usize>(), self.shape.patch());
        let positions = finish.out.len() / n;
        if self.shape.is_its_own_patches() {
            let x = Rows::whole(&x[row * columns * patch..], patch);
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
            let patches = Rows::whole(patches, patch);
            return multiply(patches, positions, panels, finish, (n, 0));
        }
        assert!(finish.signs.is_none() && finish.open.is_none(), "groups give no bits");
        if !matches!(finish.addend, Addend::Output) {
            // What fills up the last panel.
            finish.out.fill(T::ZERO);
        }
        for (group, panels) in panels.iter().enumerate() {
            gather(group, patches);
            let patches = Rows::whole(patches, patch);
            let finish = Finish { out: finish.out, signs: None, ..finish };
            multiply(patches, positions, panels, finish, (n, group * panels.n()));
        }
    }

    /// As [`Self::rows`], without gathering.
    fn line_by_line(&self, panels: &Panels<T>, x: &[T], row: usize, finish: Finish<'_, T>) {
        let Shapes { input, output: [n, rows, columns] } = self.shape.shapes();
        let (size, pitch) = (input.iter().product::<usize>(), self.shape.line());
        let end = row + finish.out.len() / (columns * n);
        let mut parts = finish.parts((row..end).map(|_| columns * n)).into_iter();
        let mut padded = Buffer::take(0);
        let mut row = row;
        while row < end {
            // The rest of this sample, or of the block.
            let (first, last) = (row % rows, rows.min(row % rows + end - row));
            let sample = &x[row / rows * size..][..size];
            let lines = if self.shape.padding == 0 {
                &sample[first * self.shape.stride * pitch..]
            } else {
                padded = Buffer::take(self.shape.lines_of(last - first) * pitch);
                self.shape.lines(sample, (first, last), &mut padded);
                &padded[..]
            };
            for (i, finish) in parts.by_ref().take(last - first).enumerate() {
                let values = &lines[i * self.shape.stride * pitch..];
                let stride = self.shape.stride * input[0];
                let patches = Rows { values, stride, runs: self.shape.kernel[0], pitch };
                multiply(patches, columns, panels, finish, (n, 0));
            }
            row += last - first;
        }
        drop(padded);
    }

    /// As [`Self::run`], then `ReLU` if asked and pooling. `tape` receives the winning tap of every output.
    pub fn run_pooled(&self, pool: &Pool, relu: bool, x: &[T], out: &mut [T], tape: &mut [u8]) {
        let shapes = self.shape.shapes();
        let size = shapes.input.iter().product::<usize>();
        let unpooled = shapes.output.iter().product::<usize>();
        let pooled = out.len() / (x.len() / size);
        let parts = (x.par_chunks(size), out.par_chunks_mut(pooled), tape.par_chunks_mut(pooled));
        parts.into_par_iter().for_each(|(x, out, tape)| {
            let sums = &mut Buffer::take(unpooled)[..];
            let finish = Finish { relu, bias: self.bias.as_deref(), ..Finish::plain(sums) };
            match &self.packed {
                Packed::Winograd(filters) => winograd::conv_here(filters, shapes, x, finish),
                Packed::Taps(_) => unreachable!("for gradients alone"),
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

/// Lengths of blocks of `block` that make up `all`.
fn sums_of(all: usize, block: usize) -> impl Iterator<Item = usize> {
    (0..all).step_by(block).map(move |start| block.min(all - start))
}

/// Panels of each group's patch matrix, or of its transpose.
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
        match &self.packed {
            Packed::Winograd(filters) => winograd::conv(filters, self.shapes(), dy, finish),
            Packed::Taps(taps) => {
                let parts = finish.parts((0..samples).map(|_| size));
                let dys = dy.par_chunks(input.iter().product());
                dys.zip(parts).for_each(|(dy, finish)| pixels::gradient(&self.shape, taps, dy, finish));
            }
            Packed::Patches(panels) if self.shape.is_its_own_patches() => {
                // Rows of the patch matrix, some at a time.
                let (patch, n) = (self.shape.patch(), input[0]);
                let most = (PATCHES / (n * size_of::<T>())).max(1);
                let block = most.min((dy.len() / n).div_ceil(TASKS)).max(1);
                let parts = finish.parts(sums_of(dy.len() / n, block).map(|rows| rows * patch));
                dy.par_chunks(block * n).zip(parts).for_each(|(dy, finish)| {
                    multiply(Rows::whole(dy, n), dy.len() / n, &panels[0], finish, (patch, 0));
                });
            }
            Packed::Patches(panels) => {
                let parts = finish.parts((0..samples).map(|_| size));
                let dys = dy.par_chunks(input.iter().product());
                dys.zip(parts).for_each(|(dy, finish)| self.sample(panels, dy, finish));
            }
        }
    }

    /// One sample, by scattered patches.
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
                let dy = Rows::whole(&dy[group * group_n..], n);
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
        (dy.par_chunks(pooled), tape.par_chunks(pooled), parts).into_par_iter().for_each(
            |(dy, tape, finish)| {
                let sums = &mut Buffer::take(unpooled)[..];
                pool_sample_gradient(pool, shapes.input, tape, dy, sums);
                match &self.packed {
                    Packed::Winograd(filters) => winograd::conv_here(filters, shapes, sums, finish),
                    Packed::Taps(taps) => pixels::gradient(&self.shape, taps, sums, finish),
                    Packed::Patches(panels) if self.shape.is_its_own_patches() => {
                        let (patch, n) = (self.shape.patch(), shapes.input[0]);
                        let sums = Rows::whole(sums, n);
                        multiply(sums, unpooled / n, &panels[0], finish, (patch, 0));
                    }
                    Packed::Patches(panels) => self.sample(panels, sums, finish),
                }
            },
        );
    }
}
