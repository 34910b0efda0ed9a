//! How perturbations are measured.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far apart two images are. It is defined here because results name it; attacks and balls build on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Norm {
    /// Largest difference of a pixel value.
    #[serde(rename = "linf")]
    Linf,
    /// Euclidean distance over all pixel values.
    #[serde(rename = "l2")]
    L2,
}

impl Norm {
    /// The word for it in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
        }
    }

    /// The largest distance of two images of this shape (channels, height, width) with pixel values of [0, 1].
    pub fn diameter(self, shape: [usize; 3]) -> f64 {
        match self {
            Self::Linf => 1.0,
            Self::L2 => shape.iter().map(|side| *side as f64).product::<f64>().sqrt(),
        }
    }

    /// Why a radius is refused: its ball holds every image of this shape (channels, height, width). Without a
    /// shape only an l-inf radius can be refused, where the shape does not matter. `None` if the radius is
    /// sound.
    pub fn refuses(self, radius: f64, shape: Option<[usize; 3]>) -> Option<String> {
        let (diameter, images) = match (self, shape) {
            (Self::Linf, _) => (self.diameter([1, 1, 1]), String::new()),
            (Self::L2, Some([c, h, w])) => (self.diameter([c, h, w]), format!(" of {c} x {h} x {w}")),
            (Self::L2, None) => return None,
        };
        (radius >= diameter).then(|| {
            let below = (diameter * 1e4).round() / 1e4;
            // A whole number is one of levels whose unit was left out.
            let levels = radius.fract() == 0.0 && radius < 1e6;
            let meant = if levels { format!(": \"{radius}/255\"?") } else { String::new() };
            let radius = if radius < 1e6 { radius.to_string() } else { format!("{radius:e}") };
            format!(
                "an {self} radius of {radius} holds every image{images}: it must be below {below}; lengths are in pixels of [0, 1]{meant}"
            )
        })
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linf => "l-inf",
            Self::L2 => "l2",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_that_hold_every_image_are_refused() {
        let shape = Some([1, 28, 28]);
        assert_eq!(Norm::Linf.refuses(0.999, None), None);
        let told = Norm::Linf.refuses(8.0, None).unwrap();
        assert!(told.starts_with("an l-inf radius of 8 holds every image: it must be below 1;"), "{told}");
        assert!(told.ends_with("\"8/255\"?"), "{told}");
        assert!(Norm::Linf.refuses(1.0, shape).is_some());
        assert_eq!((Norm::L2.refuses(27.9, shape), Norm::L2.refuses(128.0, None)), (None, None));
        let told = Norm::L2.refuses(128.0, shape).unwrap();
        assert!(told.contains("holds every image of 1 x 28 x 28: it must be below 28;"), "{told}");
        assert!(Norm::L2.refuses(28.0, shape).is_some());
    }
}
