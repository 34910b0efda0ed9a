//! Values that depend on the pixels: a node of the network, and a pending rearrangement of its numbers.

use std::sync::Arc;

use temper_nn::NodeId;

use crate::constant::count;
use crate::error::{Found, Problem};
use crate::moves::{self, HOLE, Move, is_identity};

/// A value of the graph. Its numbers, in row-major order, are those of a node at the places of `map`.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) node: NodeId,
    /// Lengths of the axes of one sample.
    pub(crate) dims: Vec<usize>,
    /// Which axis of the whole value is the batch.
    pub(crate) batch: usize,
    /// Number of samples in the file's shapes.
    pub(crate) samples: usize,
    /// Places of its numbers among those of the node; `None` if they are all numbers of the node in order.
    pub(crate) map: Option<Arc<[u32]>>,
    /// Index of the softmax node that precedes it.
    pub(crate) softmax: Option<usize>,
}

impl Value {
    /// The value of a node's numbers in order, with the batch as the first axis.
    pub(crate) fn of(node: NodeId, dims: &[usize], like: &Self) -> Self {
        let dims = dims.to_vec();
        Self { node, dims, batch: 0, samples: like.samples, map: None, softmax: None }
    }

    /// Lengths of all axes, including the batch.
    pub(crate) fn whole(&self) -> Vec<usize> {
        let mut dims = self.dims.clone();
        dims.insert(self.batch.min(dims.len()), self.samples);
        dims
    }

    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Converts an axis of the whole value to an axis of one sample; an error for the batch.
    pub(crate) fn axis(&self, whole: usize) -> Found<usize> {
        match whole {
            axis if axis == self.batch => {
                Err(Problem::Batch(format!("it works on axis {axis}, which is the batch")))
            }
            axis => Ok(axis - usize::from(axis > self.batch)),
        }
    }

    /// The value after a further rearrangement of its numbers.
    pub(crate) fn moved(&self, Move { dims, mut index }: Move) -> Self {
        if let Some(map) = &self.map {
            for place in &mut index {
                if *place != HOLE {
                    *place = map[*place as usize];
                }
            }
        }
        self.placed(dims, index)
    }

    /// The value of the node's numbers at these places.
    pub(crate) fn placed(&self, dims: Vec<usize>, index: Vec<u32>) -> Self {
        Self { dims, map: Some(index.into()), ..self.clone() }
    }

    /// Removes a map that changes nothing; `numbers` is how many numbers the node has.
    pub(crate) fn simplified(self, numbers: usize) -> Self {
        let idle = self.map.as_ref().is_some_and(|map| map.len() == numbers && is_identity(map));
        Self { map: self.map.clone().filter(|_| !idle), ..self }
    }

    /// Selects these places or holes along an axis of the whole value.
    pub(crate) fn along(&self, axis: usize, places: &[u32]) -> Found<Self> {
        if axis == self.batch && places.len() == self.samples && is_identity(places) {
            return Ok(self.clone());
        }
        let axis = self.axis(axis)?;
        if places.len() == self.dims[axis] && is_identity(places) {
            return Ok(self.clone());
        }
        Ok(self.moved(moves::along(&self.dims, axis, places)?))
    }

    /// The value with the axes of the whole in another order.
    pub(crate) fn transposed(&self, order: &[usize]) -> Found<Self> {
        let batch = order.iter().position(|axis| *axis == self.batch).unwrap_or(0);
        let inner: Vec<usize> = order.iter().filter_map(|axis| self.axis(*axis).ok()).collect();
        let moved = self.moved(moves::transposed(&self.dims, &inner)?);
        Ok(Self { batch, ..moved })
    }

    /// The same numbers in another shape of the whole, in which the batch must remain an axis.
    pub(crate) fn reshaped(&self, whole: &[usize]) -> Found<Self> {
        let before = count(&self.dims[..self.batch])?;
        let ones = self.dims[..self.batch].iter().rev().take_while(|dim| **dim == 1).count();
        // Any length may stand in a file, and the product of some of them be too large to count.
        let counts = |dims: &[usize], n: usize| count(dims).is_ok_and(|product| product == n);
        let fits = |axis: &usize| whole[*axis] == self.samples && counts(&whole[..*axis], before);
        let places: Vec<usize> = (0..whole.len()).filter(fits).collect();
        let all = count(whole)?;
        let Some(batch) = places.get(ones.min(places.len().saturating_sub(1))) else {
            return Err(Problem::Batch(format!(
                "{:?} becomes {whole:?}, where the batch is no axis",
                self.whole()
            )));
        };
        let mut dims = whole.to_vec();
        dims.remove(*batch);
        if count(&dims)? != self.len() || all == 0 {
            return Err(Problem::of(format!("{:?} cannot become {whole:?}", self.whole())));
        }
        Ok(Self { dims, batch: *batch, ..self.clone() })
    }

    /// The value, broadcast to this shape of the whole.
    pub(crate) fn broadcast(&self, whole: &[usize]) -> Found<Self> {
        if self.whole() == whole {
            return Ok(self.clone());
        }
        let added = whole.len().checked_sub(self.dims.len() + 1);
        let batch = added.map_or(usize::MAX, |added| added + self.batch);
        if whole.get(batch) != Some(&self.samples) {
            return Err(Problem::Batch(format!("{:?} becomes {whole:?}", self.whole())));
        }
        let mut inner = whole.to_vec();
        inner.remove(batch);
        // After the batch is removed from both shapes, axes are aligned as before: axes before the
        // batch may have been added.
        let mut own = vec![1; added.unwrap_or(0)];
        own.extend(&self.dims);
        let moved = self.moved(moves::broadcast(&own, &inner)?);
        Ok(Self { batch, ..moved })
    }

    /// Whether some of its numbers are zeros that do not come from the node.
    pub(crate) fn has_holes(&self) -> bool {
        self.map.as_ref().is_some_and(|map| map.contains(&HOLE))
    }
}
