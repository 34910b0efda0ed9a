//! JPEG files as libjpeg-turbo decodes them, and with it Pillow, to the bit: its inverse cosine transform in whole
//! numbers, its upsampling of chroma over the samples that there truly are, its conversion of colours.
//!
//! Read are files of one, three or four components of 8 bits in Huffman codes, sequential and progressive. Unlike
//! libjpeg, which makes up what is missing, this is strict: broken codes, missing bits and stray bytes between parts
//! are errors. Progressive files that leave out scans are taken as they are; libjpeg would smooth them.
//!
//! Decoders that are there come near libjpeg only: zune-jpeg 0.5 and jpeg-decoder 0.3 are off by 4 anywhere and by far
//! more where chroma ends, at the edge or in narrow images.

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

use crate::source::Image;

/// Why a file is not decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It is not what an encoder wrote.
    #[error("damaged JPEG: {0}")]
    Damaged(String),
    /// It is of a kind that is not read.
    #[error("a JPEG file with {0}, which is not read")]
    Unknown(&'static str),
}

fn damaged(what: impl Into<String>) -> Fault {
    Fault::Damaged(what.into())
}

/// A JPEG file whose header was read.
pub(crate) struct Jpeg<'a> {
    header: Header<'a>,
    frame: Frame,
    colour: Colour,
    /// The first scan.
    scan: Scan,
}

impl<'a> Jpeg<'a> {
    /// Of a file that begins with the marker of JPEG files.
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

    /// The image, RGB.
    pub(crate) fn image(self) -> Result<Image, Fault> {
        let Self { mut header, frame, colour, scan } = self;
        let mut scans = Scans::new(&frame);
        let mut scan = Some(scan);
        while let Some(now) = scan {
            let stray = scans.read(&mut header, &frame, &now)?;
            // What follows a whole image does not count, whatever it is.
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

/// The image that planes make up.
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
    Image { shape: [3, *height, *width], bytes }
}
