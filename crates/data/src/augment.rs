//! Random changes of training images that keep their class: shifted crops and mirror images.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::source::Image;

/// Pad, crop at a random place, mirror: the usual augmentation of CIFAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Pixels added on every side before an image of the old size is cut out at a random place; 0: none.
    pub pad: usize,
    /// What the added pixels hold.
    pub fill: Fill,
    /// Mirror left and right, every other time?
    pub flip: bool,
}

impl Default for Augment {
    fn default() -> Self {
        Self { pad: 4, fill: Fill::Reflect, flip: true }
    }
}

/// What lies beyond an image's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// The image mirrored at its outermost pixels, which are not repeated.
    Reflect,
    /// Black.
    Zero,
}

impl Augment {
    /// What keeps it from images of this shape, if anything.
    pub fn misfit(&self, [_, h, w]: [usize; 3]) -> Option<String> {
        let side = h.min(w);
        (self.pad >= side)
            .then(|| format!("`pad` is {}, but images are {h} x {w}: at most {}", self.pad, side - 1))
    }

    /// One random version of an image: a place for the crop and a side to look from, drawn from `rng`.
    pub fn apply(&self, image: &Image, rng: &mut ChaCha8Rng) -> Image {
        // All three are always drawn, so that one option does not change what the others draw.
        let down = rng.random_range(0..=2 * self.pad);
        let right = rng.random_range(0..=2 * self.pad);
        let mirrored = rng.random::<bool>() && self.flip;
        let [c, h, w] = image.shape;
        let columns: Vec<Option<usize>> =
            (0..w).map(|x| self.origin(if mirrored { w - 1 - x } else { x } + right, w)).collect();
        let mut bytes = Vec::with_capacity(image.bytes.len());
        for channel in 0..c {
            for y in 0..h {
                let row = self.origin(y + down, h).map(|y| &image.bytes[(channel * h + y) * w..][..w]);
                bytes.extend(columns.iter().map(|x| match (row, x) {
                    (Some(row), Some(x)) => row[*x],
                    _ => 0,
                }));
            }
        }
        Image { shape: image.shape, bytes }
    }

    /// Where position `at` of a padded axis comes from, in an image of `len`; `None`: nowhere.
    fn origin(&self, at: usize, len: usize) -> Option<usize> {
        match self.fill {
            Fill::Zero => at.checked_sub(self.pad).filter(|at| *at < len),
            Fill::Reflect => {
                let inside = at.abs_diff(self.pad);
                Some(if inside < len { inside } else { 2 * (len - 1) - inside })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Rng;

    fn image() -> Image {
        Image { shape: [2, 3, 3], bytes: (1..=18).collect() }
    }

    /// All versions that 2,000 draws give.
    fn versions(augment: Augment) -> BTreeSet<Vec<u8>> {
        let rng = Rng::new(3, "augment");
        (0..2000).map(|id| augment.apply(&image(), &mut rng.sample(id)).bytes).collect()
    }

    #[test]
    fn every_shift_and_side_comes_up_and_nothing_else() {
        let none = Augment { pad: 0, fill: Fill::Reflect, flip: false };
        assert_eq!(versions(none), BTreeSet::from([image().bytes]));
        let mirrored = vec![3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10, 15, 14, 13, 18, 17, 16];
        assert_eq!(versions(Augment { flip: true, ..none }), BTreeSet::from([image().bytes, mirrored]));
        assert_eq!(versions(Augment { pad: 1, ..none }).len(), 9);
        assert_eq!(versions(Augment { pad: 2, fill: Fill::Zero, flip: true }).len(), 50);
    }

    #[test]
    fn the_corners_are_what_the_fill_says() {
        let has =
            |augment: Augment, first: [u8; 9]| versions(augment).iter().any(|bytes| bytes[..9] == first);
        let reflect = Augment { pad: 1, fill: Fill::Reflect, flip: false };
        // numpy.pad(image, 1, mode="reflect")[:3, :3] and [2:, 2:].
        assert!(has(reflect, [5, 4, 5, 2, 1, 2, 5, 4, 5]));
        assert!(has(reflect, [5, 6, 5, 8, 9, 8, 5, 6, 5]));
        let zero = Augment { pad: 2, fill: Fill::Zero, flip: false };
        assert!(has(zero, [0, 0, 0, 0, 0, 0, 0, 0, 1]));
        assert!(has(zero, [9, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(!has(zero, [5, 4, 5, 2, 1, 2, 5, 4, 5]));
    }

    #[test]
    fn padding_must_fit_the_image() {
        let augment = Augment { pad: 3, ..Augment::default() };
        assert_eq!(augment.misfit([2, 3, 5]).unwrap(), "`pad` is 3, but images are 3 x 5: at most 2");
        assert_eq!(augment.misfit([2, 4, 5]), None);
    }
}
