//! Windows of convolutions and poolings: kernel, stride, dilation, and padding, which a file may set by a rule.

use temper_nn::Axis;

use crate::call::Call;
use crate::error::{Found, Problem};

/// Refuses images with a number of axes other than two.
pub(crate) fn planar(kernel: usize, what: &str) -> Found<()> {
    match kernel {
        2 => Ok(()),
        axes => Err(Problem::of(format!(
            "a {what} over {axes} axes is not supported; expected 2, rows and columns"
        ))),
    }
}

/// The window's two axes. `size` is the input's height and width.
pub(crate) fn axes(call: &Call<'_>, size: [usize; 2], kernel: [usize; 2]) -> Found<[Axis; 2]> {
    let strides = call.sizes::<2>("strides", 1)?;
    let dilations = call.sizes::<2>("dilations", 1)?;
    let pads = call.sizes::<4>("pads", 0)?;
    let rule = call.text("auto_pad", "NOTSET")?;
    let mut axes = [Axis::even(1, 1, 0); 2];
    for i in 0..2 {
        let (kernel, stride, dilation) = (kernel[i], strides[i], dilations[i]);
        if kernel == 0 || stride == 0 || dilation == 0 {
            return Err(Problem::of("kernel, strides and dilations must be at least 1"));
        }
        let axis = Axis { kernel, stride, before: 0, after: 0, dilation };
        let same = size[i].div_ceil(stride).saturating_sub(1) * stride + extent(&axis)?;
        let total = same.saturating_sub(size[i]);
        let (before, after) = match rule {
            "NOTSET" | "" => (pads[i], pads[i + 2]),
            "VALID" => (0, 0),
            "SAME_UPPER" => (total / 2, total - total / 2),
            "SAME_LOWER" => (total - total / 2, total / 2),
            other => return Err(Problem::Damaged(format!("`auto_pad` is `{other}`"))),
        };
        axes[i] = Axis { before, after, ..axis };
    }
    Ok(axes)
}

fn extent(axis: &Axis) -> Found<usize> {
    let extent = (axis.kernel - 1).checked_mul(axis.dilation).filter(|extent| *extent <= 1 << 24);
    extent.map(|extent| extent + 1).ok_or_else(|| Problem::of("a kernel longer than 2^24"))
}

/// Adds padding at the end of an axis for as many outputs as rounding up yields (`ceil_mode`). The last window begins
/// within the input or the padding before it.
pub(crate) fn rounded_up(axis: Axis, size: usize) -> Axis {
    let Some(free) = axis.padded(size).checked_sub(axis.extent()) else { return axis };
    let mut outputs = free.div_ceil(axis.stride) + 1;
    if (outputs - 1) * axis.stride >= axis.before + size {
        outputs -= 1;
    }
    let needed = (outputs - 1) * axis.stride + axis.extent();
    let after = needed.saturating_sub(axis.before + size).max(axis.after);
    // The existing padding may be more than the windows need.
    match after < axis.extent() {
        true => Axis { after, ..axis },
        false => axis,
    }
}
