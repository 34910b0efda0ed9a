//! Selecting and replacing rows of a batch by a mask, for attacks that keep a state per sample.

use candle_core::Tensor;

use crate::Result;

/// The rows of `[n, ..]` for which `mask` is true, in order.
pub fn select(rows: &Tensor, mask: &[bool]) -> Result<Tensor> {
    match mask.iter().all(|keep| *keep) {
        true => Ok(rows.clone()),
        false => Ok(rows.index_select(&index_of(mask, rows)?, 0)?),
    }
}

/// The elements of `values`, one per sample, for which `mask` is true, in order.
pub fn kept<T: Copy>(values: &[T], mask: &[bool]) -> Vec<T> {
    values.iter().zip(mask).filter(|(_, keep)| **keep).map(|(value, _)| *value).collect()
}

/// For each sample the row of `yes` where `mask` is true, otherwise that of `no`; both `[n, ..]`.
pub fn choose(mask: &[bool], yes: &Tensor, no: &Tensor) -> Result<Tensor> {
    if mask.iter().all(|yes| *yes) {
        return Ok(yes.clone());
    }
    if !mask.contains(&true) {
        return Ok(no.clone());
    }
    let n = mask.len() as u32;
    let place: Vec<u32> = (0..n).zip(mask).map(|(row, yes)| if *yes { row } else { n + row }).collect();
    let both = Tensor::cat(&[yes, no], 0)?;
    Ok(both.index_select(&Tensor::from_vec(place, mask.len(), both.device())?, 0)?)
}

/// One number per sample as `[n, 1, 1, 1]`, with the type and device of `like`.
pub fn column(values: &[f64], like: &Tensor) -> Result<Tensor> {
    let tensor = Tensor::from_vec(values.to_vec(), (values.len(), 1, 1, 1), like.device())?;
    Ok(tensor.to_dtype(like.dtype())?)
}

/// The indices at which `mask` is true, on the device of `like`.
pub(crate) fn index_of(mask: &[bool], like: &Tensor) -> Result<Tensor> {
    let index: Vec<u32> = (0..mask.len() as u32).filter(|i| mask[*i as usize]).collect();
    let n = index.len();
    Ok(Tensor::from_vec(index, n, like.device())?)
}

/// `rows` with the rows selected by `mask` replaced by those of `new`, in order. `new` has as many rows as
/// `mask` selects.
pub fn replace(rows: &Tensor, new: &Tensor, mask: &[bool]) -> Result<Tensor> {
    let n = rows.dim(0)? as u32;
    let mut next = n;
    let place: Vec<u32> = (0..n)
        .zip(mask)
        .map(|(row, replaced)| match replaced {
            true => {
                next += 1;
                next - 1
            }
            false => row,
        })
        .collect();
    let all = Tensor::cat(&[rows, new], 0)?;
    Ok(all.index_select(&Tensor::from_vec(place, n as usize, rows.device())?, 0)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn rows_are_selected_chosen_and_replaced_by_masks() {
        let rows = |v: &[f32]| Tensor::new(v, &Device::Cpu).unwrap();
        let read = |t: Result<Tensor>| t.unwrap().to_vec1::<f32>().unwrap();
        let (a, b) = (rows(&[1.0, 2.0, 3.0]), rows(&[4.0, 5.0, 6.0]));
        let mask = [true, false, true];
        assert_eq!(read(select(&a, &mask)), [1.0, 3.0]);
        assert_eq!(kept(&[4, 5, 6], &mask), [4, 6]);
        assert_eq!(read(choose(&mask, &a, &b)), [1.0, 5.0, 3.0]);
        assert_eq!(read(choose(&[false; 3], &a, &b)), [4.0, 5.0, 6.0]);
        assert_eq!(read(replace(&a, &rows(&[7.0, 8.0]), &mask)), [7.0, 2.0, 8.0]);
        assert_eq!(column(&[0.5, 1.0], &a).unwrap().dims(), [2, 1, 1, 1]);
    }
}
