//! Data augmentation of training images: random crops and horizontal flips.

use std::fmt::Display;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fit::Fit;
use crate::image::Image;
use crate::resize::{Window, resize};

/// A random crop, then a horizontal flip with probability 1/2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "AugmentFields", into = "AugmentFields")]
pub struct Augment {
    /// How the crop is drawn.
    pub crop: Crop,
    /// Whether images are flipped horizontally with probability 1/2.
    pub flip: bool,
}

/// The kinds of crops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crop {
    /// The crop usual for CIFAR: the image is padded on every side and cropped to its original size at a
    /// random position.
    Padded {
        /// Pixels of padding on every side; 0 means no crop.
        pad: usize,
        /// How the padding is filled.
        fill: Fill,
    },
    /// The crop usual for ImageNet (Szegedy et al. 2015, <https://arxiv.org/abs/1409.4842>): a rectangle of
    /// random area, aspect ratio and position, resized; as in torchvision's `RandomResizedCrop`.
    Resized {
        /// Smallest and largest share of the image's area.
        scale: [f64; 2],
        /// Smallest and largest ratio of width to height.
        ratio: [f64; 2],
    },
}

/// How padding is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// The image, reflected at its outermost pixels, which are not repeated.
    Reflect,
    /// Black.
    Zero,
}

/// The names of the crops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum AugmentKind {
    /// The image, padded on every side, at a random position: usual for CIFAR.
    Padded,
    /// A rectangle of random area, ratio and position, resized: usual for ImageNet.
    Resized,
}

/// An augmentation as written in TOML. `crop = "padded"` is not written, because it was once the only crop.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct AugmentFields {
    /// The kind of crop; by default `"padded"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    crop: Option<AugmentKind>,
    /// Of `"padded"`: pixels of padding on every side; by default 4, and 0 is no crop.
    pad: Option<usize>,
    /// Of `"padded"`: how the padding is filled; by default `"reflect"`.
    fill: Option<Fill>,
    /// Of `"resized"`: smallest and largest share of the image's area; by default 0.08 and 1.
    scale: Option<[f64; 2]>,
    /// Of `"resized"`: smallest and largest ratio of width to height; by default 3/4 and 4/3.
    ratio: Option<[f64; 2]>,
    /// Flips horizontally with probability 1/2; by default true.
    flip: Option<bool>,
}

impl TryFrom<AugmentFields> for Augment {
    type Error = String;

    fn try_from(written: AugmentFields) -> Result<Self, String> {
        let AugmentFields { crop, pad, fill, scale, ratio, flip } = written;
        let crop = match crop.unwrap_or(AugmentKind::Padded) {
            AugmentKind::Padded => {
                if scale.is_some() || ratio.is_some() {
                    return Err("`scale` and `ratio` belong to `crop = \"resized\"`".into());
                }
                Crop::Padded { pad: pad.unwrap_or(4), fill: fill.unwrap_or(Fill::Reflect) }
            }
            AugmentKind::Resized => {
                if pad.is_some() || fill.is_some() {
                    return Err("`pad` and `fill` belong to `crop = \"padded\"`".into());
                }
                let scale = range(
                    "scale",
                    scale.unwrap_or([0.08, 1.0]),
                    1.0,
                    "shares of the area, above 0 and at most 1",
                )?;
                let ratio = ratio.unwrap_or([3.0 / 4.0, 4.0 / 3.0]);
                Crop::Resized {
                    scale,
                    ratio: range("ratio", ratio, f64::MAX, "ratios of width to height, above 0")?,
                }
            }
        };
        Ok(Self { crop, flip: flip.unwrap_or(true) })
    }
}

/// Two numbers above 0 and up to `most`, the first not larger than the second.
fn range(name: &str, [low, high]: [f64; 2], most: f64, what: impl Display) -> Result<[f64; 2], String> {
    match 0.0 < low && low <= high && high <= most {
        true => Ok([low, high]),
        false => Err(format!("`{name}` is [{low}, {high}], expected two {what}, the smaller first")),
    }
}

