//! Huffman tables: construction and decoding.

use super::bits::Bits;
use super::{Fault, damaged};

/// Number of bits of the lookup tables.
const AHEAD: u32 = 9;

/// A Huffman table with codes of up to 16 bits.
pub(super) struct Huffman {
    /// By the next bits: the length of the code (0: longer than the lookup) and its symbol.
    symbols: [(u8, u8); 1 << AHEAD],
    /// By the next bits, if they contain a code and its coefficient: the length of both (0: they do not), the
    /// zero run, and the coefficient.
    coefficients: [(u8, u8, i8); 1 << AHEAD],
    /// By length: the smallest 16-bit value that does not start with a code of this length or a shorter one.
    limits: [u32; 17],
    /// By length: the offset to add to a code for the index of its symbol.
    places: [i32; 17],
    /// Symbols in the order of their codes.
    ordered: Vec<u8>,
}

impl Huffman {
    /// A table in which `counts[i]` codes have `i + 1` bits. An error if so many codes do not exist.
    pub(super) fn new(counts: &[u8; 16], ordered: &[u8]) -> Result<Box<Self>, Fault> {
        let mut table = Box::new(Self {
            symbols: [(0, 0); 1 << AHEAD],
            coefficients: [(0, 0, 0); 1 << AHEAD],
            limits: [0; 17],
            places: [0; 17],
            ordered: ordered.to_vec(),
        });
        let (mut code, mut place) = (0_u32, 0);
        for (length, count) in (1_u32..).zip(counts) {
            table.places[length as usize] = place as i32 - code as i32;
            for _ in 0..*count {
                let Some(symbol) = ordered.get(place) else {
                    return Err(damaged("a Huffman table without all its symbols"));
                };
                if code >> length != 0 {
                    return Err(damaged("a Huffman table of too many codes"));
                }
                if length <= AHEAD {
                    let first = (code << (AHEAD - length)) as usize;
                    table.symbols[first..][..1 << (AHEAD - length)].fill((length as u8, *symbol));
                }
                code += 1;
                place += 1;
            }
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// Fills the lookup of [`Huffman::coefficient`], which DC tables do not need.
    pub(super) fn look_ahead(&mut self) {
        for (next, ((length, symbol), entry)) in self.symbols.iter().zip(&mut self.coefficients).enumerate() {
            let (length, size) = (u32::from(*length), u32::from(symbol & 15));
            if length == 0 || size == 0 || length + size > AHEAD {
                continue;
            }
            let number = (next >> (AHEAD - length - size)) as i32 & ((1 << size) - 1);
            let value = if number < 1 << (size - 1) { number - (1 << size) + 1 } else { number };
            if let Ok(value) = i8::try_from(value) {
                *entry = ((length + size) as u8, symbol >> 4, value);
            }
        }
    }

    /// Decodes a symbol; 16 bits must be in the buffer.
    #[inline]
    pub(super) fn symbol(&self, bits: &mut Bits) -> Result<u8, Fault> {
        let (length, symbol) = self.symbols[bits.peek(AHEAD)];
        if length == 0 {
            return self.long(bits);
        }
        bits.skip(u32::from(length));
        Ok(symbol)
    }

    #[cold]
    fn long(&self, bits: &mut Bits) -> Result<u8, Fault> {
        let next = bits.peek(16) as u32;
        let length = (1..=16).find(|length| next < self.limits[*length as usize]);
        let symbol = length.and_then(|length: u32| {
            let place = (next >> (16 - length)) as i32 + self.places[length as usize];
            bits.skip(length);
            self.ordered.get(place as usize)
        });
        symbol.copied().ok_or_else(|| damaged("a code that its Huffman table does not have"))
    }

    /// Decodes a zero run and a coefficient, if both fit into the lookup.
    #[inline]
    pub(super) fn coefficient(&self, bits: &mut Bits) -> Option<(usize, i32)> {
        let (length, zeros, value) = self.coefficients[bits.peek(AHEAD)];
        bits.skip(u32::from(length));
        (length != 0).then_some((usize::from(zeros), i32::from(value)))
    }
}

/// The default tables, which motion JPEG files omit: DC and AC, each for luma and chroma.
pub(super) fn usual() -> Result<[[Box<Huffman>; 2]; 2], Fault> {
    let differences: Vec<u8> = (0..12).collect();
    Ok([
        [
            Huffman::new(&[0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &differences)?,
            Huffman::new(&[0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &differences)?,
        ],
        [
            Huffman::new(&[0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125], &filled(&LUMA))?,
            Huffman::new(&[0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119], &filled(&CHROMA))?,
        ],
    ])
}

/// The symbols of codes of up to 15 bits, followed by all others: zero run and size of a coefficient.
fn filled(short: &[u8]) -> Vec<u8> {
    let others = (0..=0xff).filter(|symbol| (1..=10).contains(&(symbol & 15)) && !short.contains(symbol));
    short.iter().copied().chain(others).collect()
}

const LUMA: [u8; 37] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22,
    0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33,
    0x62, 0x72, 0x82,
];
const CHROMA: [u8; 43] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13,
    0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62,
    0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_all_lengths_are_read() {
        // 0, 10, 110, ... up to fifteen ones and a zero.
        let symbols: Vec<u8> = (1..17).collect();
        let table = Huffman::new(&[1; 16], &symbols).unwrap();
        for symbol in symbols {
            let word = !(0xffff_u16 >> (symbol - 1));
            let bytes = [(word >> 8) as u8, 0, word as u8, 0];
            let bytes = if bytes[0] == 0xff { &bytes[..] } else { &[bytes[0], bytes[2]] };
            let mut bits = Bits::new(bytes, 0);
            bits.refill();
            assert_eq!(table.symbol(&mut bits).unwrap(), symbol);
            bits.sound().unwrap();
        }
        let mut ones = Bits::new(&[0xff, 0, 0xff, 0], 0);
        ones.refill();
        assert!(table.symbol(&mut ones).is_err());
    }

    #[test]
    fn small_coefficients_are_read_in_one_go() {
        // 0 is one zero and a coefficient of two bits; 1 ends the block.
        let mut table =
            Huffman::new(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0x12, 0x00]).unwrap();
        table.look_ahead();
        let mut bits = Bits::new(&[0b0000_0101, 0b0011_1000], 0);
        bits.refill();
        let mut next = || table.coefficient(&mut bits);
        assert_eq!([next(), next(), next(), next()], [-3, -2, 2, 3].map(|value| Some((1, value))));
        assert_eq!(table.coefficient(&mut bits), None);
        assert_eq!(table.symbol(&mut bits).unwrap(), 0);
    }

    #[test]
    fn tables_that_are_none_are_refused() {
        let counts = |first: [u8; 3]| {
            let mut counts = [0; 16];
            counts[..3].copy_from_slice(&first);
            counts
        };
        assert!(Huffman::new(&counts([2, 0, 0]), &[1, 2]).is_ok());
        assert!(Huffman::new(&counts([2, 0, 0]), &[1]).is_err());
        for many in [[3, 0, 0], [2, 1, 0], [1, 1, 3]] {
            assert!(Huffman::new(&counts(many), &[0; 8]).is_err(), "{many:?}");
        }
    }

    #[test]
    fn usual_tables_have_all_symbols() {
        let [differences, coefficients] = usual().unwrap();
        assert!(differences.iter().all(|table| table.ordered.len() == 12));
        assert!(coefficients.iter().all(|table| table.ordered.len() == 162));
    }
}
