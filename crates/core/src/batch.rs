//! A batch of labelled images on a device.

use candle_core::{Device, Tensor};
use temper_data::RawBatch;

use crate::Result;

/// Labelled images.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[n, c, h, w]` in [0, 1].
    pub pixels: Tensor,
    /// Classes, `[n]`, `u32`.
    pub labels: Tensor,
    /// The id of each sample: its index in the data set, `[n]`.
    pub ids: Vec<u64>,
}

impl Batch {
    /// Moves decoded images to a device.
    pub fn new(raw: RawBatch, device: &Device) -> Result<Self> {
        let n = raw.labels.len();
        let [c, h, w] = raw.shape;
        Ok(Self {
            pixels: Tensor::from_vec(raw.pixels, (n, c, h, w), device)?,
            labels: Tensor::from_vec(raw.labels, n, device)?,
            ids: raw.ids,
        })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the batch is empty.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
