//! Convolution with what follows it, and its gradients.
//!
//! Patches of a few samples are gathered into a small matrix that stays in cache, multiplied, and pooled before
//! anything is written out. A linear layer is a convolution whose kernel covers its input: its weight `[out, c h w]`
//! read as `[out, c, h, w]` means the same, and no flattening happens anywhere.

use rayon::prelude::*;

use super::Real;
use super::gemm::{Panels, accumulate, multiply};
use super::pool::{Pool, pool_sample, pool_sample_gradient};

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
}

/// What happens to a convolution's output before it is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    /// `ReLU`.
    pub relu: bool,
    /// Max pooling, after the `ReLU`.
    pub pool: Option<Pool>,
}

/// The winning taps of a pooled tail, one byte an output; empty without pooling.
pub type ConvTape = Vec<u8>;

/// Samples whose weight gradients are summed together: part of the result's definition, so never a tuning knob of threads.
const GROUP: usize = 16;
/// Rows of a block's patch matrix to aim for, so that small outputs fill the tiles.
const BLOCK_ROWS: usize = 96;

impl Conv {
    /// Output channels, height, width before the tail.
    pub fn output(&self) -> [usize; 3] {
        let axis = |i: usize| (self.input[i + 1] + 2 * self.padding - self.kernel[i]) / self.stride + 1;
        [self.channels, axis(0), axis(1)]
    }

    /// Output channels, height, width after the tail.
    pub fn tailed(&self, tail: &Tail) -> [usize; 3] {
        let [c, h, w] = self.output();
        match tail.pool {
            None => [c, h, w],
            Some(pool) => [c, pool.output(h).unwrap_or(0), pool.output(w).unwrap_or(0)],
        }
    }

    /// Length of a patch, ordered (kernel row, kernel column, channel).
    pub fn patch(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.input[0]
    }

    fn positions(&self) -> usize {
        let [_, h, w] = self.output();
        h * w
    }

    fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// Does the NHWC input already lie in memory as the patch matrix?
    fn is_its_own_patches(&self) -> bool {
        let whole = self.kernel[0] == self.input[1] && self.kernel[1] == self.input[2];
        let point = self.kernel == [1, 1] && self.stride == 1;
        self.padding == 0 && (whole || point)
    }

    fn block(&self) -> usize {
        (BLOCK_ROWS / self.positions()).max(1)
    }

    /// Calls `f(start in the patch matrix, start in the sample, length)` for each run that both share.
    #[inline(always)]
    fn runs(&self, mut f: impl FnMut(usize, usize, usize)) {
        let ([c, h, w], [kh, kw]) = (self.input, self.kernel);
        let [_, rows, columns] = self.output();
        for y in 0..rows {
            for x in 0..columns {
                let patch = (y * columns + x) * self.patch();
                // Kernel columns that fall on the image.
                let from = self.padding.saturating_sub(x * self.stride).min(kw);
                let to = kw.min((w + self.padding).saturating_sub(x * self.stride)).max(from);
                for ky in 0..kh {
                    let iy = y * self.stride + ky;
                    if iy >= self.padding && iy - self.padding < h && to > from {
                        let ix = x * self.stride + from - self.padding;
                        let start = ((iy - self.padding) * w + ix) * c;
                        f(patch + (ky * kw + from) * c, start, (to - from) * c);
                    }
                }
            }
        }
    }

    /// The patch matrix of one sample.
    fn gather<T: Real>(&self, x: &[T], patches: &mut [T]) {
        if self.padding > 0 {
            patches.fill(T::ZERO);
        }
        self.runs(|p, i, n| patches[p..p + n].copy_from_slice(&x[i..i + n]));
    }

    /// The transpose of [`Self::gather`], added.
    fn scatter<T: Real>(&self, patches: &[T], dx: &mut [T]) {
        self.runs(|p, i, n| {
            for (d, v) in dx[i..i + n].iter_mut().zip(&patches[p..p + n]) {
                *d += *v;
            }
        });
    }

    /// Index into a torch weight `[out, c, kh, kw]` of output `o` and position `p` of the patch.
    fn weight_index(&self, o: usize, p: usize) -> usize {
        let (c, taps) = (self.input[0], self.kernel[0] * self.kernel[1]);
        (o * c + p % c) * taps + p / c
    }
}

