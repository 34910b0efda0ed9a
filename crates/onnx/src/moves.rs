//! Rearrangements of numbers: for each number of the output, its index in the input, both in row-major order.

use crate::constant::count;
use crate::error::{Found, Problem};

/// The index that stands for 0 instead of a number of the input.
pub(crate) const HOLE: u32 = u32::MAX;

/// Maximum size of a rearranged value, in numbers. `EfficientNet`-B7, whose squeeze and excitation multiply
/// 288 x 150 x 150, needs 6.5 million.
pub(crate) const MOST: usize = 1 << 23;

/// A rearrangement: the lengths of the output's axes, and the index in the input of each of its numbers.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) dims: Vec<usize>,
    pub(crate) index: Vec<u32>,
}

/// The number of elements of a shape; an error if it is 0, or too large for the elements to be listed.
fn listed(dims: &[usize]) -> Found<usize> {
    match count(dims)? {
        0 => Err(Problem::of(format!("a value without numbers, {dims:?}"))),
        n if n > MOST => {
            Err(Problem::of(format!("a rearrangement of {n} numbers; at most {MOST} are supported")))
        }
        n => Ok(n),
    }
}

/// The row-major strides of a shape.
pub(crate) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis]);
    }
    strides
}

/// The input indices of an output of shape `dims`, where `steps` are its axes' strides in the
/// input (0 repeats a number).
pub(crate) fn strided(dims: &[usize], steps: &[usize]) -> Found<Vec<u32>> {
    let total = listed(dims)?;
    let mut index = Vec::with_capacity(total);
    let mut place = vec![0; dims.len()];
    let mut at = 0usize;
    for _ in 0..total {
        index.push(at as u32);
        for axis in (0..dims.len()).rev() {
            place[axis] += 1;
            at += steps[axis];
            if place[axis] < dims[axis] {
                break;
            }
            at -= steps[axis] * dims[axis];
            place[axis] = 0;
        }
    }
    Ok(index)
}

/// The rearrangement that permutes the axes.
pub(crate) fn transposed(dims: &[usize], order: &[usize]) -> Found<Move> {
    listed(dims)?;
    let apart = strides(dims);
    let pick = |of: &[usize]| order.iter().map(|axis| of[*axis]).collect::<Vec<_>>();
    let dims = pick(dims);
    let index = strided(&dims, &pick(&apart))?;
    Ok(Move { dims, index })
}

/// The rearrangement that broadcasts the input to the shape `to`. Axes are aligned at the end.
pub(crate) fn broadcast(dims: &[usize], to: &[usize]) -> Found<Move> {
    let bad = || Problem::of(format!("{dims:?} cannot be broadcast to {to:?}"));
    let added = to.len().checked_sub(dims.len()).ok_or_else(bad)?;
    listed(to)?;
    listed(dims)?;
    let mut steps = vec![0; added];
    for ((axis, dim), apart) in dims.iter().enumerate().zip(strides(dims)) {
        match to[added + axis] {
            length if length == *dim => steps.push(if *dim == 1 { 0 } else { apart }),
            _ if *dim == 1 => steps.push(0),
            _ => return Err(bad()),
        }
    }
    Ok(Move { dims: to.to_vec(), index: strided(to, &steps)? })
}

/// The rearrangement that selects these places of the input, or holes, along one axis.
pub(crate) fn along(dims: &[usize], axis: usize, places: &[u32]) -> Found<Move> {
    listed(dims)?;
    if places.iter().any(|place| *place != HOLE && *place as usize >= dims[axis]) {
        return Err(Problem::of(format!("it reads beyond the {} places of axis {axis}", dims[axis])));
    }
    let mut result = dims.to_vec();
    result[axis] = places.len();
    let total = listed(&result)?;
    let (length, inner) = (dims[axis], count(&dims[axis + 1..])?);
    let outer = count(&dims[..axis])?;
    let mut index = Vec::with_capacity(total);
    for block in 0..outer {
        for place in places {
            let start = (block * length + *place as usize) * inner;
            match *place {
                HOLE => index.extend(std::iter::repeat_n(HOLE, inner)),
                _ => index.extend((start..start + inner).map(|i| i as u32)),
            }
        }
    }
    Ok(Move { dims: result, index })
}

/// The shape to which two shapes are broadcast together.
pub(crate) fn together(a: &[usize], b: &[usize]) -> Found<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis]);
    let joined = (0..rank).map(|axis| match (at(a, axis), at(b, axis)) {
        (x, y) if x == y => Ok(x),
        (1, other) | (other, 1) => Ok(other),
        _ => Err(Problem::of(format!("{a:?} and {b:?} do not go together"))),
    });
    joined.collect()
}

/// Whether a rearrangement leaves every number in its place.
pub(crate) fn is_identity(index: &[u32]) -> bool {
    index.iter().enumerate().all(|(i, from)| i == *from as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rearrangements_are_those_of_their_definitions() {
        let turned = transposed(&[2, 3], &[1, 0]).unwrap();
        assert_eq!((turned.dims, turned.index), (vec![3, 2], vec![0, 3, 1, 4, 2, 5]));
        let wide = broadcast(&[2, 1], &[2, 2, 3]).unwrap();
        assert_eq!(wide.index, [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
        let picked = along(&[2, 3], 1, &[2, HOLE, 0, 0]).unwrap();
        assert_eq!((picked.dims, picked.index), (vec![2, 4], vec![2, HOLE, 0, 0, 5, HOLE, 3, 3]));
        assert_eq!(together(&[3, 1], &[2, 1, 4]).unwrap(), [2, 3, 4]);
        assert!(together(&[3], &[2]).is_err() && broadcast(&[2], &[3]).is_err());
        assert!(along(&[2, 3], 1, &[3]).is_err() && broadcast(&[1], &[1 << 26]).is_err());
        assert!(strided(&[2, 0], &[1, 1]).is_err());
    }
}
