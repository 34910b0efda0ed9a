//! The state of each sample, in the host's memory: only squares change, and a batch is assembled once per query.

use temper_core::DType;
use temper_core::prelude::*;

/// A sample's images, each `[channels, rows, columns]`, flattened.
#[derive(Debug)]
pub(crate) struct Sample {
    id: u64,
    label: u32,
    /// In pixel values of [0, 1].
    radius: f64,
    shape: [usize; 3],
    clean: Vec<f32>,
    /// The bounds of each pixel in the ball and in [0, 1].
    low: Vec<f32>,
    high: Vec<f32>,
    /// The image of the least margin so far, and that margin.
    image: Vec<f32>,
    margin: f64,
    /// The image of the next query.
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
    /// The range of pixels of each of its rows, in this channel of an image of this shape.
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

/// For each sample the logit of its class minus the largest other one, from logits `[n, classes]`. Minus infinity if
/// a logit is NaN, which counts as misclassified; infinity if there is no other class.
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
    // The difference of two equal infinities would be NaN.
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

    /// The image of the next query.
    pub(crate) fn proposal(&self) -> &[f32] {
        &self.proposal
    }

    /// Keeps the proposal if its margin is less than any before, or if `whatever` is true.
    pub(crate) fn hear(&mut self, margin: f64, whatever: bool) {
        if whatever || margin < self.margin {
            std::mem::swap(&mut self.image, &mut self.proposal);
            self.margin = margin;
        }
    }

    /// Resets the proposal to the best image so far, to be changed.
    pub(crate) fn again(&mut self) {
        self.proposal.copy_from_slice(&self.image);
    }

    /// Moves pixels of the proposal to the upper or the lower end of their range. Returns whether any changed.
    pub(crate) fn push(&mut self, pixels: std::ops::Range<usize>, up: bool) -> bool {
        let end = if up { &self.high[pixels.clone()] } else { &self.low[pixels.clone()] };
        let changed = self.proposal[pixels.clone()] != *end;
        self.proposal[pixels].copy_from_slice(end);
        changed
    }

    /// The best image minus the clean one, pixel by pixel.
    pub(crate) fn offset(&self) -> Vec<f32> {
        self.image.iter().zip(&self.clean).map(|(image, clean)| image - clean).collect()
    }

    /// Proposes the clean image plus `factor` times an offset, clamped to the bounds.
    pub(crate) fn propose(&mut self, offset: &[f32], factor: f32) {
        let bounds = self.low.iter().zip(&self.high);
        let pixels = self.proposal.iter_mut().zip(&self.clean).zip(offset);
        for (((pixel, clean), offset), (low, high)) in pixels.zip(bounds) {
            *pixel = (clean + factor * offset).max(*low).min(*high);
        }
    }
}

/// Samples of random images, in which some pixels are 0 and some 1.
#[cfg(test)]
pub(crate) fn random(shape: [usize; 3], radius: f64, norm: Norm, n: usize) -> Vec<Sample> {
    let ids: Vec<u64> = (0..n as u64).collect();
    let size = shape.iter().product();
    let pixels = Rng::new(8, "images").uniform(&ids, size);
    let pixels: Vec<f32> = pixels.iter().map(|v| (0.5 + 0.6 * v).clamp(0.0, 1.0)).collect();
    let [channels, rows, columns] = shape;
    let center = Tensor::from_vec(pixels, (n, channels, rows, columns), &temper_core::Device::Cpu).unwrap();
    samples(&ids, &vec![0; n], &Ball::new(&center, &vec![radius; n], norm, &ids).unwrap()).unwrap()
}

#[cfg(test)]
impl Sample {
    /// Accepts the proposal.
    pub(crate) fn take(&mut self) {
        self.hear(0.0, true);
    }

    /// The l2 length and the largest entry of the proposal's perturbation, and whether the proposal lies in [0, 1].
    pub(crate) fn reach(&self) -> (f64, f64, bool) {
        let offset = self.proposal.iter().zip(&self.clean).map(|(p, c)| f64::from(*p) - f64::from(*c));
        let length = offset.clone().map(|d| d * d).sum::<f64>().sqrt();
        let largest = offset.map(f64::abs).fold(0.0, f64::max);
        (length, largest, self.proposal.iter().all(|pixel| (0.0..=1.0).contains(pixel)))
    }

    /// Whether every pixel of the best image is at one end of its range.
    pub(crate) fn is_at_the_ends(&self) -> bool {
        let bounds = self.low.iter().zip(&self.high);
        self.image.iter().zip(bounds).all(|(pixel, (low, high))| pixel == low || pixel == high)
    }

    /// Pixels in which the proposal differs from the best image, as channel, row and column.
    pub(crate) fn changed(&self) -> Vec<[usize; 3]> {
        let [_, rows, columns] = self.shape;
        let different = (0..self.image.len()).filter(|i| self.image[*i] != self.proposal[*i]);
        different.map(|i| [i / (rows * columns), i / columns % rows, i % columns]).collect()
    }
}

#[cfg(test)]
mod tests {
    use temper_core::Device;

    use super::*;

    #[test]
    fn margins_are_defined_for_all_logits() {
        let inf = f32::INFINITY;
        let rows: [([f32; 3], f64); 6] = [
            ([3.0, 1.0, 2.5], 0.5),
            ([1.0, 1.0, 0.0], 0.0),
            ([0.0, 4.0, 1.0], -4.0),
            ([f32::NAN, 4.0, 1.0], f64::NEG_INFINITY),
            ([inf, inf, 1.0], 0.0),
            ([-inf, -inf, -inf], 0.0),
        ];
        for (row, want) in rows {
            let logits = Tensor::new(&[row], &Device::Cpu).unwrap();
            assert_eq!(margins(&logits, &[0]).unwrap(), [want], "{row:?}");
        }
        let alone = Tensor::new(&[[1.0f32]], &Device::Cpu).unwrap();
        assert_eq!(margins(&alone, &[0]).unwrap(), [f64::INFINITY]);
    }

    #[test]
    fn the_type_of_the_pixels_is_kept() {
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
            let center = Tensor::new(&[0.0f32, 0.3, 0.7, 1.0], &Device::Cpu).unwrap();
            let center = center.reshape((1, 1, 2, 2)).unwrap().to_dtype(dtype).unwrap();
            let ball = Ball::new(&center, &[0.1], Norm::Linf, &[0]).unwrap();
            let mut samples = samples(&[0], &[0], &ball).unwrap();
            for (up, bound) in [(true, ball.bounds().1), (false, ball.bounds().0)] {
                assert!(samples[0].push(0..4, up), "{dtype:?}");
                let pixels = batch(&samples, Sample::proposal, &center).unwrap();
                assert_eq!(pixels.dtype(), dtype);
                let off = (pixels - bound).unwrap().abs().unwrap().to_dtype(DType::F64).unwrap();
                // Exact, except that double precision is rounded to single precision.
                let off: f64 = off.max_all().unwrap().to_scalar().unwrap();
                assert!(off <= if dtype == DType::F64 { 1e-7 } else { 0.0 }, "{dtype:?}: {off}");
            }
        }
    }

    #[test]
    fn rows_that_stay_keep_their_order() {
        let all = random([1, 2, 2], 0.1, Norm::Linf, 5);
        let ids: Vec<u64> = kept(all, &[0, 3, 4]).iter().map(Sample::id).collect();
        assert_eq!(ids, [0, 3, 4]);
    }
}
