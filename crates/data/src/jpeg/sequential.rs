//! Decoding of sequential (baseline) scans.

use super::bits::Bits;
use super::header::{Scan, Tables, ZIGZAG, table};
use super::huffman::Huffman;
use super::idct::{Block, flat, inverse};
use super::scan::{Coding, Read};
use super::{Fault, damaged};

struct Share<'a> {
    read: &'a mut Read,
    /// DC and AC tables.
    tables: [&'a Huffman; 2],
    quantization: [i16; 64],
    /// The DC value of the last block.
    mean: i32,
}

/// A sequential scan; samples are computed immediately.
pub(super) struct Sequential<'a>(Vec<Share<'a>>);

impl<'a> Sequential<'a> {
    pub(super) fn new(shares: Vec<&'a mut Read>, scan: &Scan, tables: &'a Tables) -> Result<Self, Fault> {
        let share = |(read, (_, ids)): (&'a mut Read, &(usize, [usize; 2]))| {
            let tables = [table(tables, 0, ids[0])?, table(tables, 1, ids[1])?];
            let quantization = read.quantization.unwrap_or([0; 64]);
            Ok(Share { read, tables, quantization, mean: 0 })
        };
        shares.into_iter().zip(&scan.shares).map(share).collect::<Result<_, _>>().map(Self)
    }
}

/// Reads a DC difference; the bits must be in the buffer.
#[inline]
pub(super) fn difference(table: &Huffman, bits: &mut Bits) -> Result<i32, Fault> {
    match table.symbol(bits)? {
        size @ 0..=15 => Ok(bits.value(size.into())),
        _ => Err(damaged("a code that its Huffman table does not have")),
    }
}

impl Coding for Sequential<'_> {
    #[inline]
    fn block(&mut self, bits: &mut Bits, share: usize, [x, y]: [usize; 2]) -> Result<(), Fault> {
        let Share { read, tables: [differences, coefficients], quantization, mean } = &mut self.0[share];
        let mut block = Block::default();
        bits.refill();
        *mean = mean.wrapping_add(difference(differences, bits)?);
        block[0][0] = (*mean as i16).wrapping_mul(quantization[0]);
        let (mut next, mut bare) = (1, true);
        while next < 64 {
            bits.refill();
            let (zeros, value) = if let Some(found) = coefficients.coefficient(bits) {
                found
            } else {
                let symbol = coefficients.symbol(bits)?;
                match (usize::from(symbol >> 4), u32::from(symbol & 15)) {
                    (15, 0) => {
                        next += 16;
                        continue;
                    }
                    (_, 0) => break,
                    (zeros, size) => (zeros, bits.value(size)),
                }
            };
            next += zeros;
            let Some(place) = ZIGZAG.get(next) else {
                return Err(damaged("a block of more than 64 coefficients"));
            };
            block.as_flattened_mut()[usize::from(*place)] = (value as i16).wrapping_mul(quantization[next]);
            bare = false;
            next += 1;
        }
        let stride = read.plane.stride;
        let to = &mut read.plane.samples[8 * (y * stride + x)..];
        if bare {
            flat(block[0][0], to, stride);
        } else {
            inverse(&block, to, stride);
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.0.iter_mut().for_each(|share| share.mean = 0);
    }
}