impl From<Augment> for AugmentFields {
    fn from(Augment { crop, flip }: Augment) -> Self {
        let written = Self { flip: Some(flip), ..Self::default() };
        match crop {
            Crop::Padded { pad, fill } => Self { pad: Some(pad), fill: Some(fill), ..written },
            Crop::Resized { scale, ratio } => {
                Self { crop: Some(AugmentKind::Resized), scale: Some(scale), ratio: Some(ratio), ..written }
            }
        }
    }
}

impl Augment {
    /// The reason why it cannot be applied to images of this shape; `None` if it can.
    pub fn misfit(&self, [_, h, w]: [usize; 3]) -> Option<String> {
        let side = h.min(w);
        match self.crop {
            Crop::Padded { pad, .. } if pad >= side => {
                Some(format!("`pad` is {pad}, but images are {h} x {w}: at most {}", side - 1))
            }
            _ => None,
        }
    }

    /// A random version of an image, drawn from `rng`, in the size of `fit`, or in its own size without `fit`.
    pub fn apply(&self, image: Image, fit: Option<Fit>, rng: &mut ChaCha8Rng) -> Image {
        match self.crop {
            Crop::Padded { pad, fill } => {
                let image = match fit {
                    Some(fit) => fit.apply(&image),
                    None => image,
                };
                self.padded(&image, (pad, fill), rng)
            }
            Crop::Resized { scale, ratio } => {
                let [_, h, w] = image.shape;
                // The flip is drawn first, because the number of draws for a rectangle varies.
                let mirrored = rng.random::<bool>() && self.flip;
                let from = rectangle([h, w], scale, ratio, rng);
                let [height, width] = fit.map_or([h, w], |fit| [fit.size(), fit.size()]);
                let image = resize(&image, from, [height, width], Window { top: 0, left: 0, height, width });
                if !mirrored {
                    return image;
                }
                let mirror = |at: usize| Some(at / width * width + width - 1 - at % width);
                image.moved(image.shape, (0..image.len()).map(mirror))
            }
        }
    }

    fn padded(&self, image: &Image, (pad, fill): (usize, Fill), rng: &mut ChaCha8Rng) -> Image {
        // All three are always drawn, so that one option does not affect the random numbers of the others.
        let down = rng.random_range(0..=2 * pad);
        let right = rng.random_range(0..=2 * pad);
        let mirrored = rng.random::<bool>() && self.flip;
        let [c, h, w] = image.shape;
        let columns: Vec<Option<usize>> =
            (0..w).map(|x| fill.origin(if mirrored { w - 1 - x } else { x } + right, pad, w)).collect();
        let rows = (0..c).flat_map(|channel| (0..h).map(move |y| (channel, y)));
        let places = rows.flat_map(|(channel, y)| {
            let row = fill.origin(y + down, pad, h).map(|y| (channel * h + y) * w);
            columns.iter().map(move |x| row.zip(*x).map(|(row, x)| row + x))
        });
        image.moved(image.shape, places)
    }
}

impl Fill {
    /// The source of position `at` on an axis of `len` pixels with `pad` pixels of padding; `None` outside
    /// the image.
    fn origin(self, at: usize, pad: usize, len: usize) -> Option<usize> {
        match self {
            Fill::Zero => at.checked_sub(pad).filter(|at| *at < len),
            Fill::Reflect => {
                let inside = at.abs_diff(pad);
                Some(if inside < len { inside } else { 2 * (len - 1) - inside })
            }
        }
    }
}

