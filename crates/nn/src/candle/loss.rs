//! Cross-entropy and log odds in candle's operations.

use candle_core::{D, Result, Tensor};

/// As [`crate::cross_entropy`].
pub(crate) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    // Subtracting the same number from all logits has no effect, so that number needs no gradient.
    let largest = logits.max_keepdim(D::Minus1)?.detach();
    let shifted = logits.broadcast_sub(&largest)?;
    let sums = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let taken = shifted.gather(&labels.unsqueeze(1)?, 1)?;
    (sums - taken)?.squeeze(1)
}

/// As [`crate::log_odds`].
pub(crate) fn log_odds(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let labels = labels.unsqueeze(1)?;
    let own = logits.gather(&labels, 1)?;
    if logits.dim(1)? == 1 {
        return own.neg()?.squeeze(1);
    }
    let classes = Tensor::arange(0, logits.dim(1)? as u32, logits.device())?.unsqueeze(0)?;
    let others = classes.broadcast_ne(&labels)?;
    // The least logit replaces the label's logit, so that the largest belongs to another class. The sum does not
    // include it.
    let least = logits.detach().min_keepdim(D::Minus1)?.broadcast_as(logits.shape())?.contiguous()?;
    let masked = others.where_cond(logits, &least)?;
    // Subtracting the same number from all logits has no effect, so that number needs no gradient.
    let largest = masked.max_keepdim(D::Minus1)?.detach();
    let exponentials = masked.broadcast_sub(&largest)?.exp()?;
    let sums = others.where_cond(&exponentials, &exponentials.zeros_like()?)?.sum_keepdim(D::Minus1)?;
    (sums.log()? + (largest - own)?)?.squeeze(1)
}
