//! Shapes of convolutions and poolings, and the numbers that describe layers.

/// Default epsilon of batch norm, which is added to the variance, as in torch.
pub const EPSILON: f64 = 1e-5;

/// How the sums of a convolution are computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Numerics {
    /// In the fastest way: Winograd's convolution where it fits.
    #[default]
    Fast,
    /// By the definition: one chain of multiply-adds per output.
    Exact,
}

/// A convolution along one axis: rows or columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Taps of the kernel.
    pub kernel: usize,
    /// Distance between kernel positions.
    pub stride: usize,
    /// Zeros added before the input: above it, or on its left.
    pub before: usize,
    /// Zeros added after the input: below it, or on its right.
    pub after: usize,
    /// Distance between the kernel's taps: 1 if they are neighbours.
    pub dilation: usize,
}

impl Axis {
    /// A kernel with the same padding on both sides and neighbouring taps.
    pub const fn even(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel, stride, before: padding, after: padding, dilation: 1 }
    }

    /// Number of positions from the first tap to the last one.
    pub fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Length of the input with its padding.
    pub fn padded(&self, input: usize) -> usize {
        self.before + input + self.after
    }

    /// Output length for an input of this length; `None` if the kernel is longer than the padded input.
    pub fn output(&self, input: usize) -> Option<usize> {
        self.padded(input).checked_sub(self.extent()).map(|free| free / self.stride + 1)
    }

    /// Whether some window has no tap on an input of this length.
    pub fn misses(&self, input: usize) -> bool {
        let on = |at: usize| at >= self.before && at < self.before + input;
        let windows = 0..self.output(input).unwrap_or(0);
        // Without dilation only the first and the last window can miss the input, but checking all windows is
        // cheap.
        windows
            .map(|window| window * self.stride)
            .any(|start| !(0..self.kernel).any(|tap| on(start + tap * self.dilation)))
    }

    /// Whether padding is added on either side.
    pub fn pads(&self) -> bool {
        self.before > 0 || self.after > 0
    }
}

/// Shape of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Input channels, height, width.
    pub input: [usize; 3],
    /// Output channels.
    pub channels: usize,
    /// Along rows (top to bottom) and along columns (left to right).
    pub axes: [Axis; 2],
    /// Number of groups into which input and output channels are split. Each output reads only the inputs of its
    /// group.
    pub groups: usize,
}

impl ConvShape {
    /// Output channels, height, width.
    pub fn output(&self) -> [usize; 3] {
        let [rows, columns] = [0, 1].map(|i| self.axes[i].output(self.input[i + 1]).unwrap_or(0));
        [self.channels, rows, columns]
    }

    /// Kernel height, width.
    pub fn kernel(&self) -> [usize; 2] {
        self.axes.map(|axis| axis.kernel)
    }

    /// Number of inputs that an output sums.
    pub fn fan_in(&self) -> usize {
        self.axes[0].kernel * self.axes[1].kernel * self.input[0] / self.groups
    }

    /// Whether output channel `i` reads only input channel `i`.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.input[0] && self.groups == self.channels
    }

    /// Whether there is padding on any side.
    pub fn pads(&self) -> bool {
        self.axes.iter().any(Axis::pads)
    }
}

/// Options of a square convolution, for [`Network::conv`](crate::Network::conv).
#[derive(Debug, Clone, Copy)]
pub struct Conv2d {
    /// Output channels.
    pub channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Distance between kernel positions.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// Options of a convolution whose axes differ, for [`Network::conv`](crate::Network::conv).
#[derive(Debug, Clone, Copy)]
pub struct ConvAxes {
    /// Output channels.
    pub channels: usize,
    /// Along rows (top to bottom) and along columns (left to right).
    pub axes: [Axis; 2],
    /// Whether a bias is added.
    pub bias: bool,
}

impl From<Conv2d> for ConvAxes {
    fn from(options: Conv2d) -> Self {
        let Conv2d { channels, kernel, stride, padding, bias } = options;
        Self { channels, axes: [Axis::even(kernel, stride, padding); 2], bias }
    }
}

/// Options of a pooling with a square window, for [`Network::max_pool`](crate::Network::max_pool).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2d {
    /// Side of the window, at most 15.
    pub size: usize,
    /// Distance between windows.
    pub stride: usize,
    /// Positions added on each side. They never win a maximum, and count as zeros in a mean.
    pub padding: usize,
}

/// A pooling window. Positions that padding adds never win a maximum, and count as zeros in a mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Along rows (top to bottom) and along columns (left to right).
    pub axes: [Axis; 2],
}

impl From<Pool2d> for Pool {
    fn from(Pool2d { size, stride, padding }: Pool2d) -> Self {
        Self { axes: [Axis::even(size, stride, padding); 2] }
    }
}

impl Pool {
    /// Number of positions in a window.
    pub fn taps(&self) -> usize {
        self.axes[0].kernel * self.axes[1].kernel
    }

    /// Output height and width for an input of this height and width; `None` if the window does not fit.
    pub fn output(&self, [h, w]: [usize; 2]) -> Option<[usize; 2]> {
        Some([self.axes[0].output(h)?, self.axes[1].output(w)?])
    }
}