/// Weights packed for [`conv`] and [`conv_input_gradient`].
#[derive(Debug, Clone)]
pub struct ConvWeights<T> {
    forward: Panels<T>,
    bias: Option<Vec<T>>,
}

impl<T: Real> ConvWeights<T> {
    /// Packs a torch weight `[out, c, kh, kw]`, each output channel times `scale`.
    pub fn pack(conv: &Conv, weight: &[T], bias: Option<&[T]>, scale: Option<&[T]>) -> Self {
        let at =
            |p: usize, o: usize| weight[conv.weight_index(o, p)] * scale.map_or(T::from_f64(1.0), |s| s[o]);
        Self { forward: Panels::pack(conv.patch(), conv.channels, at), bias: bias.map(<[T]>::to_vec) }
    }

    /// The right-hand side of [`conv_input_gradient`].
    pub fn pack_backward(conv: &Conv, weight: &[T], scale: Option<&[T]>) -> Panels<T> {
        let at =
            |o: usize, p: usize| weight[conv.weight_index(o, p)] * scale.map_or(T::from_f64(1.0), |s| s[o]);
        Panels::pack(conv.channels, conv.patch(), at)
    }
}

/// `out = tail(conv(x) + bias)`, NHWC. `tape` must have one byte an output if the tail pools, else be empty.
pub fn conv<T: Real>(
    shape: &Conv,
    weights: &ConvWeights<T>,
    tail: &Tail,
    x: &[T],
    out: &mut [T],
    tape: &mut [u8],
) {
    let (block, positions, patch) = (shape.block(), shape.positions(), shape.patch());
    let stored = shape.tailed(tail).iter().product::<usize>();
    let output = shape.output();
    let tapes = if tail.pool.is_some() { stored } else { 0 };
    let jobs = x.chunks(block * shape.input_len()).zip(blocks(out, block * stored, tape, block * tapes));
    jobs.collect::<Vec<_>>().into_par_iter().for_each_init(
        Vec::new,
        |scratch: &mut Vec<T>, (x, (out, tape))| {
            let samples = out.len() / stored;
            let gathered = if shape.is_its_own_patches() { 0 } else { samples * positions * patch };
            scratch.resize(gathered + samples * positions * shape.channels, T::ZERO);
            let (patches, sums) = scratch.split_at_mut(gathered);
            let patches = patches_of(shape, x, patches);
            match tail.pool {
                None => multiply(patches, &weights.forward, weights.bias.as_deref(), tail.relu, out),
                Some(pool) => {
                    multiply(patches, &weights.forward, weights.bias.as_deref(), tail.relu, sums);
                    let sums = sums.chunks(positions * shape.channels);
                    for ((sums, out), tape) in sums.zip(out.chunks_mut(stored)).zip(tape.chunks_mut(stored)) {
                        pool_sample(&pool, output, tail.relu, sums, out, tape);
                    }
                }
            }
        },
    );
}

/// Gradient of [`conv`] with respect to `x`. `result` is its output and `gradient` the gradient of that.
pub fn conv_input_gradient<T: Real>(
    shape: &Conv,
    backward: &Panels<T>,
    tail: &Tail,
    (result, tape): (&[T], &[u8]),
    gradient: &[T],
    dx: &mut [T],
) {
    let (block, positions, patch) = (shape.block(), shape.positions(), shape.patch());
    let (input, stored) = (shape.input_len(), shape.tailed(tail).iter().product::<usize>());
    dx.par_chunks_mut(block * input).enumerate().for_each_init(Vec::new, |scratch: &mut Vec<T>, (i, dx)| {
        let samples = dx.len() / input;
        let inner = samples * positions * shape.channels;
        scratch.resize(inner + samples * positions * patch, T::ZERO);
        let (sums, patches) = scratch.split_at_mut(inner);
        let first = i * block;
        through_tail(shape, tail, stored, (result, tape), gradient, first, sums);
        if shape.is_its_own_patches() {
            multiply(sums, backward, None, false, dx);
        } else {
            multiply(sums, backward, None, false, patches);
            dx.fill(T::ZERO);
            for (patches, dx) in patches.chunks(positions * patch).zip(dx.chunks_mut(input)) {
                shape.scatter(patches, dx);
            }
        }
    });
}

