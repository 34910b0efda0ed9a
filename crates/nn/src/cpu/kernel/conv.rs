//! The patches of a convolution in memory, and the choice of its kernels.
//!
//! Channels are stored in whole panels of 16 ([`stored`]), filled up with zeros. Winograd's convolution is used
//! where it fits and the numerics allow it. All other convolutions multiply the matrix of patches. The patches are
//! read in place if image rows are long enough; otherwise they are gathered, some rows at a time. A linear layer is
//! a convolution whose kernel covers its input. Its weight `[out, c h w]` can be read as `[out, c, h, w]`, so no
//! flattening is needed.

use std::ops::Deref;

use super::Real;
use super::vector::PANEL;
use super::winograd::{Shapes, TilingKind};
use crate::graph::{Axis, ConvShape, Numerics};

/// A convolution for the kernels: its shape, and how its input is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Its shape.
    pub shape: ConvShape,
    /// Whether its input is pixels, which are stored without filling.
    pub pixels: bool,
}

impl Deref for Conv {
    type Target = ConvShape;
    fn deref(&self) -> &ConvShape {
        &self.shape
    }
}

/// Count of numbers that store the channels of a position: whole panels. Only pixels are stored without filling.
pub fn stored(channels: usize) -> usize {
    channels.next_multiple_of(PANEL)
}

/// Bytes of gathered patches that stay in a core's own cache.
pub(super) const PATCHES: usize = 256 << 10;

/// Whether a max pooling may follow such a convolution in one pass. Its filters must be few enough for every task
/// to read all of them, and to pool a whole sample at once.
pub(crate) fn pools_at_once(shape: &ConvShape) -> bool {
    shape.groups == 1 && stored(shape.input[0]) * stored(shape.channels) <= 128 * 128
}

/// The kernel columns that fall on an image row of length `w`, as a half-open range, for a kernel that begins at
/// `x` of the padded row.
fn on_image(axis: &Axis, w: usize, x: usize) -> (usize, usize) {
    let from = axis.before.saturating_sub(x).div_ceil(axis.dilation).min(axis.kernel);
    let to = (w + axis.before).saturating_sub(x).div_ceil(axis.dilation);
    (from, axis.kernel.min(to).max(from))
}

