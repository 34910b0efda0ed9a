//! Images as tanh of an unbounded variable (section V-B of the paper).

use temper_core::prelude::*;

/// A box `[n, c, h, w]`. The variable w gives the image at (tanh w / edge + 1) / 2 of the way from `low` to
/// `high`. `edge` is the value of tanh for a pixel on the boundary; with 1 the variable would be infinite.
/// With this division, as in ART, the clean image is reproduced up to rounding. Values outside the box are
/// clamped.
pub(crate) struct TanhBox {
    low: Tensor,
    high: Tensor,
    width: Tensor,
    edge: f64,
}

impl TanhBox {
    pub(crate) fn new(low: &Tensor, high: &Tensor, edge: Share) -> Result<Self> {
        Ok(Self { low: low.clone(), high: high.clone(), width: (high - low)?, edge: edge.get() })
    }

    /// The box [0, 1] for each pixel of `like`, with the edge of the authors' code.
    pub(crate) fn unit(like: &Tensor) -> Result<Self> {
        Self::new(&like.zeros_like()?, &like.ones_like()?, Share::of(0.999_999))
    }

    pub(crate) fn rows(&self, mask: &[bool]) -> Result<Self> {
        let pick = |t: &Tensor| rows::select(t, mask);
        Ok(Self {
            low: pick(&self.low)?,
            high: pick(&self.high)?,
            width: pick(&self.width)?,
            edge: self.edge,
        })
    }

    /// The variable whose image is `pixels`; arbitrary where the box has no width.
    pub(crate) fn variable(&self, pixels: &Tensor) -> Result<Tensor> {
        let way = ((pixels - &self.low)? / self.width.maximum(1e-12)?)?.clamp(0.0, 1.0)?;
        let tanh = (way.affine(2.0, -1.0)? * self.edge)?;
        // The inverse hyperbolic tangent.
        Ok(((tanh.affine(1.0, 1.0)? / tanh.affine(-1.0, 1.0)?)?.log()? * 0.5)?)
    }

    /// The image of a variable.
    pub(crate) fn pixels(&self, variable: &Tensor) -> Result<Tensor> {
        let way = variable.tanh()?.affine(0.5 / self.edge, 0.5)?;
        Ok((&self.low + (way * &self.width)?)?.maximum(&self.low)?.minimum(&self.high)?)
    }

    /// Converts a gradient with respect to the image into one with respect to the variable. NaN becomes 0,
    /// and values whose square would overflow are clamped, so that a network that overflows does not make the
    /// image NaN.
    pub(crate) fn pull_back(&self, variable: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let slope = variable.tanh()?.sqr()?.affine(-0.5 / self.edge, 0.5 / self.edge)?;
        let pulled = ((gradient * &self.width)? * slope)?;
        Ok(pulled.eq(&pulled)?.where_cond(&pulled, &pulled.zeros_like()?)?.clamp(-1e18, 1e18)?)
    }
}

#[cfg(test)]
mod tests {
    use temper_core::Device;

    use super::*;

    #[test]
    fn images_come_back_and_pixels_on_the_bounds_have_a_slope() {
        let pixels =
            Tensor::new(&[0f32, 1.0, 0.3, 0.999], &Device::Cpu).unwrap().reshape((1, 1, 2, 2)).unwrap();
        let unit = TanhBox::unit(&pixels).unwrap();
        let variable = unit.variable(&pixels).unwrap();
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (back, pixel) in numbers(&unit.pixels(&variable).unwrap()).iter().zip(numbers(&pixels)) {
            assert!((back - pixel).abs() < 1e-6, "{back} for {pixel}");
        }
        let slopes = numbers(&unit.pull_back(&variable, &pixels.ones_like().unwrap()).unwrap());
        assert!(slopes.iter().all(|slope| *slope > 5e-7 && *slope <= 0.51), "{slopes:?}");
    }

    #[test]
    fn gradients_that_overflow_stay_numbers() {
        let pixels = Tensor::new(&[0.5f32, 0.5, 0.5], &Device::Cpu).unwrap().reshape((1, 1, 1, 3)).unwrap();
        let gradient = Tensor::new(&[f32::NAN, f32::INFINITY, -2.0], &Device::Cpu).unwrap();
        let unit = TanhBox::unit(&pixels).unwrap();
        let gradient = gradient.reshape((1, 1, 1, 3)).unwrap();
        let pulled = unit.pull_back(&unit.variable(&pixels).unwrap(), &gradient).unwrap();
        let pulled = pulled.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(pulled[0] == 0.0 && pulled[1] == 1e18 && (pulled[2] + 1.0).abs() < 1e-5, "{pulled:?}");
    }

    #[test]
    fn a_box_without_width_holds_its_one_image() {
        let pixels = Tensor::new(&[0f32, 0.7], &Device::Cpu).unwrap().reshape((1, 1, 1, 2)).unwrap();
        let point = TanhBox::new(&pixels, &pixels, Share::of(0.99)).unwrap();
        let variable = point.variable(&pixels).unwrap();
        let back = point.pixels(&variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(back, [0.0, 0.7]);
    }
}
