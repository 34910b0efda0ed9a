//! What the search keeps of each sample, in the host's memory: only squares change, and a batch is put together once a
//! query.

use temper_core::DType;
use temper_core::prelude::*;

/// A sample's images, each `[channels, rows, columns]` in one row.
#[derive(Debug)]
pub(crate) struct Sample {
    id: u64,
    label: u32,
    /// In pixel values of [0, 1].
    radius: f64,
    shape: [usize; 3],
    clean: Vec<f32>,
    /// The box that holds ball and [0, 1].
    low: Vec<f32>,
    high: Vec<f32>,
    /// The image of the least margin so far, and that margin.
    image: Vec<f32>,
    margin: f64,
    /// The image that the network is shown next.
    proposal: Vec<f32>,
}

/// A square of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) side: usize,
}

impl Window {
    /// Where its rows lie in an image of this shape, in this channel: a range of pixels for each.
    pub(crate) fn lines(
        self,
        [_, rows, columns]: [usize; 3],
        channel: usize,
    ) -> impl Iterator<Item = std::ops::Range<usize>> + Clone {
        let first = (channel * rows + self.top) * columns + self.left;
        (0..self.side).map(move |row| first + row * columns).map(move |start| start..start + self.side)
    }
}

/// The samples of a batch with these labels.
pub(crate) fn samples(ids: &[u64], labels: &[u32], ball: &Ball) -> Result<Vec<Sample>> {
    let (_, channels, rows, columns) = ball.center().dims4()?;
    let numbers = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?) };
    let (low, high) = ball.bounds();
    let (clean, low, high) = (numbers(ball.center())?, numbers(low)?, numbers(high)?);
    let radii: Vec<f64> = ball.radii().to_dtype(DType::F64)?.to_vec1()?;
    let size = channels * rows * columns;
    Ok((ids.iter().zip(labels).enumerate())
        .map(|(i, (id, label))| {
            let row = |all: &[f32]| all[i * size..(i + 1) * size].to_vec();
            Sample {
                id: *id,
                label: *label,
                radius: radii[i],
                shape: [channels, rows, columns],
                clean: row(&clean),
                low: row(&low),
                high: row(&high),
                image: row(&clean),
                margin: f64::INFINITY,
                proposal: row(&clean),
            }
        })
        .collect())
}

/// The samples in these rows, ascending.
pub(crate) fn kept(samples: Vec<Sample>, rows: &[u32]) -> Vec<Sample> {
    let kept = (0..).zip(samples).filter(|(row, _)| rows.binary_search(row).is_ok());
    kept.map(|(_, sample)| sample).collect()
}

/// One image of each sample as a tensor `[n, c, h, w]` with the type and device of `like`.
pub(crate) fn batch(samples: &[Sample], of: impl Fn(&Sample) -> &[f32], like: &Tensor) -> Result<Tensor> {
    let [channels, rows, columns] = samples.first().map_or([0; 3], Sample::shape);
    let mut pixels = Vec::with_capacity(samples.len() * channels * rows * columns);
    for sample in samples {
        pixels.extend_from_slice(of(sample));
    }
    let shape = (samples.len(), channels, rows, columns);
    Ok(Tensor::from_vec(pixels, shape, like.device())?.to_dtype(like.dtype())?)
}

/// For each sample the logit of its class minus the largest other one, from logits `[n, classes]`. Minus infinity where a
/// logit is NaN, which counts as misclassified; infinity where there is no other class.
pub(crate) fn margins(logits: &Tensor, labels: &[u32]) -> Result<Vec<f64>> {
    let classes = logits.dim(1)?;
    let logits: Vec<f64> = logits.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    Ok(logits.chunks(classes.max(1)).zip(labels).map(|(logits, label)| margin(logits, *label)).collect())
}

fn margin(logits: &[f64], label: u32) -> f64 {
    if logits.iter().any(|logit| logit.is_nan()) {
        return f64::NEG_INFINITY;
    }
    let others = (0..).zip(logits).filter(|(class, _)| *class != label);
    let largest = others.map(|(_, logit)| *logit).fold(f64::NEG_INFINITY, f64::max);
    let own = logits.get(label as usize).copied().unwrap_or(f64::NEG_INFINITY);
    // Two equal infinities.
    if own == largest { 0.0 } else { own - largest }
}

impl Sample {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn label(&self) -> u32 {
        self.label
    }

    pub(crate) fn radius(&self) -> f64 {
        self.radius
    }

    /// Channels, rows, columns.
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The best image so far.
    pub(crate) fn image(&self) -> &[f32] {
        &self.image
    }

    /// The image to show next.
    pub(crate) fn proposal(&self) -> &[f32] {
        &self.proposal
    }

    /// Keeps the proposal if its margin is less than any before, or whatever it is.
    pub(crate) fn hear(&mut self, margin: f64, whatever: bool) {
        if whatever || margin < self.margin {
            std::mem::swap(&mut self.image, &mut self.proposal);
            self.margin = margin;
        }
    }

    /// Proposes the best image so far, for a change.
    pub(crate) fn again(&mut self) {
        self.proposal.copy_from_slice(&self.image);
    }

    /// Moves pixels of the proposal to the upper end of their range, or to the lower one. Whether any changed.
    pub(crate) fn push(&mut self, pixels: std::ops::Range<usize>, up: bool) -> bool {
        let end = if up { &self.high[pixels.clone()] } else { &self.low[pixels.clone()] };
        let changed = self.proposal[pixels.clone()] != *end;
        self.proposal[pixels].copy_from_slice(end);
        changed
    }

    /// How far the best image is from the clean one, pixel by pixel.
    pub(crate) fn offset(&self) -> Vec<f32> {
        self.image.iter().zip(&self.clean).map(|(image, clean)| image - clean).collect()
    }

    /// Proposes the clean image plus `factor` times an offset, cut by the box.
    pub(crate) fn propose(&mut self, offset: &[f32], factor: f32) {
        let bounds = self.low.iter().zip(&self.high);
        let pixels = self.proposal.iter_mut().zip(&self.clean).zip(offset);
        for (((pixel, clean), offset), (low, high)) in pixels.zip(bounds) {
            *pixel = (clean + factor * offset).max(*low).min(*high);
        }
    }
}
