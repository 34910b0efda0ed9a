//! What attacks, losses and checks do to whole tensors, on the backend of the device where those lie.

use candle_core::{DType, DeviceLocation, Tensor};

use crate::backend::{self, ClassIndices};
use crate::error::Result;

/// Smallest and largest value of each pixel, two tensors of one shape.
pub(crate) type Bounds<'a> = (&'a Tensor, &'a Tensor);

/// Cross-entropy of each row of logits `[n, classes]` with its label, `[n]` of `u32`; `[n]`. Exponentials are
/// taken in double precision on a CPU. A label that is no class is an error.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    backend::of(logits.device()).cross_entropy(logits, &known(logits, labels)?)
}

/// The logarithm of the odds against each row's label, `[n]` of `u32`, from logits `[n, classes]`; `[n]`: the
/// logarithm of the sum of the other logits' exponentials, less the label's logit. Of one class alone it is
/// minus its logit. Exponentials are taken in double precision on a CPU. A label that is no class is an
/// error.
///
/// Cross-entropy is `log(1 + exp(L))` of the log odds L, a strictly increasing function: for one sample both
/// rise along the same direction, and both put images in the same order. But the slope of that function, one
/// less the probability of the label, is 0 in single precision once the label is ahead by 17 or so, and that
/// of L is never.
pub fn log_odds(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    backend::of(logits.device()).log_odds(logits, &known(logits, labels)?)
}

/// Labels `[n]` of logits `[n, classes]`; an error where one is no class.
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

/// The class of the largest logit of each row of `[n, classes]`, the first of equals; none for a row with a
/// NaN.
pub fn predictions(logits: &Tensor) -> Result<Vec<Option<u32>>> {
    let (_, classes) = logits.dims2()?;
    if classes == 0 {
        return Ok(vec![None; logits.dim(0)?]);
    }
    backend::of(logits.device()).predictions(logits)
}

/// Which rows of a tensor `[n, ..]` are 0 everywhere, `[n]`. A NaN is not 0. On a CPU a row is read up to its
/// first other number.
pub fn zero_rows(rows: &Tensor) -> Result<Vec<bool>> {
    let n = rows.dim(0)?;
    if rows.elem_count() == 0 {
        return Ok(vec![true; n]);
    }
    backend::of(rows.device()).zero_rows(rows)
}

/// `min(max(pixels + lengths * direction, low), high)`, for tensors `[n, c, h, w]` and one length a sample,
/// `[n, 1, 1, 1]`: a step of an attack in l-inf. A NaN stays.
pub fn step_within(
    pixels: &Tensor,
    direction: &Tensor,
    lengths: &Tensor,
    bounds: (&Tensor, &Tensor),
) -> Result<Tensor> {
    backend::of(pixels.device()).step_within(pixels, direction, lengths, bounds)
}

/// A number that should not be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stray {
    /// Its position in the tensor, counted through all dimensions.
    pub position: usize,
    /// What it is.
    pub value: f64,
}

/// The first number of a tensor that is not finite; if there is none, the first one below `low` or above
/// `high`. Compared in double precision.
pub fn stray(values: &Tensor, low: f64, high: f64) -> Result<Option<Stray>> {
    if values.elem_count() == 0 {
        return Ok(None);
    }
    backend::of(values.device()).stray(values, low, high)
}

/// The largest absolute difference in each row of two tensors of one shape and type `[n, ..]`, `[n]`:
/// distances in l-inf. Differences are taken in the tensors' own precision. Rows of no numbers are an error.
pub fn largest_differences(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    if !paired(a, b)? {
        return Ok(vec![]);
    }
    backend::of(a.device()).largest_differences(a, b)
}

/// The Euclidean length of the difference of each row of two tensors of one shape and type `[n, ..]`, `[n]`:
/// distances in l2. Differences and lengths are rounded to the tensors' own precision, squares are summed in
/// double precision. Rows of no numbers are an error.
pub fn distances(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    if !paired(a, b)? {
        return Ok(vec![]);
    }
    backend::of(a.device()).distances(a, b)
}

/// For each row of weights and ends, both `[n, d]` of f64 and at least 0, the level L with
/// `sum weight_i min(L, end_i) = |height|`, `[n]`; infinite if even all ends together are less. It is the multiplier of
/// a projection onto a hyperplane within a box.
///
/// The sum S(L) is concave, increasing and linear between the ends. The search is Newton's method from L = 0. A tangent
/// lies above S, so its root is never beyond the solution, and L only rises. The tangent depends only on which ends L
/// has passed. If a rise passes no further end, the next root is the same number to the bit, and it is the solution,
/// since S is linear from there to L. Each rise before passes an end, so there are at most d + 1 of them; usually there
/// are about ten. Sorting, the usual method, would not run on every device.
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

/// The root of the tangent of [`levels`], from the sum up to the ends that were passed and the slope of the rest.
pub(crate) fn tangent_root(height: f64, spent: f64, slope: f64) -> f64 {
    if slope > 0.0 { (height.abs() - spent) / slope } else { f64::INFINITY }
}

/// The first of `len` numbers that is not finite, or else the first one outside `[low, high]`.
pub(crate) fn first_stray(len: usize, value: impl Fn(usize) -> f64, [low, high]: [f64; 2]) -> Option<Stray> {
    let first = |wanted: &dyn Fn(f64) -> bool| (0..len).find(|position| wanted(value(*position)));
    let position = first(&|x| !x.is_finite()).or_else(|| first(&|x| !(low..=high).contains(&x)))?;
    Some(Stray { position, value: value(position) })
}

/// The place of the largest of some logits, the first of equals; none if one is NaN.
pub(crate) fn prediction(logits: impl Iterator<Item = f64> + Clone) -> Option<u32> {
    if logits.clone().any(f64::is_nan) {
        return None;
    }
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    logits.into_iter().position(|x| x == largest).map(|class| class as u32)
}

/// Whether there are rows to compare; an error where they cannot be.
fn paired(a: &Tensor, b: &Tensor) -> Result<bool> {
    let same = a.dims() == b.dims() && a.dtype() == b.dtype();
    if !same || a.rank() < 2 || a.dims()[1..].contains(&0) {
        let why = format!("distances of {:?} {:?} to {:?} {:?}", a.dtype(), a.dims(), b.dtype(), b.dims());
        return Err(candle_core::Error::Msg(why).into());
    }
    Ok(a.dim(0)? > 0)
}

/// Why networks do not compute in numbers of this type on such a device, which need not be open; `None` if
/// they do.
pub fn refused(location: DeviceLocation, dtype: DType) -> Option<&'static str> {
    backend::at(location).refuses(dtype)
}

#[cfg(test)]
mod tests;
