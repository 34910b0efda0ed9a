//! The published parameters of each kind at each severity.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::{CorruptionKind, CorruptionSeverity};
use crate::spatter::{Liquid, Spatter};
use crate::weather::Snow;

/// The origin of parameters: those of CIFAR-10-C and CIFAR-100-C, or those of ImageNet-C, as in the authors'
/// code (hendrycks/robustness, `make_cifar_c.py`, `make_imagenet_c.py`). Lengths are pixels of images of 32
/// and of 224 pixels a side; they are not scaled to other sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Parameters {
    /// Those of CIFAR-10-C and CIFAR-100-C, for images of 32 pixels a side.
    Cifar,
    /// Those of ImageNet-C, for images of 224 pixels a side. They make small images unrecognisable.
    ImageNet,
}

/// A kind with its parameters. Lengths are in pixels, values in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Strength {
    GaussianNoise { std: f32 },
    ShotNoise { photons: f32 },
    ImpulseNoise { share: f32 },
    DefocusBlur { radius: f32, alias: f32 },
    GlassBlur { sigma: f32, reach: usize, passes: usize },
    MotionBlur { radius: f32, sigma: f32 },
    ZoomBlur { count: usize, step: f64 },
    Snow(Snow),
    Frost { image: f32, ice: f32 },
    Fog { amplitude: f32, decay: f64 },
    Brightness { more: f32 },
    Contrast { factor: f32 },
    ElasticTransform { alpha: f32, sigma: f32, affine: f64 },
    Pixelate { scale: f64 },
    JpegCompression { quality: u16 },
    SpeckleNoise { std: f32 },
    GaussianBlur { sigma: f32 },
    Spatter(Spatter),
    Saturate { times: f32, plus: f32 },
}

impl Parameters {
    /// The parameters for images closer in size to this side in pixels: up to 64 those of CIFAR.
    pub fn of_side(side: usize) -> Self {
        if side <= 64 { Self::Cifar } else { Self::ImageNet }
    }

    /// Their name in TOML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar => "cifar",
            Self::ImageNet => "imagenet",
        }
    }

    /// The parameters of a kind at a severity.
    pub(crate) fn strength(self, kind: CorruptionKind, severity: CorruptionSeverity) -> Strength {
        let place = severity.place();
        match self {
            Self::Cifar => cifar(kind, place),
            Self::ImageNet => imagenet(kind, place),
        }
    }
}

fn cifar(kind: CorruptionKind, s: usize) -> Strength {
    use Strength as S;
    match kind {
        CorruptionKind::GaussianNoise => S::GaussianNoise { std: [0.04, 0.06, 0.08, 0.09, 0.10][s] },
        CorruptionKind::ShotNoise => S::ShotNoise { photons: [500.0, 250.0, 100.0, 75.0, 50.0][s] },
        CorruptionKind::ImpulseNoise => S::ImpulseNoise { share: [0.01, 0.02, 0.03, 0.05, 0.07][s] },
        CorruptionKind::DefocusBlur => {
            defocus([(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)][s])
        }
        CorruptionKind::GlassBlur => {
            glass([(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)][s])
        }
        CorruptionKind::MotionBlur => motion([(6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5)][s]),
        // Up to below 1.06, 1.11, 1.16, 1.21, 1.26; numpy's `arange` includes the end of the first two
        // because of rounding.
        CorruptionKind::ZoomBlur => S::ZoomBlur { count: [7, 12, 16, 21, 26][s], step: 0.01 },
        CorruptionKind::Snow => snow(
            [
                (0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95),
                (0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8),
            ][s],
        ),
        CorruptionKind::Frost => frost([(1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)][s]),
        CorruptionKind::Fog => fog([(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)][s]),
        CorruptionKind::Brightness => S::Brightness { more: [0.05, 0.1, 0.15, 0.2, 0.3][s] },
        CorruptionKind::Contrast => S::Contrast { factor: [0.75, 0.5, 0.4, 0.3, 0.15][s] },
        CorruptionKind::ElasticTransform => {
            let all = [
                (0.0, 0.0, 0.08),
                (0.05, 0.2, 0.07),
                (0.08, 0.06, 0.06),
                (0.1, 0.04, 0.05),
                (0.1, 0.03, 0.03),
            ];
            elastic(all[s], 32.0)
        }
        CorruptionKind::Pixelate => S::Pixelate { scale: [0.95, 0.9, 0.85, 0.75, 0.65][s] },
        CorruptionKind::JpegCompression => S::JpegCompression { quality: [80, 65, 58, 50, 40][s] },
        CorruptionKind::SpeckleNoise => S::SpeckleNoise { std: [0.06, 0.1, 0.12, 0.16, 0.2][s] },
        CorruptionKind::GaussianBlur => S::GaussianBlur { sigma: [0.4, 0.6, 0.7, 0.8, 1.0][s] },
        CorruptionKind::Spatter => spatter(
            [
                (0.62, 0.1, 0.7, 0.7, Liquid::Water(0.5)),
                (0.65, 0.1, 0.8, 0.7, Liquid::Water(0.5)),
                (0.65, 0.3, 1.0, 0.69, Liquid::Water(0.5)),
                (0.65, 0.1, 0.7, 0.69, Liquid::Mud(0.6)),
                (0.65, 0.1, 0.5, 0.68, Liquid::Mud(0.6)),
            ][s],
        ),
        CorruptionKind::Saturate => saturate([(0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)][s]),
    }
}

