//! Images in figures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::FigureError;

/// An image of 8 bits per channel, grey or RGB, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FigureImage {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

impl FigureImage {
    /// An image from `pixels` `[height, width]` (grey) or `[height, width, 3]` (RGB). Any other shape is an error.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, FigureError> {
        let unfit = || {
            FigureError::unfit(format!(
                "an image of {width} x {height} has {} bytes, expected one or three a pixel",
                pixels.len()
            ))
        };
        let area = width.checked_mul(height).filter(|area| *area > 0).ok_or_else(unfit)?;
        let channels = pixels.len() / area;
        if !matches!(channels, 1 | 3) || !pixels.len().is_multiple_of(area) {
            return Err(unfit());
        }
        if width > MOST || height > MOST {
            return Err(FigureError::unfit(format!("an image of {width} x {height}, at most {MOST} a side")));
        }
        Ok(Self { width, height, channels, pixels })
    }

    /// An image whose channels are planes: `byte` gives the value at each place of `[c, h, w]`. One or three channels.
    pub fn of_planes([c, h, w]: [usize; 3], byte: impl Fn(usize) -> u8) -> Result<Self, FigureError> {
        let places = (0..h * w).flat_map(|at| (0..c).map(move |plane| plane * h * w + at));
        Self::new(w, h, places.map(byte).collect())
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The colour of a pixel.
    pub(super) fn color(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * self.channels;
        match self.pixels[at..at + self.channels] {
            [red, green, blue] => [red, green, blue],
            _ => [self.pixels[at]; 3],
        }
    }

    /// The image as a PNG file.
    pub fn png(&self) -> Result<Vec<u8>, FigureError> {
        let color = if self.channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb };
        encoded(self.width, self.height, color, &self.pixels)
    }
}

/// Maximum length of a side; a larger image is not a tile of a figure.
const MOST: usize = 4096;

/// A PNG file of 8 bits per channel.
pub(super) fn encoded(
    width: usize,
    height: usize,
    color: png::ColorType,
    pixels: &[u8],
) -> Result<Vec<u8>, FigureError> {
    let mut file = vec![];
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}

/// A PNG file as a data URL.
pub(crate) fn data_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_one_and_three_channels() {
        let grey = FigureImage::new(2, 1, vec![7, 9]).unwrap();
        assert_eq!([grey.color(0, 0), grey.color(1, 0)], [[7; 3], [9; 3]]);
        let color = FigureImage::new(1, 2, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!([color.color(0, 0), color.color(0, 1)], [[1, 2, 3], [4, 5, 6]]);
        assert_eq!((color.width(), color.height()), (1, 2));
    }

    #[test]
    fn planes_become_pixels() {
        // Three channels, one row, two columns.
        let image = FigureImage::of_planes([3, 1, 2], |at| at as u8).unwrap();
        assert_eq!([image.color(0, 0), image.color(1, 0)], [[0, 2, 4], [1, 3, 5]]);
        assert!(FigureImage::of_planes([2, 1, 2], |_| 0).is_err());
    }

    #[test]
    fn bytes_that_make_no_image_are_refused() {
        for (width, height, bytes) in [(0, 3, 0), (2, 2, 8), (2, 2, 5), (2, 2, 0), (usize::MAX, 2, 4)] {
            let refused = FigureImage::new(width, height, vec![0; bytes]).unwrap_err().to_string();
            assert!(refused.contains("expected one or three a pixel"), "{refused}");
        }
        let refused = FigureImage::new(5000, 1, vec![0; 5000]).unwrap_err().to_string();
        assert!(refused.contains("at most 4096"), "{refused}");
    }

    #[test]
    fn an_address_holds_the_file() {
        // The magic number of PNG files in base64 (RFC 4648).
        assert!(data_uri(&[0x89, b'P', b'N', b'G']).ends_with(",iVBORw=="));
        let image = FigureImage::new(1, 1, vec![200]).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(image.png().unwrap())).read_info().unwrap();
        let mut pixels = [0];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [200]);
    }
}
