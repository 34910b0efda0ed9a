//! The location of a tensor's elements, and how they are gathered.

use crate::dtype::Dtype;
use crate::error::{Fault, Found, Result};
use crate::source::Source;

/// Maximum number of axes of a tensor.
const AXES: usize = 16;

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Index of the file that contains it.
    pub(crate) file: usize,
    /// Offset of its first byte in that file.
    pub(crate) at: u64,
    /// Strides along the axes, in elements; `None` if the elements are contiguous and in order.
    pub(crate) strides: Option<Vec<u64>>,
    /// Bytes from its first to its last element.
    pub(crate) span: u64,
    /// Whether elements are big-endian.
    pub(crate) big: bool,
}

/// A tensor as a file describes it: a view of a storage.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    pub(crate) strides: Vec<u64>,
    /// Offset of the first element, in elements.
    pub(crate) offset: u64,
}

impl View {
    /// The tensor, if it lies within its storage of `bytes` bytes, which begins at byte `at` of a file.
    pub(crate) fn placed(self, file: usize, at: u64, bytes: u64, big: bool) -> Found<Tensor> {
        let Self { dtype, shape, strides, offset } = self;
        if shape.len() != strides.len() || shape.len() > AXES {
            let (axes, steps) = (shape.len(), strides.len());
            return Err(Fault::new(format!(
                "a tensor of {axes} axes and {steps} strides, expected at most {AXES} of each"
            )));
        }
        let outside = || {
            let what = format!(
                "a tensor of {dtype} {shape:?} with strides {strides:?} from element {offset} on, which its storage of \
                 {bytes} bytes does not hold"
            );
            Fault::new(what)
        };
        let size = dtype.size() as u64;
        let elements = shape.iter().try_fold(1u64, |n, side| n.checked_mul(*side)).ok_or_else(outside)?;
        // An empty tensor needs no storage at all.
        let last = match elements {
            0 => None,
            _ => Some(last(&shape, &strides).ok_or_else(outside)?),
        };
        let span = last.map_or(Some(0), |last| last.checked_add(1)?.checked_mul(size)).ok_or_else(outside)?;
        let first = offset.checked_mul(size).ok_or_else(outside)?;
        if first.checked_add(span).is_none_or(|end| end > bytes) {
            return Err(outside());
        }
        let sides: Option<Vec<usize>> = shape.iter().map(|side| usize::try_from(*side).ok()).collect();
        let sides = sides.ok_or_else(outside)?;
        // The stride of an axis of length 1 is never used and may be any number.
        let walked = shape.iter().zip(&strides).map(|(side, stride)| if *side > 1 { *stride } else { 0 });
        let strides = (!in_order(&shape, &strides)).then(|| walked.collect());
        let at = at.checked_add(first).ok_or_else(|| Fault::new("an offset beyond 64 bits"))?;
        Ok(Tensor { dtype, shape: sides, file, at, strides, span, big })
    }
}

/// The distance from the first to the last element, in elements.
fn last(shape: &[u64], strides: &[u64]) -> Option<u64> {
    let steps = shape.iter().zip(strides).map(|(side, stride)| (side - 1).checked_mul(*stride));
    steps.into_iter().try_fold(0u64, |sum, step| sum.checked_add(step?))
}

/// Whether elements are contiguous and in order.
fn in_order(shape: &[u64], strides: &[u64]) -> bool {
    let mut expected = 1u64;
    shape.contains(&0)
        || shape.iter().zip(strides).rev().all(|(side, stride)| {
            let fits = *side == 1 || *stride == expected;
            expected = expected.saturating_mul(*side);
            fits
        })
}

impl Tensor {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes that reading the tensor needs: the size of its elements or of their span, whichever is larger.
    pub(crate) fn cost(&self) -> u64 {
        (self.elements() as u64).saturating_mul(self.dtype.size() as u64).max(self.span)
    }

    /// Reads its elements in order, each in little-endian byte order.
    pub(crate) fn read(&self, source: &Source) -> Result<Vec<u8>> {
        let bytes = source.read(self.at, self.span)?;
        let mut bytes = match &self.strides {
            Some(strides) => self.gathered(&bytes, strides),
            None => bytes,
        };
        if self.big {
            bytes.chunks_exact_mut(self.dtype.word()).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }

    fn gathered(&self, bytes: &[u8], strides: &[u64]) -> Vec<u8> {
        let size = self.dtype.size();
        let mut gathered = Vec::with_capacity(self.elements() * size);
        let (mut index, mut place) = (vec![0; self.shape.len()], 0);
        for _ in 0..self.elements() {
            // `placed` has checked the last place against the storage, so no place exceeds `usize`.
            gathered.extend_from_slice(bytes.get(place * size..(place + 1) * size).unwrap_or_default());
            for axis in (0..index.len()).rev() {
                let stride = strides[axis] as usize;
                index[axis] += 1;
                place += stride;
                if index[axis] < self.shape[axis] {
                    break;
                }
                place -= stride * self.shape[axis];
                index[axis] = 0;
            }
        }
        gathered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(shape: &[u64], strides: &[u64], offset: u64) -> View {
        View { dtype: Dtype::I16, shape: shape.into(), strides: strides.into(), offset }
    }

    #[test]
    fn tensors_lie_within_their_storages() {
        let placed = |view: View| view.placed(0, 100, 12, false);
        let tensor = placed(view(&[2, 2], &[2, 1], 2)).unwrap();
        assert_eq!((tensor.at, tensor.span, &tensor.strides), (104, 8, &None));
        assert_eq!(placed(view(&[3, 2], &[1, 3], 0)).unwrap().strides, Some(vec![1, 3]));
        assert_eq!(placed(view(&[1, 6], &[77, 1], 0)).unwrap().strides, None);
        assert_eq!(placed(view(&[], &[], 5)).unwrap().elements(), 1);
        assert_eq!(placed(view(&[0, 9], &[1 << 62, 1 << 62], 0)).unwrap().elements(), 0);
        for outside in [
            view(&[2, 2], &[2, 1], 3),
            view(&[7], &[1], 0),
            view(&[], &[], 6),
            view(&[1 << 40, 1 << 40], &[0, 0], 0),
            view(&[2], &[u64::MAX], 0),
            view(&[1], &[1], u64::MAX),
            view(&[0], &[1], 7),
        ] {
            let said = placed(outside).unwrap_err().to_string();
            assert!(said.ends_with("which its storage of 12 bytes does not hold"), "{said}");
        }
        assert!(placed(view(&[2], &[], 0)).is_err());
        assert!(placed(view(&[1; 17], &[1; 17], 0)).is_err());
    }
}