/// Gradients of [`conv`] with respect to its weight `[out, c, kh, kw]` and its bias `[out]`, summed over the batch.
pub fn conv_weight_gradient<T: Real>(
    shape: &Conv,
    tail: &Tail,
    x: &[T],
    (result, tape): (&[T], &[u8]),
    gradient: &[T],
) -> (Vec<T>, Vec<T>) {
    let (positions, patch, channels) = (shape.positions(), shape.patch(), shape.channels);
    let (input, stored) = (shape.input_len(), shape.tailed(tail).iter().product::<usize>());
    let groups: Vec<(Vec<T>, Vec<T>)> = x
        .par_chunks(GROUP * input)
        .enumerate()
        .map(|(group, x)| {
            let (mut sums, mut bias) = (vec![T::ZERO; patch * channels], vec![T::ZERO; channels]);
            let block = shape.block().min(GROUP);
            let mut scratch = Vec::new();
            for (i, x) in x.chunks(block * input).enumerate() {
                let samples = x.len() / input;
                let gathered = if shape.is_its_own_patches() { 0 } else { samples * positions * patch };
                scratch.resize(gathered + samples * positions * channels, T::ZERO);
                let (patches, inner) = scratch.split_at_mut(gathered);
                let patches = patches_of(shape, x, patches);
                let first = group * GROUP + i * block;
                through_tail(shape, tail, stored, (result, tape), gradient, first, inner);
                accumulate(patches, patch, inner, channels, &mut sums);
                for row in inner.chunks(channels) {
                    for (b, v) in bias.iter_mut().zip(row) {
                        *b += *v;
                    }
                }
            }
            (sums, bias)
        })
        .collect();
    let (mut weight, mut bias) = (vec![T::ZERO; patch * channels], vec![T::ZERO; channels]);
    for (sums, b) in &groups {
        for p in 0..patch {
            for o in 0..channels {
                weight[shape.weight_index(o, p)] += sums[p * channels + o];
            }
        }
        for (total, b) in bias.iter_mut().zip(b) {
            *total += *b;
        }
    }
    (weight, bias)
}

/// The patch matrix of the samples `x`: gathered into `space`, or `x` itself.
fn patches_of<'a, T: Real>(shape: &Conv, x: &'a [T], space: &'a mut [T]) -> &'a [T] {
    if shape.is_its_own_patches() {
        return x;
    }
    for (x, patches) in x.chunks(shape.input_len()).zip(space.chunks_mut(shape.positions() * shape.patch())) {
        shape.gather(x, patches);
    }
    space
}

/// Gradient of the tail: `sums` receives the gradient of the convolution's own output, for samples from `first` on.
fn through_tail<T: Real>(
    shape: &Conv,
    tail: &Tail,
    stored: usize,
    (result, tape): (&[T], &[u8]),
    gradient: &[T],
    first: usize,
    sums: &mut [T],
) {
    let len = shape.positions() * shape.channels;
    let range = first * stored..(first + sums.len() / len) * stored;
    let gradient = &gradient[range.clone()];
    match (tail.pool, tail.relu) {
        (None, false) => sums.copy_from_slice(gradient),
        (None, true) => {
            for ((sum, g), r) in sums.iter_mut().zip(gradient).zip(&result[range]) {
                *sum = if *r > T::ZERO { *g } else { T::ZERO };
            }
        }
        (Some(pool), _) => {
            let tape = tape[range].chunks(stored);
            for ((sums, g), tape) in sums.chunks_mut(len).zip(gradient.chunks(stored)).zip(tape) {
                pool_sample_gradient(&pool, shape.output(), tape, g, sums);
            }
        }
    }
}

/// Chunks of two buffers side by side; the second may be unused (`tape_size` 0).
fn blocks<'a, T>(
    out: &'a mut [T],
    size: usize,
    tape: &'a mut [u8],
    tape_size: usize,
) -> impl Iterator<Item = (&'a mut [T], &'a mut [u8])> {
    let mut tape = tape;
    out.chunks_mut(size).map(move |out| {
        let take = tape_size.min(tape.len());
        let (head, rest) = std::mem::take(&mut tape).split_at_mut(take);
        tape = rest;
        (out, head)
    })
}
