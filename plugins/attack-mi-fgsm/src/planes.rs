//! Linear maps of images that treat rows and columns separately.

use temper_core::prelude::*;

/// `left` times each channel of `images` times `right`. Images are `[n, c, h, w]`, `left` is `[n, h, h]` and
/// `right` `[n, w, w]`; a first dimension of 1 serves all samples.
pub(crate) fn between(left: &Tensor, images: &Tensor, right: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = images.dims4()?;
    let right = right.expand((n, w, w))?;
    let images = images.contiguous()?.reshape((n, c * h, w))?.matmul(&right)?.reshape((n, c, h, w))?;
    Ok(left.unsqueeze(1)?.broadcast_matmul(&images)?)
}
