//! A JPEG decoder that agrees bit for bit with libjpeg-turbo, and so with Pillow: the same integer inverse
//! cosine transform, chroma upsampling and colour conversion.
//!
//! It supports 8-bit images of one, three or four components in Huffman coding, sequential and progressive.
//! Unlike libjpeg, which fills in missing data, it is strict: invalid codes, missing bits and stray bytes
//! between segments are errors. Progressive files with missing scans are decoded without the smoothing that
//! libjpeg applies.
//!
//! Existing Rust decoders differ from libjpeg: zune-jpeg 0.5 and jpeg-decoder 0.3 by up to 4 levels anywhere,
//! and by much more at the ends of chroma, at the edge or in narrow images.

mod bits;
mod colour;
mod header;
mod huffman;
mod idct;
mod progressive;
mod scan;
mod sequential;
#[cfg(test)]
mod tests;
mod upsample;

use colour::Colour;
use header::{Frame, Header, Scan};
use scan::Scans;
use upsample::{Plane, Spread};

use crate::image::Image;

/// The largest number of times that scans may visit all blocks of an image. Each scan costs one visit of its
/// blocks, however few bytes it has. Progressive files of the usual encoders need seven.
const MOST_WALKS: usize = 16;
/// Blocks that may be visited in addition, for small images with many scans.
const MORE_BLOCKS: usize = 1 << 22;

/// The reason why a file cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The file is damaged.
    #[error("damaged JPEG: {0}")]
    Damaged(String),
    /// The format is not supported.
    #[error("a JPEG file with {0}, which is not read")]
    Unknown(&'static str),
}

fn damaged(what: impl Into<String>) -> Fault {
    Fault::Damaged(what.into())
}

/// A JPEG file whose header was parsed.
pub(crate) struct Jpeg<'a> {
    header: Header<'a>,
    frame: Frame,
    colour: Colour,
    /// The header of the first scan.
    scan: Scan,
}

impl<'a> Jpeg<'a> {
    /// Parses the header of a file that begins with the JPEG marker.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut header = Header::new(bytes);
        let scan = header.scan()?.ok_or_else(|| damaged("it ends before its image begins"))?;
        let frame = header.frame.clone().ok_or_else(|| damaged("a scan before the frame"))?;
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        let colour = Colour::new(&ids, header.adobe, header.jfif);
        Ok(Self { header, frame, colour, scan })
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.frame.width, self.frame.height)
    }

    /// Decodes the image to RGB.
    pub(crate) fn image(self) -> Result<Image, Fault> {
        let Self { mut header, frame, colour, scan } = self;
        let mut scans = Scans::new(&frame);
        let mut scan = Some(scan);
        let all: usize = frame.components.iter().map(|component| frame.blocks(component)).sum();
        let mut left = all * MOST_WALKS + MORE_BLOCKS;
        while let Some(now) = scan {
            let blocks = now.shares.iter().map(|(at, _)| frame.blocks(&frame.components[*at])).sum();
            left = left.checked_sub(blocks).ok_or_else(|| {
                damaged(format!("far more scans of its {all} blocks than any encoder writes"))
            })?;
            let stray = scans.read(&mut header, &frame, &now)?;
            // Anything after a complete image is ignored.
            if !frame.progressive && scans.complete() {
                break;
            }
            scan = header.scan()?;
            if stray && scan.is_some() {
                return Err(damaged("stray bytes between its parts"));
            }
        }
        if !scans.complete() {
            return Err(damaged("a component without a scan"));
        }
        Ok(render(&frame, colour, &scans.planes()))
    }
}

/// The image composed of these planes.
fn render(frame: &Frame, colour: Colour, planes: &[Plane]) -> Image {
    let Frame { width, height, components, most, .. } = frame;
    let spread = |(component, plane): (&header::Component, _)| {
        let [wider, higher] = [0, 1].map(|axis| most[axis] / component.blocks[axis]);
        Spread::new(wider, higher, plane)
    };
    let spreads: Vec<Spread> = components.iter().zip(planes).map(spread).collect();
    let mut space: Vec<(Vec<u8>, Vec<u16>)> = vec![Default::default(); planes.len()];
    let mut bytes = vec![0; 3 * width * height];
    let (red, others) = bytes.split_at_mut(width * height);
    let (green, blue) = others.split_at_mut(width * height);
    let rows =
        red.chunks_exact_mut(*width).zip(green.chunks_exact_mut(*width)).zip(blue.chunks_exact_mut(*width));
    for (y, ((red, green), blue)) in rows.enumerate() {
        let parts = spreads.iter().zip(planes).zip(&mut space);
        let parts: Vec<&[u8]> =
            parts.map(|((spread, plane), (row, sums))| spread.row(plane, y, row, sums)).collect();
        colour.convert(&parts, [red, green, blue]);
    }
    Image::of_bytes([3, *height, *width], bytes)
}