impl Conv {
    /// Stored shapes of input and output.
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
        self.axes[0].kernel * self.axes[1].kernel * self.group()[0]
    }

    /// Whether the input already lies in memory as the patch matrix.
    pub(super) fn is_its_own_patches(&self) -> bool {
        // Without padding, a kernel as large as the input has no room for dilation.
        let whole = self.kernel() == [self.input[1], self.input[2]];
        let point = self.axes == [Axis::even(1, 1, 0); 2];
        self.groups == 1 && !self.pads() && (whole || point)
    }

    /// The tilings of the forward pass and of the input gradient, if they fit and save products.
    pub(super) fn winograd(&self, numerics: Numerics) -> Option<[TilingKind; 2]> {
        let [_, h, w] = self.input;
        let [_, rows, columns] = self.output();
        let stride = self.axes[0].stride;
        let fits = self.axes == [Axis::even(3, stride, 1); 2] && self.groups == 1 && !self.pixels;
        if numerics == Numerics::Exact || !fits {
            return None;
        }
        let tiles = rows.div_ceil(4) * columns.div_ceil(4);
        // With more than four fifths of the products, the transforms cost more than they save.
        let saves = |points: usize| tiles * points * 5 <= rows * columns * 9 * 4;
        match stride {
            1 if saves(36) => Some([TilingKind::Same, TilingKind::Same]),
            2 if saves(81) && h.is_multiple_of(2) && w.is_multiple_of(2) => {
                Some([TilingKind::Down, TilingKind::Up])
            }
            _ => None,
        }
    }

    /// Whether patches are read in place, with one product per output row. They are gathered if groups or dilation
    /// split them, or if a row has so few that products over several rows are faster.
    pub(super) fn reads_lines(&self) -> bool {
        self.groups == 1 && self.axes[1].dilation == 1 && self.output()[2] >= 8
    }

    /// Count of numbers in an image row with its padding.
    pub(super) fn line(&self) -> usize {
        let [c, _, w] = self.shapes().input;
        self.axes[1].padded(w) * c
    }

    /// Output rows whose patches fill a block.
    pub(super) fn block_rows(&self, size: usize) -> usize {
        let [_, rows, columns] = self.output();
        if self.reads_lines() && !self.is_its_own_patches() {
            return (PATCHES / (self.axes[0].stride * self.line() * size)).clamp(1, rows);
        }
        (PATCHES / (columns * self.patch() * size).max(1)).max(1)
    }

    /// Copies the image rows, with their padding, that the kernel covers at output rows `first..last` of a sample.
    pub(super) fn lines<T: Real>(&self, x: &[T], (first, last): (usize, usize), to: &mut [T]) {
        let ([c, h, w], [rows, columns]) = (self.shapes().input, self.axes);
        let (left, end) = (columns.before * c, (columns.before + w) * c);
        for (i, line) in to.chunks_exact_mut(self.line()).take(self.lines_of(last - first)).enumerate() {
            // Above the image, the difference wraps around and is too large as well.
            let y = (first * rows.stride + i).wrapping_sub(rows.before);
            if y >= h {
                line.fill(T::ZERO);
                continue;
            }
            line[..left].fill(T::ZERO);
            line[left..end].copy_from_slice(&x[y * w * c..][..w * c]);
            line[end..].fill(T::ZERO);
        }
    }

    /// Number of image rows that the kernel covers at `rows` output rows.
    pub(super) fn lines_of(&self, rows: usize) -> usize {
        (rows - 1) * self.axes[0].stride + self.axes[0].extent()
    }

    /// Gathers the patch matrix of a group, for output rows from `first` on (of one sample).
    pub(super) fn gather<T: Real>(&self, group: usize, x: &[T], first: usize, patches: &mut [T]) {
        let ([c, h, w], [rows, columns]) = (self.shapes().input, self.axes);
        let [gc, _] = self.group();
        let width = self.output()[2];
        for (i, patch) in patches.chunks_exact_mut(self.patch()).enumerate() {
            let (y, x0) = ((first + i / width) * rows.stride, i % width * columns.stride);
            let (from, to) = on_image(&columns, w, x0);
            for (ky, line) in patch.chunks_exact_mut(columns.kernel * gc).enumerate() {
                // Above the image, the difference wraps around and is too large as well.
                let iy = (y + ky * rows.dilation).wrapping_sub(rows.before);
                if iy >= h || from == to {
                    line.fill(T::ZERO);
                    continue;
                }
                line[..from * gc].fill(T::ZERO);
                line[to * gc..].fill(T::ZERO);
                let start = (iy * w + x0 + from * columns.dilation - columns.before) * c;
                if gc != c || columns.dilation > 1 {
                    let step = columns.dilation * c;
                    for (k, line) in line[from * gc..to * gc].chunks_exact_mut(gc).enumerate() {
                        line.copy_from_slice(&x[start + k * step + group * gc..][..gc]);
                    }
                } else if c < PANEL {
                    // Pixels: so few numbers that a call would cost more than copying them.
                    for (to, from) in line[from * gc..to * gc].iter_mut().zip(&x[start..]) {
                        *to = *from;
                    }
                } else {
                    line[from * gc..to * gc].copy_from_slice(&x[start..][..(to - from) * c]);
                }
            }
        }
    }

    /// The transpose of [`Self::gather`], which adds to `dx`.
    pub(super) fn scatter<T: Real>(&self, group: usize, patches: &[T], first: usize, dx: &mut [T]) {
        let ([c, h, w], [rows, columns]) = (self.shapes().input, self.axes);
        let [gc, _] = self.group();
        let width = self.output()[2];
        for (i, patch) in patches.chunks_exact(self.patch()).enumerate() {
            let (y, x0) = ((first + i / width) * rows.stride, i % width * columns.stride);
            let (from, to) = on_image(&columns, w, x0);
            for (ky, line) in patch.chunks_exact(columns.kernel * gc).enumerate() {
                let iy = (y + ky * rows.dilation).wrapping_sub(rows.before);
                if iy >= h || from == to {
                    continue;
                }
                let start = (iy * w + x0 + from * columns.dilation - columns.before) * c;
                if gc == c && columns.dilation == 1 {
                    for (d, v) in dx[start..].iter_mut().zip(&line[from * c..to * c]) {
                        *d += *v;
                    }
                    continue;
                }
                let step = columns.dilation * c;
                for (k, line) in line[from * gc..to * gc].chunks_exact(gc).enumerate() {
                    for (d, v) in dx[start + k * step + group * gc..][..gc].iter_mut().zip(line) {
                        *d += *v;
                    }
                }
            }
        }
    }

    /// Index into torch's weight `[out, in / groups, kh, kw]` of a group's output and of position `p` of its patch;
    /// `None` if either only fills up a panel.
    pub(super) fn weight_index(&self, group: usize, output: usize, p: usize) -> Option<usize> {
        let ([gc, _], taps) = (self.group(), self.axes[0].kernel * self.axes[1].kernel);
        let [true_in, true_out] = [self.input[0], self.channels].map(|c| c / self.groups);
        let (channel, tap) = (p % gc, p / gc);
        (channel < true_in && output < true_out)
            .then(|| ((group * true_out + output) * true_in + channel) * taps + tap)
    }
}
