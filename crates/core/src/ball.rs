//! The images that an attack may return: a ball around each clean image, cut by the box [0, 1].

use candle_core::{DType, Tensor};
use temper_data::Rng;

use crate::rows::{index_of, kept};
use crate::{Distance, Norm, Result};

/// How far outside its ball rounding may carry an image, in pixel values of [0, 1].
pub const TOLERANCE: f64 = 1e-6;

/// An upper limit for lengths: larger than the distance between any two images in [0, 1], and finite in half
/// precision. Limiting a longer length to it changes nothing.
const FAR: f64 = 1e4;

/// Balls around the clean images of a batch, one radius per sample.
#[derive(Debug, Clone)]
pub struct Ball {
    center: Tensor,
    radii: Tensor,
    norm: Norm,
    ids: Vec<u64>,
    /// The bounding box of the ball within [0, 1]; for l-inf it equals the ball within [0, 1].
    low: Tensor,
    high: Tensor,
}

impl Ball {
    /// Balls of `radii` `[n]` around `center` `[n, c, h, w]`; `ids` key the samples' random starts. For images
    /// of an l-inf ball `x - center`, as rounded in the precision of `center`, never exceeds the radius.
    pub fn new(center: &Tensor, radii: &[f64], norm: Norm, ids: &[u64]) -> Result<Self> {
        let n = center.dim(0)?;
        let radii: Vec<f64> = radii.iter().map(|radius| radius.min(FAR)).collect();
        let radii = Tensor::from_vec(radii, n, center.device())?.to_dtype(center.dtype())?;
        let wide = column(&radii)?;
        let mut low = center.broadcast_sub(&wide)?.clamp(0.0, 1.0)?;
        let mut high = center.broadcast_add(&wide)?.clamp(0.0, 1.0)?;
        if norm == Norm::Linf {
            // The sum was rounded, so its difference to the centre may exceed the radius. Such bounds are moved
            // inwards, but not beyond the centre.
            let ulp = last_place(center.dtype());
            let drawn_in = |bound: &Tensor, inner: &Tensor| -> Result<Tensor> {
                Ok((bound - center)?.abs()?.broadcast_gt(&wide)?.where_cond(inner, bound)?)
            };
            low = drawn_in(&low, &low.affine(1.0, ulp)?.minimum(center)?)?;
            high = drawn_in(&high, &high.affine(1.0, -ulp)?.maximum(center)?)?;
        }
        Ok(Self { center: center.clone(), radii, norm, ids: ids.to_vec(), low, high })
    }

    /// The clean images, `[n, c, h, w]`.
    pub fn center(&self) -> &Tensor {
        &self.center
    }

    /// Radii in pixel values of [0, 1], `[n]`.
    pub fn radii(&self) -> &Tensor {
        &self.radii
    }

    /// How distance is measured.
    pub fn norm(&self) -> Norm {
        self.norm
    }

    /// The smallest and largest allowed value of each pixel, `[n, c, h, w]`: the bounding box of the ball
    /// within [0, 1].
    pub fn bounds(&self) -> (&Tensor, &Tensor) {
        (&self.low, &self.high)
    }

    /// Projects images into the ball (l-inf: to the nearest point; l2: along the line to the centre, then
    /// clamped to the box).
    pub fn project(&self, pixels: &Tensor) -> Result<Tensor> {
        let pixels = match self.norm {
            Norm::Linf => pixels.clone(),
            Norm::L2 => {
                let offset = (pixels - &self.center)?;
                // At most 1, and 0 where the radius is 0; an offset of 0 stays 0.
                let shrink = self.radii.div(&norms(&offset, Norm::L2)?.maximum(1e-30)?)?.minimum(1.0)?;
                (&self.center + offset.broadcast_mul(&column(&shrink)?)?)?
            }
        };
        Ok(pixels.maximum(&self.low)?.minimum(&self.high)?)
    }

