//! The taps of every window position, gathered by index.

use candle_core::{Result, Tensor, bail};

use crate::graph::Axis;

/// The taps of every window, `[n, c, windows, taps]`, for windows that differ by axis. Taps outside the image have
/// the value `beside`.
pub(super) fn windows(x: &Tensor, [tall, wide]: [Axis; 2], beside: f64) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (Some(rows), Some(columns)) = (tall.output(h), wide.output(w)) else {
        bail!("the window is larger than its input");
    };
    let taps = tall.kernel * wide.kernel;
    // The position in the image of each window's taps; `h * w` represents taps outside the image.
    let position = |at: usize| {
        let (window, tap) = (at / taps, at % taps);
        let y = window / columns * tall.stride + tap / wide.kernel * tall.dilation;
        let x = window % columns * wide.stride + tap % wide.kernel * wide.dilation;
        match (y.checked_sub(tall.before), x.checked_sub(wide.before)) {
            (Some(y), Some(x)) if y < h && x < w => (y * w + x) as u32,
            _ => (h * w) as u32,
        }
    };
    let index: Vec<u32> = (0..rows * columns * taps).map(position).collect();
    let index = Tensor::from_vec(index, rows * columns * taps, x.device())?;
    let beside = Tensor::full(beside as f32, (n, c, 1), x.device())?.to_dtype(x.dtype())?;
    let flat = Tensor::cat(&[&x.flatten_from(2)?, &beside], 2)?;
    flat.contiguous()?.index_select(&index, 2)?.reshape((n, c, rows * columns, taps))
}
