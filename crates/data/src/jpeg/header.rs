//! The segments of a JPEG file between its scans.

use super::huffman::{Huffman, usual};
use super::{Fault, damaged};

/// Natural positions of coefficients in zigzag order.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];
/// Number of stray bytes between segments that are skipped: some writers align segments to even offsets.
const STRAY: usize = 1;

/// A component of the image.
#[derive(Debug, Clone)]
pub(super) struct Component {
    /// Its identifier in the file.
    pub(super) id: u8,
    /// Sampling factors: blocks per unit of interleaved scans, horizontally and vertically.
    pub(super) blocks: [usize; 2],
    /// Index of its quantization table.
    pub(super) table: usize,
}

/// The frame, which all scans share.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
    /// The largest sampling factors of the components.
    pub(super) most: [usize; 2],
}

impl Frame {
    /// Number of units of interleaved scans, horizontally and vertically.
    pub(super) fn units(&self) -> [usize; 2] {
        [self.width.div_ceil(8 * self.most[0]), self.height.div_ceil(8 * self.most[1])]
    }

    /// Number of blocks of a component that have samples inside the image.
    pub(super) fn blocks(&self, component: &Component) -> usize {
        self.samples(component).map(|samples| samples.div_ceil(8)).iter().product()
    }

    /// Number of samples of a component inside the image, horizontally and vertically.
    pub(super) fn samples(&self, component: &Component) -> [usize; 2] {
        let [h, v] = component.blocks;
        [(self.width * h).div_ceil(self.most[0]), (self.height * v).div_ceil(self.most[1])]
    }
}

/// The header of a scan.
#[derive(Debug)]
pub(super) struct Scan {
    /// Its components, each with the indices of its DC and AC tables.
    pub(super) shares: Vec<(usize, [usize; 2])>,
    /// The first and the last coefficient of the spectral band.
    pub(super) band: [usize; 2],
    /// Successive approximation: the lowest bit of the previous scan (0: none) and of this one.
    pub(super) bits: [u32; 2],
}

/// Huffman tables: DC, AC.
pub(super) type Tables = [[Option<Box<Huffman>>; 4]; 2];

/// The Huffman table of a class (0: DC, 1: AC) with this id. An error if it is missing.
pub(super) fn table(tables: &Tables, class: usize, id: usize) -> Result<&Huffman, Fault> {
    let table = tables[class].get(id).and_then(Option::as_deref);
    table.ok_or_else(|| damaged("a component without its Huffman table"))
}

/// A file that was parsed up to some offset, and the state so far.
pub(super) struct Header<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) frame: Option<Frame>,
    /// Quantization tables, in zigzag order.
    pub(super) quantization: [Option<[u16; 64]>; 4],
    pub(super) huffman: Tables,
    /// Units between restarts; 0: no restarts.
    pub(super) restart: usize,
    /// The colour transform in the Adobe marker.
    pub(super) adobe: Option<u8>,
    pub(super) jfif: bool,
}

