//! Decoding of scans: the order of blocks, and the conversion of blocks to samples.

use super::bits::Bits;
use super::header::{Component, Frame, Header, Scan, ZIGZAG};
use super::idct::{Block, flat, inverse};
use super::progressive::Progressive;
use super::sequential::Sequential;
use super::upsample::Plane;
use super::{Fault, damaged};

/// The decoded data of a component.
pub(super) struct Read {
    /// Blocks per row, including those that pad the last unit.
    pub(super) across: usize,
    /// Its quantization table in zigzag order, set by the first scan.
    pub(super) quantization: Option<[i16; 64]>,
    /// For progressive images: the coefficients, by vertical and horizontal frequency.
    pub(super) blocks: Vec<Block>,
    pub(super) plane: Plane,
}

impl Read {
    fn new(frame: &Frame, component: &Component) -> Self {
        let units = frame.units();
        let [across, down] = [0, 1].map(|axis| units[axis] * component.blocks[axis]);
        let [width, height] = frame.samples(component);
        let (blocks, samples) = match frame.progressive {
            true => (vec![Block::default(); across * down], vec![]),
            false => (vec![], vec![0; 64 * across * down]),
        };
        Self {
            across,
            quantization: None,
            blocks,
            plane: Plane { samples, stride: 8 * across, width, height },
        }
    }

    /// The samples. For progressive images they are computed here.
    fn plane(mut self) -> Plane {
        if self.blocks.is_empty() {
            return self.plane;
        }
        let mut steps = Block::default();
        for (place, step) in ZIGZAG.iter().zip(self.quantization.unwrap_or([0; 64])) {
            steps.as_flattened_mut()[usize::from(*place)] = step;
        }
        let Plane { samples, stride, .. } = &mut self.plane;
        *samples = vec![0; 64 * self.blocks.len()];
        for (blocks, rows) in self.blocks.chunks_mut(self.across).zip(samples.chunks_mut(8 * *stride)) {
            for (x, block) in blocks.iter_mut().enumerate() {
                let bare = block.as_flattened()[1..].iter().all(|value| *value == 0);
                for (value, step) in block.as_flattened_mut().iter_mut().zip(steps.as_flattened()) {
                    *value = value.wrapping_mul(*step);
                }
                let to = &mut rows[8 * x..];
                if bare { flat(block[0][0], to, *stride) } else { inverse(block, to, *stride) }
            }
        }
        self.plane
    }
}

/// A decoder of blocks.
pub(super) trait Coding {
    /// Decodes the block at `[x, y]` of a component of the scan.
    fn block(&mut self, bits: &mut Bits, share: usize, at: [usize; 2]) -> Result<(), Fault>;

    /// Resets the state at a restart.
    fn restart(&mut self);
}

/// The components of an image while its scans are decoded.
pub(super) struct Scans {
    components: Vec<Read>,
}

impl Scans {
    /// Components without data.
    pub(super) fn new(frame: &Frame) -> Self {
        Self { components: frame.components.iter().map(|component| Read::new(frame, component)).collect() }
    }

    /// Whether every component has data.
    pub(super) fn complete(&self) -> bool {
        self.components.iter().all(|read| read.quantization.is_some())
    }

    /// The samples of all components.
    pub(super) fn planes(self) -> Vec<Plane> {
        self.components.into_iter().map(Read::plane).collect()
    }

    /// Decodes a scan up to the next marker. Returns whether there are stray bytes before that marker.
    pub(super) fn read(&mut self, header: &mut Header, frame: &Frame, scan: &Scan) -> Result<bool, Fault> {
        let mut all: Vec<_> = self.components.iter_mut().map(Some).collect();
        let mut shares = vec![];
        for (at, _) in &scan.shares {
            let read = all[*at].take().ok_or_else(|| damaged("a scan that lists a component twice"))?;
            let table = header.quantization[frame.components[*at].table];
            let table = table.ok_or_else(|| damaged("a component without its table of quantization"))?;
            read.quantization.get_or_insert(table.map(|step| step as i16));
            shares.push(read);
        }
        let mut bits = Bits::new(header.bytes, header.at);
        if frame.progressive {
            let mut coding = Progressive::new(shares, scan, &header.huffman)?;
            walk(&mut coding, &mut bits, header.restart, frame, scan)?;
        } else {
            let mut coding = Sequential::new(shares, scan, &header.huffman)?;
            walk(&mut coding, &mut bits, header.restart, frame, scan)?;
        }
        let (at, stray) = bits.end();
        header.at = at;
        Ok(stray)
    }
}

/// Decodes all blocks of a scan with `interval` units between restarts.
fn walk(
    coding: &mut impl Coding,
    bits: &mut Bits,
    interval: usize,
    frame: &Frame,
    scan: &Scan,
) -> Result<(), Fault> {
    // A scan of one component contains its blocks one by one, without those that pad the last unit.
    let alone = match &scan.shares[..] {
        [(at, _)] => Some(frame.samples(&frame.components[*at]).map(|samples| samples.div_ceil(8))),
        _ => None,
    };
    let [across, down] = alone.unwrap_or_else(|| frame.units());
    let mut units = 0;
    for y in 0..down {
        for x in 0..across {
            if interval > 0 && units > 0 && units % interval == 0 {
                bits.restart(units / interval - 1)?;
                coding.restart();
            }
            units += 1;
            if alone.is_some() {
                coding.block(bits, 0, [x, y])?;
            } else {
                for (share, (at, _)) in scan.shares.iter().enumerate() {
                    let [wide, high] = frame.components[*at].blocks;
                    for block in 0..wide * high {
                        coding.block(bits, share, [x * wide + block % wide, y * high + block / wide])?;
                    }
                }
            }
            bits.sound()?;
        }
    }
    Ok(())
}
