//! The kinds of corruption, and their severities.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A kind of corruption; its name is that of the published files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorruptionKind {
    /// Gaussian noise on every value.
    GaussianNoise,
    /// Poisson noise on every value.
    ShotNoise,
    /// Values set to 0 or 1.
    ImpulseNoise,
    /// A disk kernel, as of a lens out of focus.
    DefocusBlur,
    /// Pixels replaced by random neighbours.
    GlassBlur,
    /// A motion blur at a random angle.
    MotionBlur,
    /// A mean of enlargements.
    ZoomBlur,
    /// White streaks on a paler image.
    Snow,
    /// A blended texture of ice.
    Frost,
    /// A plasma fractal, added.
    Fog,
    /// A higher value in HSV.
    Brightness,
    /// Reduced differences to the mean.
    Contrast,
    /// A random affine map and a smooth random displacement.
    ElasticTransform,
    /// Reduced resolution.
    Pixelate,
    /// JPEG at a low quality.
    JpegCompression,
    /// Gaussian noise proportional to the value.
    SpeckleNoise,
    /// A Gaussian filter.
    GaussianBlur,
    /// Drops of water or mud.
    Spatter,
    /// Lower or higher saturation in HSV.
    Saturate,
}

impl CorruptionKind {
    /// All 19, starting with the 15 main ones.
    pub const ALL: [Self; 19] = [
        Self::GaussianNoise,
        Self::ShotNoise,
        Self::ImpulseNoise,
        Self::DefocusBlur,
        Self::GlassBlur,
        Self::MotionBlur,
        Self::ZoomBlur,
        Self::Snow,
        Self::Frost,
        Self::Fog,
        Self::Brightness,
        Self::Contrast,
        Self::ElasticTransform,
        Self::Pixelate,
        Self::JpegCompression,
        Self::SpeckleNoise,
        Self::GaussianBlur,
        Self::Spatter,
        Self::Saturate,
    ];
    /// Number of main kinds, which benchmarks use; the others were published for validation.
    pub const MAIN: usize = 15;

    /// Its name in the published files.
    pub fn name(self) -> &'static str {
        match self {
            Self::GaussianNoise => "gaussian_noise",
            Self::ShotNoise => "shot_noise",
            Self::ImpulseNoise => "impulse_noise",
            Self::DefocusBlur => "defocus_blur",
            Self::GlassBlur => "glass_blur",
            Self::MotionBlur => "motion_blur",
            Self::ZoomBlur => "zoom_blur",
            Self::Snow => "snow",
            Self::Frost => "frost",
            Self::Fog => "fog",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::ElasticTransform => "elastic_transform",
            Self::Pixelate => "pixelate",
            Self::JpegCompression => "jpeg_compression",
            Self::SpeckleNoise => "speckle_noise",
            Self::GaussianBlur => "gaussian_blur",
            Self::Spatter => "spatter",
            Self::Saturate => "saturate",
        }
    }

    /// Whether it is one of the 15 kinds that benchmarks use.
    pub fn is_main(self) -> bool {
        Self::ALL[..Self::MAIN].contains(&self)
    }
}

/// A severity, from 1 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct CorruptionSeverity(u8);

impl CorruptionSeverity {
    /// All five.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// 1 to 5.
    pub fn get(self) -> u8 {
        self.0
    }

    /// Its index in a table of five.
    pub fn place(self) -> usize {
        usize::from(self.0) - 1
    }
}

impl JsonSchema for CorruptionSeverity {
    fn schema_name() -> Cow<'static, str> {
        "CorruptionSeverity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "whole number from 1 to 5", "type": "integer", "minimum": 1, "maximum": 5 })
    }
}

impl TryFrom<u8> for CorruptionSeverity {
    type Error = String;

    fn try_from(severity: u8) -> Result<Self, String> {
        match severity {
            1..=5 => Ok(Self(severity)),
            other => Err(format!("a severity is 1 to 5, not {other}")),
        }
    }
}

impl From<CorruptionSeverity> for u8 {
    fn from(severity: CorruptionSeverity) -> Self {
        severity.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serde_reads() {
        for kind in CorruptionKind::ALL {
            let named: Result<CorruptionKind, serde::de::value::Error> =
                CorruptionKind::deserialize(serde::de::value::StrDeserializer::new(kind.name()));
            assert_eq!(named, Ok(kind));
        }
        assert!(CorruptionKind::JpegCompression.is_main() && !CorruptionKind::SpeckleNoise.is_main());
        assert!(CorruptionSeverity::try_from(0).is_err() && CorruptionSeverity::try_from(6).is_err());
    }
}
