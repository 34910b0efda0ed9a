//! Images as floating-point planes.

use temper_data::Image;

/// Height and width.
pub(crate) type Size = [usize; 2];

/// Tolerance for rounding errors below a level, in levels.
///
/// The authors' code cuts off in double precision without a tolerance, where rounding also lowers exact
/// levels. Of the values of the scene of `golden/images.py`, which has flat parts, this affects 32 % for
/// CIFAR's `defocus_blur` of severity 2, 14 % at severity 4 and 11 % for `gaussian_blur` of severity 1 (on
/// noise 0.03 %, 10 % and 0.1 %), each by one level. Which values were one level darker in the published
/// files depends on the order of sums in the libraries that made them.
const ROUNDING: f32 = 1.0 / 1024.0;

/// One image: `[c, h, w]`, in [0, 1] before and after every corruption.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planes {
    pub(crate) channels: usize,
    pub(crate) size: Size,
    pub(crate) values: Vec<f32>,
}

impl Planes {
    pub(crate) fn new(image: &Image) -> Self {
        let [channels, h, w] = image.shape;
        Self { channels, size: [h, w], values: image.floats().into_owned() }
    }

    /// The image as bytes: clamped, and rounded down between two levels, as in the published files. Values
    /// just below a level because of rounding errors count as that level ([`ROUNDING`]).
    pub(crate) fn image(&self) -> Image {
        let bytes =
            self.values.iter().map(|value| (value * 255.0 + ROUNDING).clamp(0.0, 255.0) as u8).collect();
        Image::of_bytes([self.channels, self.size[0], self.size[1]], bytes)
    }

    /// Number of pixels of a plane.
    pub(crate) fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// The planes in order.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let area = self.area();
        self.values.chunks_exact_mut(area)
    }

    /// Applies `change` to each plane.
    pub(crate) fn replace(&mut self, mut change: impl FnMut(&[f32], Size) -> Vec<f32>) {
        let size = self.size;
        self.each().for_each(|plane| plane.copy_from_slice(&change(plane, size)));
    }

    /// Clamps and rounds down to levels, as a conversion to bytes within a corruption does.
    pub(crate) fn cut_to_levels(&mut self) {
        for value in &mut self.values {
            *value = (*value * 255.0 + ROUNDING).floor().clamp(0.0, 255.0) / 255.0;
        }
    }

    /// Luma of every pixel (ITU-R BT.601), `[h, w]`; for a grey image its values.
    pub(crate) fn grey(&self) -> Vec<f32> {
        let area = self.area();
        if self.channels == 1 {
            return self.values.clone();
        }
        let (red, rest) = self.values.split_at(area);
        let (green, blue) = rest.split_at(area);
        red.iter().zip(green).zip(blue).map(|((r, g), b)| 0.299 * r + 0.587 * g + 0.114 * b).collect()
    }

    /// The value that an RGB colour in levels adds to each plane; on a grey image its mean.
    pub(crate) fn colour(&self, [r, g, b]: [f32; 3]) -> Vec<f32> {
        match self.channels {
            1 => vec![(r + g + b) / 3.0 / 255.0],
            _ => [r, g, b].map(|level| level / 255.0).to_vec(),
        }
    }
}
