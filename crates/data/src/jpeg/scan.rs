//! The scans of an image: which block comes when, and what becomes of the blocks.

use super::bits::Bits;
use super::header::{Component, Frame, Header, Scan, ZIGZAG};
use super::idct::{Block, flat, inverse};
use super::progressive::Progressive;
use super::sequential::Sequential;
use super::upsample::Plane;
use super::{Fault, damaged};

/// What was read of a component.
pub(super) struct Read {
    /// Blocks of a row, those that only fill the last unit too.
    pub(super) across: usize,
    /// Its table of quantization, in the order of the file, once a scan has begun.
    pub(super) quantization: Option<[i16; 64]>,
    /// Of a progressive image: the coefficients, by vertical and horizontal frequency.
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

    /// The samples, for which those of a progressive image are computed.
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

/// What takes the bits of blocks.
pub(super) trait Coding {
    /// Takes those of the block at `[x, y]` of a component of the scan.
    fn block(&mut self, bits: &mut Bits, share: usize, at: [usize; 2]) -> Result<(), Fault>;

    /// Forgets what came before.
    fn restart(&mut self);
}

/// The components of an image while its scans are read.
pub(super) struct Scans {
    components: Vec<Read>,
}

impl Scans {
    /// Nothing read yet.
    pub(super) fn new(frame: &Frame) -> Self {
        Self { components: frame.components.iter().map(|component| Read::new(frame, component)).collect() }
    }

    /// Whether something of each component was read.
    pub(super) fn complete(&self) -> bool {
        self.components.iter().all(|read| read.quantization.is_some())
    }

    /// The samples of all components.
    pub(super) fn planes(self) -> Vec<Plane> {
        self.components.into_iter().map(Read::plane).collect()
    }

    /// Reads a scan, which begins where the header was read to, up to the next marker. Returns whether there are stray bytes before it.
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

/// Has all blocks of a scan read, `interval` units from one restart to the next.
fn walk(
    coding: &mut impl Coding,
    bits: &mut Bits,
    interval: usize,
    frame: &Frame,
    scan: &Scan,
) -> Result<(), Fault> {
    // A component alone comes block by block, without those that only fill the last unit.
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
