//! Operations of attacks, losses and checks on whole tensors, on the backend of the tensors' device.

use candle_core::{DType, DeviceLocation, Tensor};

use crate::backend::{self, ClassIndices};
use crate::error::Result;
use crate::profile::{self, Work};

/// Smallest and largest value of each pixel: two tensors of the same shape.
pub(crate) type Bounds<'a> = (&'a Tensor, &'a Tensor);

/// Cross-entropy of each row of logits `[n, classes]` with its label, `[n]` of `u32`; `[n]`. Exponentials are
/// computed in double precision on a CPU. A label that is not a valid class is an error.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let known = known(logits, labels)?;
    profile::outside(Work::Loss, || backend::of(logits.device()).cross_entropy(logits, &known))
}

/// The log odds against each row's label, `[n]` of `u32`, from logits `[n, classes]`; `[n]`. They are the logarithm
/// of the sum of the other logits' exponentials, minus the label's logit. With a single class they are minus its
/// logit. Exponentials are computed in double precision on a CPU. A label that is not a valid class is an error.
///
/// Cross-entropy is `log(1 + exp(L))` of the log odds L, a strictly increasing function. For one sample, both
/// therefore rise along the same direction and order images in the same way. But the slope of this function, one
/// minus the probability of the label, is 0 in single precision once the label is ahead by about 17. The slope of L
/// is never 0.
pub fn log_odds(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let known = known(logits, labels)?;
    profile::outside(Work::Loss, || backend::of(logits.device()).log_odds(logits, &known))
}

/// Reads labels `[n]` of logits `[n, classes]`. A label that is not a valid class is an error.
fn known<'a>(logits: &Tensor, labels: &'a Tensor) -> Result<ClassIndices<'a>> {
    let (n, classes) = logits.dims2()?;
    let read: Vec<u32> = labels.to_vec1()?;
    if read.len() != n || classes == 0 || read.iter().any(|label| *label as usize >= classes) {
        return Err(
            candle_core::Error::Msg(format!("labels {read:?} for {n} rows of {classes} logits")).into()
        );
    }
    Ok(ClassIndices { tensor: labels, read })
}

/// For each row of `[n, classes]`, the class of the largest logit, or the first such class if several are equal;
/// `None` if the row contains a NaN.
pub fn predictions(logits: &Tensor) -> Result<Vec<Option<u32>>> {
    let (_, classes) = logits.dims2()?;
    if classes == 0 {
        return Ok(vec![None; logits.dim(0)?]);
    }
    backend::of(logits.device()).predictions(logits)
}

/// For each row of a tensor `[n, ..]`, whether all its numbers are 0; `[n]`. A NaN is not 0. On a CPU, a row is
/// read up to its first nonzero number.
pub fn zero_rows(rows: &Tensor) -> Result<Vec<bool>> {
    let n = rows.dim(0)?;
    if rows.elem_count() == 0 {
        return Ok(vec![true; n]);
    }
    backend::of(rows.device()).zero_rows(rows)
}

/// `min(max(pixels + lengths * direction, low), high)`, for tensors `[n, c, h, w]` and one length per sample,
/// `[n, 1, 1, 1]`: a step of an attack in l-inf. A NaN stays.
pub fn step_within(
    pixels: &Tensor,
    direction: &Tensor,
    lengths: &Tensor,
    bounds: (&Tensor, &Tensor),
) -> Result<Tensor> {
    backend::of(pixels.device()).step_within(pixels, direction, lengths, bounds)
}

/// A number that is not finite or not within bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stray {
    /// Its position in the flattened tensor.
    pub position: usize,
    /// Its value.
    pub value: f64,
}

/// The first number of a tensor that is not finite; if all are finite, the first number below `low` or above
/// `high`. Numbers are compared in double precision.
pub fn stray(values: &Tensor, low: f64, high: f64) -> Result<Option<Stray>> {
    if values.elem_count() == 0 {
        return Ok(None);
    }
    backend::of(values.device()).stray(values, low, high)
}

