//! Writes images as PNG files.

use crate::image::Image;

/// An image as the bytes of a PNG file with 8 bits per value, to which other values are rounded. One channel is
/// grey, three are RGB. An error for images that PNG cannot represent.
pub fn encode(image: &Image) -> Result<Vec<u8>, String> {
    let [channels, height, width] = image.shape;
    let color = match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        other => return Err(format!("images of {other} channels: PNG files have 1 or 3")),
    };
    let size = |side: usize| {
        u32::try_from(side).map_err(|_| format!("{height} x {width} pixels: too many for a PNG file"))
    };
    let plane = height * width;
    let pixel = |at: usize| (0..channels).map(move |channel| channel * plane + at);
    let values = image.bytes();
    let interleaved: Vec<u8> = (0..plane).flat_map(pixel).map(|at| values[at]).collect();
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, size(width)?, size(height)?);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&interleaved)?;
        writer.finish()
    });
    written.map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;

    #[test]
    fn images_come_back_as_they_were() {
        let bytes: Vec<u8> = (0..36).map(|i| i * 7).collect();
        let colour = Image::of_bytes([3, 4, 3], bytes.clone());
        assert_eq!(decode(&encode(&colour).unwrap()).unwrap(), colour);
        let grey = Image::of_bytes([1, 4, 3], bytes[..12].to_vec());
        // Decoding gives colour images: grey, repeated three times.
        let back = decode(&encode(&grey).unwrap()).unwrap();
        assert_eq!(back, Image::of_bytes([3, 4, 3], grey.bytes().repeat(3)));
    }

    #[test]
    fn what_png_does_not_hold_is_refused() {
        let two = Image::of_bytes([2, 1, 1], vec![0; 2]);
        assert_eq!(encode(&two).unwrap_err(), "images of 2 channels: PNG files have 1 or 3");
    }
}
