//! Decodes JPEG and PNG files, recognised by content, to RGB images as Pillow's `convert("RGB")` does.
//!
//! Grey values are repeated. CMYK and YCCK are interpreted as Adobe writes them (inverted). Alpha is dropped.
//! Samples of 16 bits give their upper byte. Orientation (EXIF), gamma and colour profiles are ignored, as in
//! torchvision.
//!
//! There are three differences from Pillow: 16-bit grey, which Pillow clips to white; progressive JPEG files
//! with missing scans, which Pillow smooths; and damaged JPEG streams, which are errors here. Pillow fills in
//! grey for invalid or missing codes, and ignores stray bytes between segments.

use std::io::Cursor;
use std::panic::catch_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};

use png::{ColorType, Transformations};

use crate::image::Image;
use crate::jpeg::{Fault, Jpeg};

/// Images with more pixels are refused; the limit is that of Pillow.
const MOST: usize = 178_956_970;
/// Images with more pixels must have at least one byte per [`SPARSE`] pixels. A photo has far more bytes, and a
/// file that unpacks to any size has fewer.
const LARGE: usize = 1 << 24;
/// The largest number of pixels per byte of a large image.
const SPARSE: usize = 64;
/// Images with more pixels are decoded one at a time.
const GIANT: usize = 1 << 25;
/// Images with a longer side are refused.
const LONGEST: usize = 1 << 16;

/// The first bytes of other file formats.
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

/// The RGB image in the bytes of a JPEG or PNG file. The error states why it cannot be decoded.
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
    // A panic of a decoder on a damaged file becomes an error.
    decoded.unwrap_or_else(|_| Err("the decoder failed on it".into()))
}

/// Refuses images that are too large for memory, and large images in files that are too short to contain a
/// photo.
fn sound(width: usize, height: usize, length: usize) -> Result<(), String> {
    let fits = (1..=LONGEST).contains(&width) && (1..=LONGEST).contains(&height) && width * height <= MOST;
    if !fits {
        return Err(format!(
            "{width} x {height} pixels, expected at least one and at most {MOST}, {LONGEST} a side"
        ));
    }
    let most = LARGE.max(SPARSE.saturating_mul(length));
    if width * height > most {
        return Err(format!(
            "{width} x {height} pixels in {length} bytes, expected at most {most} of so few"
        ));
    }
    Ok(())
}

fn jpeg(bytes: &[u8]) -> Result<Image, String> {
    let said = |fault: Fault| fault.to_string();
    let jpeg = Jpeg::new(bytes).map_err(said)?;
    let (width, height) = jpeg.size();
    sound(width, height, bytes.len())?;
    if !ends(bytes) {
        return Err("truncated JPEG: it has no end".into());
    }
    let _alone = alone(width, height);
    jpeg.image().map_err(said)
}

/// Whether a JPEG file contains the end of its image. Bytes after it and thumbnails in the header do not
/// count.
fn ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[byte, marker]) = bytes.get(at..at + 2) {
        at += match (byte, marker) {
            (0xff, 0xd9) => return true,
            // Markers without a length: stuffed bytes, restarts, start of image.
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

/// Decodes very large images one at a time, since one per thread would exhaust the memory.
fn alone(width: usize, height: usize) -> Option<MutexGuard<'static, ()>> {
    static GIANTS: Mutex<()> = Mutex::new(());
    (width * height > GIANT).then(|| GIANTS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn png(bytes: &[u8]) -> Result<Image, String> {
    let fault = |error: png::DecodingError| format!("damaged PNG: {error}").replace('\n', " ");
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: 8 * MOST });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    // Both chunks are ignored, and both can inflate to any length.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(fault)?.size();
    let (width, height) = (width as usize, height as usize);
    sound(width, height, bytes.len())?;
    let _alone = alone(width, height);
    let mut reader = decoder.read_info().map_err(fault)?;
    // The decoder takes three bytes for each colour, and panics where they are not there.
    if let Some(bytes) = reader.info().palette.as_ref().map(|palette| palette.len()).filter(|n| n % 3 != 0) {
        return Err(format!("damaged PNG: a palette of {bytes} bytes, expected three for each colour"));
    }
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

/// Interleaved channels as planes. One or two channels are grey; the second and the fourth are alpha.
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
    Ok(Image::of_bytes([3, height, width], bytes))
}

/// The format of the inputs that fuzzing stored.
#[cfg(test)]
#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;

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

    /// A grey progressive JPEG file of 4096 x 4096 pixels in which each block costs a bit in the first scan, and 16,384
    /// of them cost 15 bits in each later one.
    fn scans(count: usize) -> Vec<u8> {
        let part =
            |marker: u8, content: &[u8]| [&[0xff, marker, 0, content.len() as u8 + 2][..], content].concat();
        let table = |kind: u8, symbol: u8| [&[kind, 1][..], &[0; 15], &[symbol]].concat();
        let mut file = vec![0xff, 0xd8];
        file.extend(part(0xdb, &[&[0][..], &[1; 64]].concat()));
        file.extend(part(0xc2, &[8, 16, 0, 16, 0, 1, 1, 0x11, 0]));
        file.extend([part(0xc4, &table(0, 0)), part(0xc4, &table(0x10, 0xe0))].concat());
        file.extend([part(0xda, &[1, 1, 0, 0, 0, 0]), vec![0; 32_768]].concat());
        for _ in 0..count {
            file.extend([part(0xda, &[1, 1, 0, 1, 63, 0]), vec![0; 30]].concat());
        }
        file.extend([0xff, 0xd9]);
        file
    }

    #[test]
    fn scans_that_cost_nothing_do_not_take_forever() {
        assert_eq!(decode(&scans(20)).unwrap().shape, [3, 4096, 4096]);
        let told = "damaged JPEG: far more scans of its 262144 blocks than any encoder writes";
        assert_eq!(decode(&scans(40)).unwrap_err(), told);
    }

    #[test]
    fn sizes_that_no_photo_has_are_refused() {
        assert_eq!(sound(65536, 1, 0), Ok(()));
        // A photo of 100 million pixels, and a few bytes that claim to be one.
        assert_eq!(sound(10_000, 10_000, 2_000_000), Ok(()));
        let told = "10000 x 10000 pixels in 99 bytes, expected at most 16777216 of so few";
        assert_eq!(sound(10_000, 10_000, 99).unwrap_err(), told);
        for (width, height) in [(0, 5), (65537, 1), (60000, 60000)] {
            assert!(
                sound(width, height, 1 << 30).unwrap_err().starts_with(&format!("{width} x {height} pixels"))
            );
        }
    }

    /// Each input takes a different path through the decoder. `fuzz/README.md` states where they come from.
    #[test]
    fn inputs_that_fuzzing_kept_are_an_error_or_an_image() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept");
        for target in ["jpeg", "png"] {
            kept::each(&format!("{folder}/{target}"), |input| match decode(input) {
                Ok(image) => assert_eq!(image.shape.iter().product::<usize>(), image.len()),
                // The error that replaces a panic.
                Err(error) => assert_ne!(error, "the decoder failed on it"),
            });
        }
    }
}