impl<'a> Header<'a> {
    /// A parser of a file, starting after its first marker.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 2,
            frame: None,
            quantization: [None; 4],
            huffman: Default::default(),
            restart: 0,
            adobe: None,
            jfif: false,
        }
    }

    /// Parses up to the next scan; `None` at the end of the image.
    pub(super) fn scan(&mut self) -> Result<Option<Scan>, Fault> {
        loop {
            let marker = self.marker()?;
            // Markers without a length.
            match marker {
                0x01 | 0xd0..=0xd7 => continue,
                0xd8 => return Err(damaged("a second beginning")),
                0xd9 => return Ok(None),
                _ => {}
            }
            let part = self.part()?;
            match marker {
                0xc0..=0xc2 => self.frame(marker, part)?,
                0xc4 => self.huffman(part)?,
                0xda => return self.shares(part).map(Some),
                0xdb => self.quantization(part)?,
                0xdd => match *part {
                    [high, low] => self.restart = u16::from_be_bytes([high, low]).into(),
                    _ => return Err(damaged("a restart interval of another length")),
                },
                0xe0 if part.starts_with(b"JFIF\0") && part.len() >= 14 => self.jfif = true,
                0xee if part.starts_with(b"Adobe") && part.len() >= 12 => self.adobe = Some(part[11]),
                0xe0..=0xef | 0xfe => {}
                0xc3 | 0xc7 | 0xcb | 0xcf => return Err(Fault::Unknown("lossless coding")),
                0xc5 | 0xc6 | 0xcd | 0xce | 0xde | 0xdf => return Err(Fault::Unknown("hierarchical coding")),
                0xc9 | 0xca | 0xcc => return Err(Fault::Unknown("arithmetic coding")),
                0xdc => return Err(Fault::Unknown("a height that follows the image")),
                _ => return Err(damaged(format!("an unknown marker ff {marker:02x}"))),
            }
        }
    }

    /// The next marker.
    fn marker(&mut self) -> Result<u8, Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let stray = rest.iter().take_while(|byte| **byte != 0xff).count();
        let fill = rest[stray..].iter().take_while(|byte| **byte == 0xff).count();
        match rest.get(stray + fill) {
            None => Err(damaged("it ends between its parts")),
            Some(0) => Err(damaged("stray bytes between its parts")),
            Some(_) if stray > STRAY => Err(damaged("stray bytes between its parts")),
            Some(marker) => {
                self.at += stray + fill + 1;
                Ok(*marker)
            }
        }
    }

    /// The segment after a marker that has a length.
    fn part(&mut self) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let part =
            rest.first_chunk().and_then(|length| rest.get(2..usize::from(u16::from_be_bytes(*length))));
        let part = part.ok_or_else(|| damaged("it ends within one of its parts"))?;
        self.at += 2 + part.len();
        Ok(part)
    }

    fn frame(&mut self, marker: u8, part: &[u8]) -> Result<(), Fault> {
        let &[bits, h1, h0, w1, w0, n, ref rest @ ..] = part else {
            return Err(damaged("a frame without its size"));
        };
        if self.frame.is_some() {
            return Err(damaged("a second frame"));
        }
        if bits != 8 {
            return Err(Fault::Unknown("samples of other than 8 bits"));
        }
        if rest.len() != 3 * usize::from(n) {
            return Err(damaged("a frame that does not list its components"));
        }
        if !matches!(n, 1 | 3 | 4) {
            return Err(Fault::Unknown("other than one, three or four components"));
        }
        let component = |of: &[u8]| Component {
            id: of[0],
            blocks: [of[1] >> 4, of[1] & 15].map(usize::from),
            table: of[2].into(),
        };
        let components: Vec<_> = rest.chunks_exact(3).map(component).collect();
        let most = [0, 1].map(|axis| components.iter().map(|each| each.blocks[axis]).max().unwrap_or(1));
        for Component { blocks, table, .. } in &components {
            if *table > 3 || !blocks.iter().all(|blocks| (1..=4).contains(blocks)) {
                return Err(damaged("a component with impossible numbers"));
            }
            if most[0] % blocks[0] != 0 || most[1] % blocks[1] != 0 {
                return Err(Fault::Unknown("components whose sizes are no whole parts of the image's"));
            }
        }
        let [width, height] = [[w1, w0], [h1, h0]].map(|bytes| u16::from_be_bytes(bytes).into());
        self.frame = Some(Frame { progressive: marker == 0xc2, width, height, components, most });
        Ok(())
    }

    fn quantization(&mut self, mut part: &[u8]) -> Result<(), Fault> {
        while let [kind, rest @ ..] = part {
            let bytes = 1 + usize::from(kind >> 4);
            let table = self.quantization.get_mut(usize::from(kind & 15)).filter(|_| bytes < 3);
            let (Some(table), Some(values)) = (table, rest.get(..64 * bytes)) else {
                return Err(damaged("a table of quantization that is none"));
            };
            let mut values = values.chunks_exact(bytes);
            let mut next = || {
                values.next().map_or(0, |value| value.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)))
            };
            *table = Some(std::array::from_fn(|_| next()));
            part = &rest[64 * bytes..];
        }
        Ok(())
    }

    fn huffman(&mut self, mut part: &[u8]) -> Result<(), Fault> {
        while let [kind, rest @ ..] = part {
            let table = self
                .huffman
                .get_mut(usize::from(kind >> 4))
                .and_then(|of| of.get_mut(usize::from(kind & 15)));
            let (Some(table), Some((counts, rest))) = (table, rest.split_first_chunk::<16>()) else {
                return Err(damaged("a Huffman table that is none"));
            };
            let len = counts.iter().copied().map(usize::from).sum();
            let symbols =
                rest.get(..len).ok_or_else(|| damaged("a Huffman table without all its symbols"))?;
            let table = table.insert(Huffman::new(counts, symbols)?);
            if kind >> 4 == 1 {
                table.look_ahead();
            }
            part = &rest[len..];
        }
        Ok(())
    }

    /// Adds the default Huffman tables for missing ones.
    fn usual(&mut self) -> Result<(), Fault> {
        if self.huffman.iter().flatten().flatten().count() == 0 {
            for (tables, usual) in self.huffman.iter_mut().zip(usual()?) {
                for (table, usual) in tables.iter_mut().zip(usual) {
                    *table = Some(usual);
                }
            }
        }
        Ok(())
    }

    /// Parses the header of a scan.
    fn shares(&mut self, part: &[u8]) -> Result<Scan, Fault> {
        self.usual()?;
        let Some(frame) = &self.frame else {
            return Err(damaged("a scan before the frame"));
        };
        let [n, of @ .., first, last, bits] = part else {
            return Err(damaged("a scan that does not say of what"));
        };
        if !(1..=4).contains(n) || of.len() != 2 * usize::from(*n) {
            return Err(damaged("a scan that does not list its components"));
        }
        let mut shares: Vec<(usize, [usize; 2])> = vec![];
        for of in of.chunks_exact(2) {
            let taken = |at: &usize| shares.iter().any(|(other, _)| other == at);
            let mut at = 0..frame.components.len();
            let at = at.find(|at| frame.components[*at].id == of[0] && !taken(at));
            let at = at.ok_or_else(|| damaged("a scan of a component that the frame does not list"))?;
            shares.push((at, [of[1] >> 4, of[1] & 15].map(usize::from)));
        }
        let mut scan = Scan {
            shares,
            band: [first, last].map(|k| usize::from(*k)),
            bits: [bits >> 4, bits & 15].map(u32::from),
        };
        if !frame.progressive {
            (scan.band, scan.bits) = ([0, 63], [0, 0]);
        }
        let ([first, last], [before, now]) = (scan.band, scan.bits);
        let band = if first == 0 { last == 0 } else { first <= last && last < 64 && *n == 1 };
        if frame.progressive && !(band && now <= 13 && (before == 0 || before == now + 1)) {
            return Err(damaged("a scan of impossible coefficients"));
        }
        Ok(scan)
    }
}