/// For each row, the largest absolute difference between two tensors `[n, ..]` of the same shape and type: the
/// distances in l-inf, `[n]`. Differences are computed in the tensors' own precision. Empty rows are an error.
pub fn largest_differences(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    if !paired(a, b)? {
        return Ok(vec![]);
    }
    backend::of(a.device()).largest_differences(a, b)
}

/// For each row, the Euclidean norm of the difference between two tensors `[n, ..]` of the same shape and type: the
/// distances in l2, `[n]`. Differences and norms are rounded to the tensors' own precision; squares are summed in
/// double precision. Empty rows are an error.
pub fn distances(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    if !paired(a, b)? {
        return Ok(vec![]);
    }
    backend::of(a.device()).distances(a, b)
}

/// For each row, the level L with `sum weight_i min(L, end_i) = |height|`, `[n]`; infinite if
/// `sum weight_i end_i < |height|`. Weights and ends are f64 tensors `[n, d]`, and at least 0. L is the multiplier
/// of a projection onto a hyperplane within a box.
///
/// The sum S(L) is concave, increasing and linear between the ends. The search is Newton's method from L = 0. A
/// tangent lies above S, so its root is never beyond the solution, and L only rises. The tangent depends only on
/// which ends L has passed. If a rise passes no further end, the next root is the same number to the bit, and it is
/// the solution, since S is linear from there to L. Each earlier rise passes an end, so there are at most d + 1
/// rises; usually there are about ten. Sorting, the usual method, would not run on every device.
pub fn levels(weights: &Tensor, ends: &Tensor, heights: &[f64]) -> Result<Vec<f64>> {
    let (n, d) = weights.dims2()?;
    if ends.dims2()? != (n, d)
        || heights.len() != n
        || weights.dtype() != DType::F64
        || ends.dtype() != DType::F64
    {
        let why = format!(
            "levels of weights {:?}, ends {:?} and {} heights, expected [n, d] of f64 and n",
            weights.dims(),
            ends.dims(),
            heights.len()
        );
        return Err(candle_core::Error::Msg(why).into());
    }
    if n * d == 0 {
        return Ok(heights.iter().map(|height| if *height == 0.0 { 0.0 } else { f64::INFINITY }).collect());
    }
    backend::of(weights.device()).levels(weights, ends, heights)
}

/// The root of the tangent in [`levels`], from the sum over the passed ends and the slope of the rest.
pub(crate) fn tangent_root(height: f64, spent: f64, slope: f64) -> f64 {
    if slope > 0.0 { (height.abs() - spent) / slope } else { f64::INFINITY }
}

/// The first of `len` numbers that is not finite; if all are finite, the first number outside `[low, high]`.
pub(crate) fn first_stray(len: usize, value: impl Fn(usize) -> f64, [low, high]: [f64; 2]) -> Option<Stray> {
    let first = |wanted: &dyn Fn(f64) -> bool| (0..len).find(|position| wanted(value(*position)));
    let position = first(&|x| !x.is_finite()).or_else(|| first(&|x| !(low..=high).contains(&x)))?;
    Some(Stray { position, value: value(position) })
}

/// The index of the largest logit, or the first such index if several are equal; `None` if any logit is NaN.
pub(crate) fn prediction(logits: impl Iterator<Item = f64> + Clone) -> Option<u32> {
    if logits.clone().any(f64::is_nan) {
        return None;
    }
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    logits.into_iter().position(|x| x == largest).map(|class| class as u32)
}

/// Whether there are rows to compare. Tensors that cannot be compared are an error.
fn paired(a: &Tensor, b: &Tensor) -> Result<bool> {
    let same = a.dims() == b.dims() && a.dtype() == b.dtype();
    if !same || a.rank() < 2 || a.dims()[1..].contains(&0) {
        let why = format!("distances of {:?} {:?} to {:?} {:?}", a.dtype(), a.dims(), b.dtype(), b.dims());
        return Err(candle_core::Error::Msg(why).into());
    }
    Ok(a.dim(0)? > 0)
}

/// The reason why networks cannot compute in this number type on such a device; `None` if they can. The device need
/// not be open.
pub fn refused(location: DeviceLocation, dtype: DType) -> Option<&'static str> {
    backend::at(location).refuses(dtype)
}

#[cfg(test)]
mod tests;