/// A rectangle whose share of the area is uniform in `scale` and whose logarithm of width to height is uniform
/// in that of `ratio`. If ten draws do not fit into the image, the largest centred rectangle with an allowed
/// ratio.
fn rectangle([h, w]: [usize; 2], scale: [f64; 2], ratio: [f64; 2], rng: &mut ChaCha8Rng) -> Window {
    let round = |side: f64| side.round_ties_even() as usize;
    for _ in 0..10 {
        let area = (h * w) as f64 * rng.random_range(scale[0]..=scale[1]);
        let ratio = rng.random_range(ratio[0].ln()..=ratio[1].ln()).exp();
        let (width, height) = (round((area * ratio).sqrt()), round((area / ratio).sqrt()));
        if (1..=w).contains(&width) && (1..=h).contains(&height) {
            let (top, left) = (rng.random_range(0..=h - height), rng.random_range(0..=w - width));
            return Window { top, left, height, width };
        }
    }
    let whole = w as f64 / h as f64;
    let (height, width) = if whole < ratio[0] {
        (round(w as f64 / ratio[0]), w)
    } else if whole > ratio[1] {
        (h, round(h as f64 * ratio[1]))
    } else {
        (h, w)
    };
    let (height, width) = (height.clamp(1, h), width.clamp(1, w));
    Window { top: (h - height) / 2, left: (w - width) / 2, height, width }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Rng;

    fn image() -> Image {
        Image::of_bytes([2, 3, 3], (1..=18).collect())
    }

    fn padded(pad: usize, fill: Fill, flip: bool) -> Augment {
        Augment { crop: Crop::Padded { pad, fill }, flip }
    }

    /// All different versions in 2,000 draws.
    fn versions(augment: Augment) -> BTreeSet<Vec<u8>> {
        let rng = Rng::new(3, "augment");
        (0..2000).map(|id| augment.apply(image(), None, &mut rng.sample(id)).bytes().into_owned()).collect()
    }

    #[test]
    fn every_shift_and_side_comes_up_and_nothing_else() {
        assert_eq!(versions(padded(0, Fill::Reflect, false)), BTreeSet::from([image().bytes().into_owned()]));
        let mirrored = vec![3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10, 15, 14, 13, 18, 17, 16];
        assert_eq!(
            versions(padded(0, Fill::Reflect, true)),
            BTreeSet::from([image().bytes().into_owned(), mirrored])
        );
        assert_eq!(versions(padded(1, Fill::Reflect, false)).len(), 9);
        assert_eq!(versions(padded(2, Fill::Zero, true)).len(), 50);
    }

    #[test]
    fn the_corners_are_what_the_fill_says() {
        let has =
            |augment: Augment, first: [u8; 9]| versions(augment).iter().any(|bytes| bytes[..9] == first);
        let reflect = padded(1, Fill::Reflect, false);
        // numpy.pad(image, 1, mode="reflect")[:3, :3] and [2:, 2:].
        assert!(has(reflect, [5, 4, 5, 2, 1, 2, 5, 4, 5]));
        assert!(has(reflect, [5, 6, 5, 8, 9, 8, 5, 6, 5]));
        let zero = padded(2, Fill::Zero, false);
        assert!(has(zero, [0, 0, 0, 0, 0, 0, 0, 0, 1]));
        assert!(has(zero, [9, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(!has(zero, [5, 4, 5, 2, 1, 2, 5, 4, 5]));
    }

    #[test]
    fn padding_must_fit_the_image() {
        let augment = padded(3, Fill::Reflect, true);
        assert_eq!(augment.misfit([2, 3, 5]).unwrap(), "`pad` is 3, but images are 3 x 5: at most 2");
        assert_eq!(augment.misfit([2, 4, 5]), None);
    }

    #[test]
    fn rectangles_are_drawn_as_torchvision_draws_them() {
        // Means over 200,000 draws of torchvision's RandomResizedCrop.get_params with its defaults: share of the area,
        // logarithm of width by height, share of the crops that are wider than 350.
        let (mean_area, mean_shape, wide) = (0.4341, 0.0308, 0.0408);
        let rng = Rng::new(5, "rectangles");
        let draws: Vec<Window> = (0..20_000)
            .map(|id| rectangle([300, 400], [0.08, 1.0], [0.75, 4.0 / 3.0], &mut rng.sample(id)))
            .collect();
        let mean = |f: &dyn Fn(&Window) -> f64| draws.iter().map(f).sum::<f64>() / draws.len() as f64;
        let area = |r: &Window| (r.height * r.width) as f64 / 120_000.0;
        let shape = |r: &Window| (r.width as f64 / r.height as f64).ln();
        assert!((mean(&area) - mean_area).abs() < 0.006, "{}", mean(&area));
        assert!((mean(&shape) - mean_shape).abs() < 0.004, "{}", mean(&shape));
        assert!((mean(&|r| f64::from(u8::from(r.width > 350))) - wide).abs() < 0.006);
        assert!(draws.iter().all(|r| r.top + r.height <= 300 && r.left + r.width <= 400));
        // Every position occurs, including the outermost ones.
        let touches = |f: &dyn Fn(&Window) -> bool| draws.iter().any(f);
        assert!(touches(&|r| r.top == 0) && touches(&|r| r.left == 0));
        assert!(touches(&|r| r.top + r.height == 300) && touches(&|r| r.left + r.width == 400));
    }

    #[test]
    fn images_too_long_for_any_rectangle_give_their_middle() {
        let drawn = |shape| rectangle(shape, [0.08, 1.0], [0.75, 4.0 / 3.0], &mut Rng::new(0, "").sample(0));
        // Results of torchvision's RandomResizedCrop.get_params for the same sizes.
        assert_eq!(drawn([2, 1000]), Window { top: 0, left: 498, height: 2, width: 3 });
        assert_eq!(drawn([1000, 3]), Window { top: 498, left: 0, height: 4, width: 3 });
        assert_eq!(drawn([1, 1]), Window { top: 0, left: 0, height: 1, width: 1 });
    }

    #[test]
    fn a_resized_crop_has_the_size_that_is_asked_for_and_two_sides() {
        let resized = |flip| Augment { crop: Crop::Resized { scale: [1.0, 1.0], ratio: [1.0, 1.0] }, flip };
        assert_eq!(versions(resized(false)), BTreeSet::from([image().bytes().into_owned()]));
        let mirrored = vec![3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10, 15, 14, 13, 18, 17, 16];
        assert_eq!(versions(resized(true)), BTreeSet::from([image().bytes().into_owned(), mirrored]));
        let fit = Some(Fit::new(8, 5).unwrap());
        for augment in [resized(true), padded(2, Fill::Zero, true)] {
            assert_eq!(augment.apply(image(), fit, &mut Rng::new(0, "").sample(1)).shape, [2, 5, 5]);
        }
    }

    #[test]
    fn toml_says_one_crop_or_the_other() {
        let read = |text: &str| toml::from_str::<Augment>(text).map_err(|e| e.message().to_string());
        assert_eq!(read("").unwrap(), padded(4, Fill::Reflect, true));
        // The text must not change: checkpoints compare it.
        assert_eq!(
            toml::to_string(&read("").unwrap()).unwrap(),
            "pad = 4\nfill = \"reflect\"\nflip = true\n"
        );
        let resized = read("crop = \"resized\"").unwrap();
        assert_eq!(resized.crop, Crop::Resized { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] });
        assert_eq!(read(&toml::to_string(&resized).unwrap()).unwrap(), resized);
        for (text, message) in [
            ("scale = [0.5, 1.0]", "`scale` and `ratio` belong to `crop = \"resized\"`"),
            ("crop = \"resized\"\npad = 4", "`pad` and `fill` belong to `crop = \"padded\"`"),
            (
                "crop = \"resized\"\nscale = [0.5, 2.0]",
                "`scale` is [0.5, 2], expected two shares of the area, above 0 and at most 1, the smaller first",
            ),
            (
                "crop = \"resized\"\nratio = [2.0, 1.0]",
                "`ratio` is [2, 1], expected two ratios of width to height, above 0, the smaller first",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), message);
        }
        assert!(read("crop = \"resised\"").unwrap_err().contains("expected `padded` or `resized`"));
    }
}
