//! JPEG and PNG files, told apart by their content, as RGB images: what Pillow's `convert("RGB")` makes of them.
//!
//! Grey values are repeated, CMYK and YCCK are taken as Adobe writes them (inverted), alpha is dropped, 16-bit
//! samples give their upper byte; orientation (EXIF), gamma and colour profiles are not heeded, as in torchvision. In
//! three points this is not Pillow: 16-bit grey, which Pillow clips to white; progressive JPEG files that leave out
//! scans, which Pillow smooths; and JPEG streams with broken codes or too few, which Pillow fills with grey, or with
//! stray bytes between their parts, which Pillow passes over: they are errors.

use std::io::Cursor;
use std::panic::catch_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};

use png::{ColorType, Transformations};

use crate::jpeg::{Fault, Jpeg};
use crate::source::Image;

/// Pixels above which an image is taken for a fault: Pillow's limit, too.
const MOST: usize = 178_956_970;
/// Pixels above which an image is decoded alone.
const GIANT: usize = 1 << 25;
/// Pixels of a side above which it is.
const LONGEST: usize = 1 << 16;

/// What other files begin with.
const STRANGERS: [(&[u8], &str); 8] = [
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"RIFF", "a WebP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"<", "a page of HTML or XML"),
    (b"PK", "a ZIP archive"),
    (b"version https://git-lfs", "a pointer of Git LFS"),
];

/// The image that the bytes of a JPEG or PNG file hold, RGB; the error says what is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<Image, String> {
    let decoded = match bytes {
        [0xff, 0xd8, ..] => catch_unwind(|| jpeg(bytes)),
        [0x89, b'P', b'N', b'G', ..] => catch_unwind(|| png(bytes)),
        [] => return Err("an empty file".into()),
        _ => {
            let known = STRANGERS.iter().find(|(start, _)| bytes.starts_with(start));
            let is = known.map_or(String::new(), |(_, what)| format!(": it looks like {what}"));
            return Err(format!("neither JPEG nor PNG{is}"));
        }
    };
    // Decoders are others' code, and damaged files are what brings out its faults.
    decoded.unwrap_or_else(|_| Err("the decoder failed on it".into()))
}

/// Refuses what would fill the memory.
fn sound(width: usize, height: usize) -> Result<(), String> {
    let fits = (1..=LONGEST).contains(&width) && (1..=LONGEST).contains(&height) && width * height <= MOST;
    fits.then_some(()).ok_or_else(|| {
        format!("{width} x {height} pixels, expected at least one and at most {MOST}, {LONGEST} a side")
    })
}

fn jpeg(bytes: &[u8]) -> Result<Image, String> {
    let said = |fault: Fault| fault.to_string();
    let jpeg = Jpeg::new(bytes).map_err(said)?;
    let (width, height) = jpeg.size();
    sound(width, height)?;
    if !ends(bytes) {
        return Err("truncated JPEG: it has no end".into());
    }
    let _alone = alone(width, height);
    jpeg.image().map_err(said)
}

/// Does the image of a JPEG file end? What follows its end does not count, nor do thumbnails within its header.
fn ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[byte, marker]) = bytes.get(at..at + 2) {
        at += match (byte, marker) {
            (0xff, 0xd9) => return true,
            // Stuffed bytes, restarts, a start: markers without a length.
            (0xff, 0x00 | 0x01 | 0xd0..=0xd8) => 2,
            (0xff, 0xff) => 1,
            (0xff, _) => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => 2 + usize::from(u16::from_be_bytes([high, low])).max(2),
                _ => return false,
            },
            _ => 1,
        };
    }
    false
}

/// Lets the decoding of giants through one by one: each thread with one of its own would fill the memory.
fn alone(width: usize, height: usize) -> Option<MutexGuard<'static, ()>> {
    static GIANTS: Mutex<()> = Mutex::new(());
    (width * height > GIANT).then(|| GIANTS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn png(bytes: &[u8]) -> Result<Image, String> {
    let fault = |error: png::DecodingError| format!("damaged PNG: {error}").replace('\n', " ");
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: 8 * MOST });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    // Neither is heeded, and both may inflate to any length.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(fault)?.size();
    let (width, height) = (width as usize, height as usize);
    sound(width, height)?;
    let _alone = alone(width, height);
    let mut reader = decoder.read_info().map_err(fault)?;
    let mut pixels = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let frame = reader.next_frame(&mut pixels).map_err(fault)?;
    let channels = match frame.color_type {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err("damaged PNG: no palette".into()),
    };
    planes(&pixels[..frame.buffer_size()], width, height, channels)
}

/// Pixels of interleaved channels as planes; one or two channels are grey, the second and the fourth one alpha.
fn planes(pixels: &[u8], width: usize, height: usize, channels: usize) -> Result<Image, String> {
    let len = width * height;
    if pixels.len() != len * channels {
        return Err(format!("{} values for {width} x {height} pixels", pixels.len()));
    }
    let mut bytes = Vec::with_capacity(3 * len);
    for channel in 0..3 {
        let channel = if channels < 3 { 0 } else { channel };
        bytes.extend(pixels.chunks_exact(channels).map(|pixel| pixel[channel]));
    }
    Ok(Image { shape: [3, height, width], bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_named() {
        let said = |bytes: &[u8]| decode(bytes).unwrap_err();
        assert_eq!(said(b""), "an empty file");
        assert_eq!(said(b"hello"), "neither JPEG nor PNG");
        assert_eq!(said(b"GIF89a..."), "neither JPEG nor PNG: it looks like a GIF image");
        assert_eq!(said(b"<html>"), "neither JPEG nor PNG: it looks like a page of HTML or XML");
        assert!(said(b"\xff\xd8").starts_with("damaged JPEG: "));
        assert!(said(b"\x89PNG\r\n\x1a\n").starts_with("damaged PNG: "));
    }

    #[test]
    fn sizes_that_no_photo_has_are_refused() {
        assert_eq!(sound(65536, 1), Ok(()));
        for (width, height) in [(0, 5), (65537, 1), (60000, 60000)] {
            assert!(sound(width, height).unwrap_err().starts_with(&format!("{width} x {height} pixels")));
        }
    }
}