    /// A random allowed image for each sample: uniform in the ball, then cut by the box.
    pub fn random(&self, rng: &Rng) -> Result<Tensor> {
        self.project(&self.random_unclamped(rng)?)
    }

    /// The clean image with Gaussian noise of this standard deviation in each pixel value, projected.
    pub fn noisy(&self, rng: &Rng, deviation: Distance) -> Result<Tensor> {
        self.project(&(&self.center + (self.drawn(Rng::normal, rng)? * deviation.get())?)?)
    }

    /// A random image at the distance of the radius for each sample, then cut by the box: the start of the
    /// attacks of Croce and Hein. l-inf: uniform numbers divided by the largest of them, so that at least one
    /// value lies on the surface. l2: a uniformly drawn direction.
    pub fn on_surface(&self, rng: &Rng) -> Result<Tensor> {
        let direction = match self.norm {
            Norm::Linf => scaled(&self.drawn(Rng::uniform, rng)?)?,
            Norm::L2 => unit(&self.drawn(Rng::normal, rng)?)?,
        };
        self.project(&(&self.center + direction.broadcast_mul(&column(&self.radii)?)?)?)
    }

    /// A random number for each value of the images, `[n, c, h, w]`.
    fn drawn(&self, numbers: fn(Rng, &[u64], usize) -> Vec<f32>, rng: &Rng) -> Result<Tensor> {
        let len = self.center.elem_count() / self.ids.len().max(1);
        let drawn = numbers(*rng, &self.ids, len);
        let drawn = Tensor::from_vec(drawn, self.center.shape(), self.center.device())?;
        Ok(drawn.to_dtype(self.center.dtype())?)
    }

    /// Like [`Self::random`], but not cut by the box: the start in the authors' code of IAAT.
    pub fn random_unclamped(&self, rng: &Rng) -> Result<Tensor> {
        let offset = match self.norm {
            Norm::Linf => self.drawn(Rng::uniform, rng)?,
            Norm::L2 => {
                // A random direction, at a distance such that equal volumes are equally likely.
                let len = self.center.elem_count() / self.ids.len().max(1);
                let direction = unit(&self.drawn(Rng::normal, rng)?)?;
                let uniform = rng.named("distance").uniform(&self.ids, 1);
                let distance =
                    uniform.iter().map(|u| f64::midpoint(f64::from(*u), 1.0).powf(1.0 / len as f64));
                let distance =
                    Tensor::from_vec(distance.collect::<Vec<f64>>(), self.ids.len(), self.center.device())?;
                direction.broadcast_mul(&column(&distance.to_dtype(self.center.dtype())?)?)?
            }
        };
        Ok((&self.center + offset.broadcast_mul(&column(&self.radii)?)?)?)
    }

    /// [`steepest`] in this ball's norm.
    pub fn steepest(&self, gradient: &Tensor) -> Result<Tensor> {
        steepest(self.norm, gradient)
    }

    /// The step length of each sample, `[n, 1, 1, 1]`: `fixed`, or `relative` times the radius where that is
    /// longer. At most 10,000, which is larger than any distance between images and finite in half precision.
    pub fn lengths(&self, fixed: Distance, relative: f64) -> Result<Tensor> {
        column(&(&self.radii * relative.min(FAR))?.maximum(fixed.get().min(FAR))?.minimum(FAR)?)
    }

    /// `pixels + lengths * direction`, projected.
    pub fn step(&self, pixels: &Tensor, direction: &Tensor, lengths: &Tensor) -> Result<Tensor> {
        match self.norm {
            Norm::Linf => Ok(temper_nn::step_within(pixels, direction, lengths, self.bounds())?),
            Norm::L2 => self.project(&(pixels + direction.broadcast_mul(lengths)?)?),
        }
    }

    /// Distance of each image to its clean one, in `norm`.
    pub fn distances(&self, pixels: &Tensor, norm: Norm) -> Result<Vec<f64>> {
        Ok(match norm {
            Norm::Linf => temper_nn::largest_differences(pixels, &self.center)?,
            Norm::L2 => temper_nn::distances(pixels, &self.center)?,
        })
    }

