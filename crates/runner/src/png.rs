//! Images as files and in figures: names of PNG files of samples, and their bytes.

use std::path::Path;

use anyhow::Context;
use temper_core::Image;
use temper_data::encode;
use temper_report::{FigureError, FigureImage};

use crate::config::BadConfig;

/// Fewest digits of an index in a name.
const DIGITS: usize = 5;

/// The name of a file that shows a sample, by its index in the whole split: `00017-WHAT.png`.
pub(crate) fn name(sample: u64, what: &str) -> String {
    format!("{sample:0DIGITS$}-{what}.png")
}

/// What a file shows, if its name is one that [`name`] makes.
pub(crate) fn what(name: &str) -> Option<&str> {
    let (index, what) = name.strip_suffix(".png")?.split_once('-')?;
    (index.len() >= DIGITS && index.bytes().all(|byte| byte.is_ascii_digit())).then_some(what)
}

/// Refuses images that PNG files cannot represent, before any work.
pub(crate) fn check(shape: [usize; 3]) -> anyhow::Result<()> {
    let black = Image::of_bytes(shape, vec![0; shape.iter().product()]);
    encode(&black).map(drop).map_err(|fault| BadConfig(format!("--save: {fault}")).into())
}

/// The bytes of the file of an image.
pub(crate) fn encoded(file: &Path, image: &Image) -> anyhow::Result<Vec<u8>> {
    encode(image).map_err(anyhow::Error::msg).with_context(|| file.display().to_string())
}

/// The image in a figure.
pub(crate) fn figure_image(image: &Image) -> Result<FigureImage, FigureError> {
    let bytes = image.bytes();
    FigureImage::of_planes(image.shape, |at| bytes[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_samples_are_recognised() {
        for own in [name(17, "clean"), name(123_456, "ankle-boot"), name(0, "3")] {
            assert!(what(&own).is_some(), "{own}");
        }
        assert_eq!(what("00017-ankle-boot.png"), Some("ankle-boot"));
        for foreign in ["17-clean.png", "00017.png", "holiday-clean.png", "-clean.png", "00017-clean.png.txt"]
        {
            assert_eq!(what(foreign), None, "{foreign}");
        }
    }
}
