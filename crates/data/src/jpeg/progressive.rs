//! Decoding of progressive scans.

use super::bits::Bits;
use super::header::{Scan, Tables, ZIGZAG, table};
use super::huffman::Huffman;
use super::idct::Block;
use super::scan::{Coding, Read};
use super::sequential::difference;
use super::{Fault, damaged};

struct Share<'a> {
    read: &'a mut Read,
    /// The Huffman tables; `None` for scans of plain bits.
    table: Option<&'a Huffman>,
    /// The DC value of the last block.
    mean: i32,
}

/// A scan of a progressive image, which refines the coefficients.
pub(super) struct Progressive<'a> {
    shares: Vec<Share<'a>>,
    /// The first and the last coefficient of the band.
    band: [usize; 2],
    /// Whether earlier scans contained higher bits.
    refines: bool,
    /// The bit position of this scan (the lowest one in a first scan).
    bit: u32,
    /// Remaining blocks of an end-of-band run.
    empty: u32,
}

impl<'a> Progressive<'a> {
    pub(super) fn new(shares: Vec<&'a mut Read>, scan: &Scan, tables: &'a Tables) -> Result<Self, Fault> {
        let (mean, refines) = (scan.band[0] == 0, scan.bits[0] > 0);
        let share = |(read, (_, ids)): (&'a mut Read, &(usize, [usize; 2]))| {
            let table = match (mean, refines) {
                (true, true) => None,
                (true, false) => Some(table(tables, 0, ids[0])?),
                (false, _) => Some(table(tables, 1, ids[1])?),
            };
            Ok(Share { read, table, mean: 0 })
        };
        let shares = shares.into_iter().zip(&scan.shares).map(share).collect::<Result<_, Fault>>()?;
        Ok(Self { shares, band: scan.band, refines, bit: scan.bits[1], empty: 0 })
    }
}

impl Coding for Progressive<'_> {
    fn block(&mut self, bits: &mut Bits, share: usize, [x, y]: [usize; 2]) -> Result<(), Fault> {
        let Share { read, table, mean } = &mut self.shares[share];
        let block = &mut read.blocks[y * read.across + x];
        match (self.band[0], *table) {
            (0, Some(table)) => {
                bits.refill();
                *mean = mean.wrapping_add(difference(table, bits)?);
                block[0][0] = (*mean << self.bit) as i16;
            }
            (0, None) => block[0][0] |= i16::from(bits.bit()) << self.bit,
            (_, Some(table)) if self.refines => {
                refine(bits, table, block, self.band, 1 << self.bit, &mut self.empty)?;
            }
            (_, Some(table)) => first(bits, table, block, self.band, self.bit, &mut self.empty)?,
            (_, None) => {}
        }
        bits.sound()
    }

    fn restart(&mut self) {
        self.shares.iter_mut().for_each(|share| share.mean = 0);
        self.empty = 0;
    }
}

/// Reads the length of an end-of-band run, which includes this block.
fn run(bits: &mut Bits, size: u8) -> u32 {
    (1 << size) + bits.number(u32::from(size)) as u32
}

/// Reads the highest bits of a band of coefficients.
fn first(
    bits: &mut Bits,
    table: &Huffman,
    block: &mut Block,
    [first, last]: [usize; 2],
    bit: u32,
    empty: &mut u32,
) -> Result<(), Fault> {
    let mut next = first;
    while *empty == 0 && next <= last {
        bits.refill();
        let (zeros, value) = if let Some(found) = table.coefficient(bits) {
            found
        } else {
            let symbol = table.symbol(bits)?;
            match (symbol >> 4, symbol & 15) {
                (15, 0) => {
                    next += 16;
                    continue;
                }
                (zeros, 0) => {
                    *empty = run(bits, zeros);
                    break;
                }
                (zeros, size) => (usize::from(zeros), bits.value(size.into())),
            }
        };
        next += zeros;
        *coefficient(block, next, last)? = (value << bit) as i16;
        next += 1;
    }
    *empty = empty.saturating_sub(1);
    Ok(())
}

/// Reads the next bit of a band of coefficients. `unit` is the bit's value.
fn refine(
    bits: &mut Bits,
    table: &Huffman,
    block: &mut Block,
    [first, last]: [usize; 2],
    unit: i16,
    empty: &mut u32,
) -> Result<(), Fault> {
    let mut next = first;
    while *empty == 0 && next <= last {
        bits.refill();
        let symbol = table.symbol(bits)?;
        let mut zeros = symbol >> 4;
        let new = match symbol & 15 {
            0 if zeros < 15 => {
                *empty = run(bits, zeros);
                break;
            }
            0 => 0,
            1 if bits.bit() => unit,
            1 => -unit,
            _ => return Err(damaged("a coefficient that begins with more than one bit")),
        };
        // Correction bits of coefficients that are already nonzero are interleaved with the zeros.
        while next <= last {
            let value = coefficient(block, next, last)?;
            if *value != 0 {
                append(bits, value, unit);
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            next += 1;
        }
        if new != 0 {
            *coefficient(block, next, last)? = new;
        }
        next += 1;
    }
    if *empty > 0 {
        for next in next..=last {
            let value = coefficient(block, next, last)?;
            if *value != 0 {
                append(bits, value, unit);
            }
        }
        *empty -= 1;
    }
    Ok(())
}

/// Reads the correction bit of a nonzero coefficient.
fn append(bits: &mut Bits, value: &mut i16, unit: i16) {
    if bits.bit() && *value & unit == 0 {
        *value = value.wrapping_add(if *value < 0 { -unit } else { unit });
    }
}

/// The coefficient at a zigzag index, if the scan contains it.
fn coefficient(block: &mut Block, at: usize, last: usize) -> Result<&mut i16, Fault> {
    let place = ZIGZAG.get(at).filter(|_| at <= last).map(|place| usize::from(*place));
    place
        .and_then(|place| block.as_flattened_mut().get_mut(place))
        .ok_or_else(|| damaged("a block of more coefficients than its scan has"))
}
