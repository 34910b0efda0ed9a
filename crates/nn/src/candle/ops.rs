//! Checks of whole tensors, in candle's operations. One number per row, or a single number, is copied to the host.

use candle_core::{D, DType, Result, Tensor};

use crate::ops::{Stray, first_stray, prediction, tangent_root};

/// As [`crate::zero_rows`]: rows without a number that differs from 0. A NaN differs from 0.
pub(crate) fn zero_rows(rows: &Tensor) -> Result<Vec<bool>> {
    let others = rows.ne(0.0)?.flatten_from(1)?.to_dtype(DType::F32)?.sum(1)?.to_vec1::<f32>()?;
    Ok(others.iter().map(|count| *count == 0.0).collect())
}

/// As [`crate::stray`]. The numbers are copied to the host only if there is a stray one.
pub(crate) fn stray(values: &Tensor, low: f64, high: f64) -> Result<Option<Stray>> {
    let wide = values.flatten_all()?.to_dtype(DType::F64)?;
    // Finite bounds exclude numbers that are not finite.
    let (low, high) = (low.max(f64::MIN), high.min(f64::MAX));
    // A product of comparisons, both of which are false for a NaN.
    let fits = (wide.ge(low)?.to_dtype(DType::F32)? * wide.le(high)?.to_dtype(DType::F32)?)?;
    if fits.min(0)?.to_scalar::<f32>()? > 0.0 {
        return Ok(None);
    }
    let values = wide.to_vec1::<f64>()?;
    Ok(first_stray(values.len(), |position| values[position], [low, high]))
}

/// As [`crate::largest_differences`].
pub(crate) fn largest_differences(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    let differences = (a - b)?.flatten_from(1)?.abs()?;
    differences.max(D::Minus1)?.to_dtype(DType::F64)?.to_vec1()
}

/// As [`crate::distances`]. The sum of 150,000 squares in single precision can be off by more than the
/// tolerance of a ball.
pub(crate) fn distances(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    let squares = (a - b)?.flatten_from(1)?.to_dtype(DType::F64)?.sqr()?;
    squares.sum(1)?.sqrt()?.to_dtype(a.dtype())?.to_dtype(DType::F64)?.to_vec1()
}

/// As [`crate::predictions`].
pub(crate) fn predictions(logits: &Tensor) -> Result<Vec<Option<u32>>> {
    let numbers = logits.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    Ok(numbers.chunks_exact(logits.dim(1)?).map(|row| prediction(row.iter().copied())).collect())
}

/// As [`crate::levels`]: all rows are searched together, so that no row leaves the device.
pub(crate) fn levels(weights: &Tensor, ends: &Tensor, heights: &[f64]) -> Result<Vec<f64>> {
    let (full, zeros) = ((weights * ends)?, weights.zeros_like()?);
    let mut levels = vec![0.0f64; heights.len()];
    loop {
        let column = Tensor::from_slice(&levels, (levels.len(), 1), weights.device())?;
        let passed = ends.broadcast_le(&column)?;
        let spent = passed.where_cond(&full, &zeros)?.sum(1)?.to_vec1::<f64>()?;
        let slopes = passed.where_cond(&zeros, weights)?.sum(1)?.to_vec1::<f64>()?;
        let mut rises = false;
        for (i, level) in levels.iter_mut().enumerate() {
            let root = tangent_root(heights[i], spent[i], slopes[i]);
            rises |= root > *level;
            *level = level.max(root);
        }
        if !rises {
            return Ok(levels);
        }
    }
}