fn imagenet(kind: CorruptionKind, s: usize) -> Strength {
    use Strength as S;
    match kind {
        CorruptionKind::GaussianNoise => S::GaussianNoise { std: [0.08, 0.12, 0.18, 0.26, 0.38][s] },
        CorruptionKind::ShotNoise => S::ShotNoise { photons: [60.0, 25.0, 12.0, 5.0, 3.0][s] },
        CorruptionKind::ImpulseNoise => S::ImpulseNoise { share: [0.03, 0.06, 0.09, 0.17, 0.27][s] },
        CorruptionKind::DefocusBlur => {
            defocus([(3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)][s])
        }
        CorruptionKind::GlassBlur => {
            glass([(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)][s])
        }
        CorruptionKind::MotionBlur => {
            motion([(10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0)][s])
        }
        // Up to below 1.11 (which numpy's `arange` includes because of rounding), 1.16, 1.21, 1.26, 1.31.
        CorruptionKind::ZoomBlur => {
            let (count, step) = [(12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)][s];
            S::ZoomBlur { count, step }
        }
        CorruptionKind::Snow => snow(
            [
                (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
                (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
                (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
            ][s],
        ),
        CorruptionKind::Frost => frost([(1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)][s]),
        CorruptionKind::Fog => fog([(1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)][s]),
        CorruptionKind::Brightness => S::Brightness { more: [0.1, 0.2, 0.3, 0.4, 0.5][s] },
        CorruptionKind::Contrast => S::Contrast { factor: [0.4, 0.3, 0.2, 0.1, 0.05][s] },
        CorruptionKind::ElasticTransform => {
            let all = [
                (2.0, 0.7, 0.1),
                (2.0, 0.08, 0.2),
                (0.05, 0.01, 0.02),
                (0.07, 0.01, 0.02),
                (0.12, 0.01, 0.02),
            ];
            // Not 224; this is the published value.
            elastic(all[s], 244.0)
        }
        CorruptionKind::Pixelate => S::Pixelate { scale: [0.6, 0.5, 0.4, 0.3, 0.25][s] },
        CorruptionKind::JpegCompression => S::JpegCompression { quality: [25, 18, 15, 10, 7][s] },
        CorruptionKind::SpeckleNoise => S::SpeckleNoise { std: [0.15, 0.2, 0.35, 0.45, 0.6][s] },
        CorruptionKind::GaussianBlur => S::GaussianBlur { sigma: [1.0, 2.0, 3.0, 4.0, 6.0][s] },
        CorruptionKind::Spatter => spatter(
            [
                (0.65, 0.3, 4.0, 0.69, Liquid::Water(0.6)),
                (0.65, 0.3, 3.0, 0.68, Liquid::Water(0.6)),
                (0.65, 0.3, 2.0, 0.68, Liquid::Water(0.5)),
                (0.65, 0.3, 1.0, 0.65, Liquid::Mud(1.5)),
                (0.67, 0.4, 1.0, 0.65, Liquid::Mud(1.5)),
            ][s],
        ),
        CorruptionKind::Saturate => {
            saturate([(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)][s])
        }
    }
}

fn defocus((radius, alias): (f32, f32)) -> Strength {
    Strength::DefocusBlur { radius, alias }
}

fn glass((sigma, reach, passes): (f32, usize, usize)) -> Strength {
    Strength::GlassBlur { sigma, reach, passes }
}

fn motion((radius, sigma): (f32, f32)) -> Strength {
    Strength::MotionBlur { radius, sigma }
}

fn snow((mean, std, zoom, threshold, radius, sigma, mix): (f32, f32, f64, f32, f32, f32, f32)) -> Strength {
    Strength::Snow(Snow { mean, std, zoom, threshold, radius, sigma, mix })
}

fn frost((image, ice): (f32, f32)) -> Strength {
    Strength::Frost { image, ice }
}

fn fog((amplitude, decay): (f32, f64)) -> Strength {
    Strength::Fog { amplitude, decay }
}

fn elastic((alpha, sigma, affine): (f64, f64, f64), side: f64) -> Strength {
    let [alpha, sigma] = [alpha, sigma].map(|share| (share * side) as f32);
    Strength::ElasticTransform { alpha, sigma, affine: affine * side }
}

fn spatter((mean, std, sigma, threshold, liquid): (f32, f32, f32, f32, Liquid)) -> Strength {
    Strength::Spatter(Spatter { mean, std, sigma, threshold, liquid })
}

fn saturate((times, plus): (f32, f32)) -> Strength {
    Strength::Saturate { times, plus }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serde_reads_and_sides_choose() {
        for parameters in [Parameters::Cifar, Parameters::ImageNet] {
            let read: Result<Parameters, serde::de::value::Error> =
                Parameters::deserialize(serde::de::value::StrDeserializer::new(parameters.name()));
            assert_eq!(read, Ok(parameters));
        }
        assert_eq!(
            [28, 64, 65, 224].map(Parameters::of_side).map(Parameters::name),
            ["cifar", "cifar", "imagenet", "imagenet"]
        );
    }

    /// The numbers of a strength, in the order of `golden/parameters.txt`.
    fn numbers(strength: Strength) -> Vec<f64> {
        use Strength as S;
        let single = |numbers: &[f32]| numbers.iter().copied().map(f64::from).collect();
        match strength {
            S::GaussianNoise { std: n }
            | S::SpeckleNoise { std: n }
            | S::ShotNoise { photons: n }
            | S::ImpulseNoise { share: n }
            | S::Brightness { more: n }
            | S::Contrast { factor: n }
            | S::GaussianBlur { sigma: n } => single(&[n]),
            S::DefocusBlur { radius: a, alias: b }
            | S::MotionBlur { radius: a, sigma: b }
            | S::Frost { image: a, ice: b }
            | S::Saturate { times: a, plus: b } => single(&[a, b]),
            S::GlassBlur { sigma, reach, passes } => vec![f64::from(sigma), reach as f64, passes as f64],
            S::ZoomBlur { count, step } => vec![count as f64, step],
            S::Snow(Snow { mean, std, zoom, threshold, radius, sigma, mix }) => {
                let [mean, std, threshold, radius, sigma, mix] =
                    [mean, std, threshold, radius, sigma, mix].map(f64::from);
                vec![mean, std, zoom, threshold, radius, sigma, mix]
            }
            S::Fog { amplitude, decay } => vec![f64::from(amplitude), decay],
            S::ElasticTransform { alpha, sigma, affine } => vec![f64::from(alpha), f64::from(sigma), affine],
            S::Pixelate { scale } => vec![scale],
            S::JpegCompression { quality } => vec![f64::from(quality)],
            S::Spatter(Spatter { mean, std, sigma, threshold, liquid }) => match liquid {
                Liquid::Water(strength) => single(&[mean, std, sigma, threshold, strength, 0.0]),
                Liquid::Mud(rounding) => single(&[mean, std, sigma, threshold, rounding, 1.0]),
            },
        }
    }

    /// Published numbers; some have another form than the one used here.
    fn used(parameters: Parameters, kind: CorruptionKind, mut published: Vec<f64>) -> Vec<f64> {
        match kind {
            // The number of values of numpy.arange(1, stop, step).
            CorruptionKind::ZoomBlur => published[0] = ((published[0] - 1.0) / published[1]).ceil(),
            CorruptionKind::ElasticTransform => {
                let side = if parameters == Parameters::Cifar { 32.0 } else { 244.0 };
                published = published.into_iter().map(|share| share * side).collect();
            }
            _ => {}
        }
        published
    }

    #[test]
    fn all_numbers_are_those_that_were_published() {
        let mut missing: Vec<(Parameters, CorruptionKind)> = [Parameters::Cifar, Parameters::ImageNet]
            .into_iter()
            .flat_map(|parameters| CorruptionKind::ALL.map(|kind| (parameters, kind)))
            .collect();
        let table = include_str!("../golden/parameters.txt").lines().filter(|line| !line.starts_with('#'));
        for line in table {
            let words: Vec<&str> = line.split_whitespace().collect();
            let named =
                |(whose, kind): &(Parameters, CorruptionKind)| [whose.name(), kind.name()] == words[..2];
            let (parameters, kind) = missing.remove(missing.iter().position(named).unwrap());
            assert_eq!(words.len(), 2 + CorruptionSeverity::ALL.len(), "{line}");
            for (severity, published) in CorruptionSeverity::ALL.into_iter().zip(&words[2..]) {
                let published = published.split(',').map(|number| number.parse().unwrap()).collect();
                let wanted = used(parameters, kind, published);
                let strength = parameters.strength(kind, severity);
                assert!(format!("{strength:?}").starts_with(&format!("{kind:?}")), "{kind:?}: {strength:?}");
                let got = numbers(strength);
                let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * b.abs();
                assert!(
                    got.len() == wanted.len() && got.iter().zip(&wanted).all(close),
                    "{parameters:?} {kind:?} {severity:?}: {got:?}, published {wanted:?}"
                );
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}