    /// The balls of some samples.
    pub fn rows(&self, mask: &[bool]) -> Result<Self> {
        let index = index_of(mask, &self.center)?;
        let pick = |t: &Tensor| t.index_select(&index, 0);
        Ok(Self {
            center: pick(&self.center)?,
            radii: pick(&self.radii)?,
            norm: self.norm,
            ids: kept(&self.ids, mask),
            low: pick(&self.low)?,
            high: pick(&self.high)?,
        })
    }
}

/// The direction of length 1 in a norm along which a score with this gradient, `[n, c, h, w]`, rises fastest:
/// the gradient's sign for l-inf, the gradient divided by its length for l2. It is 0 for a gradient of 0.
pub fn steepest(norm: Norm, gradient: &Tensor) -> Result<Tensor> {
    match norm {
        Norm::Linf => Ok(gradient.sign()?),
        Norm::L2 => unit(gradient),
    }
}

/// How much a score with this gradient rises along [`steepest`], for each sample, `[n]`: the gradient's
/// length in the dual norm, l1 for l-inf and l2 for l2, in double precision.
pub fn slope(norm: Norm, gradient: &Tensor) -> Result<Vec<f64>> {
    let rows = gradient.flatten_from(1)?.to_dtype(DType::F64)?;
    let lengths = match norm {
        Norm::Linf => rows.abs()?.sum(1)?,
        Norm::L2 => rows.sqr()?.sum(1)?.sqrt()?,
    };
    Ok(lengths.to_vec1()?)
}

/// Divides each sample's gradient, `[n, c, h, w]`, by its largest absolute entry, so that tiny gradients can be
/// squared and summed. 0 stays 0. A pixel whose gradient is not finite has no direction and becomes 0, as in
/// the sign of the gradient. The loss then reports what is wrong with the network.
pub fn scaled(gradient: &Tensor) -> Result<Tensor> {
    let largest = column(&norms(gradient, Norm::Linf)?.maximum(smallest(gradient.dtype()))?)?;
    let direction = gradient.broadcast_div(&largest)?;
    Ok(direction.eq(&direction)?.where_cond(&direction, &direction.zeros_like()?)?)
}

/// A unit in the last place of numbers from 0.5 to 1; for smaller numbers it is several units.
fn last_place(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON / 2.0,
        DType::F16 => f64::powi(2.0, -11),
        DType::BF16 => f64::powi(2.0, -8),
        _ => f64::from(f32::EPSILON) / 2.0,
    }
}

/// A number that is not 0 in this type, and so small that no gradient of full precision becomes 0 when divided
/// by it.
fn smallest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => f64::powi(2.0, -14),
        _ => f64::from(f32::MIN_POSITIVE),
    }
}

fn unit(direction: &Tensor) -> Result<Tensor> {
    let direction = scaled(direction)?;
    // The largest absolute entry is 1, or all entries are 0.
    let least = if direction.dtype() == DType::F16 { 1e-4 } else { 1e-12 };
    let length = column(&norms(&direction, Norm::L2)?.maximum(least)?)?;
    Ok(direction.broadcast_div(&length)?)
}

/// Length of each row of `[n, c, h, w]`, `[n]`.
fn norms(rows: &Tensor, norm: Norm) -> Result<Tensor> {
    let rows = rows.flatten_from(1)?;
    Ok(match norm {
        Norm::Linf => rows.abs()?.max(1)?,
        // In double precision: the sum of 150,000 squares in single precision can be off by more than the tolerance.
        Norm::L2 => rows.to_dtype(DType::F64)?.sqr()?.sum(1)?.sqrt()?.to_dtype(rows.dtype())?,
    })
}

/// `[n]` as `[n, 1, 1, 1]`.
fn column(values: &Tensor) -> Result<Tensor> {
    Ok(values.reshape((values.elem_count(), 1, 1, 1))?)
}
