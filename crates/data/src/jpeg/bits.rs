//! A bit reader for entropy-coded data. It removes stuffed bytes and stops at the next marker.

use super::{Fault, damaged};

/// A bit reader. After the marker it returns zeros, and [`Bits::sound`] reports an error.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Offset of the next byte that is not in `buffer`; at a marker, the offset of the marker.
    at: usize,
    /// Bits read ahead, starting from the highest bit.
    buffer: u64,
    /// Number of bits in `buffer`.
    count: u32,
    /// How many of the last bits in `buffer` are padding after the end.
    padding: u32,
}

impl<'a> Bits<'a> {
    /// A reader that starts at an offset.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, count: 0, padding: 0 }
    }

    /// Fills the buffer to at least 32 bits: enough for a Huffman code and the bits that follow it.
    #[inline]
    pub(super) fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(&next) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<4>) {
            let word = u32::from_be_bytes(next);
            // No byte is 0xff if no byte of the complement is 0.
            if (!word).wrapping_sub(0x0101_0101) & word & 0x8080_8080 == 0 {
                self.buffer |= u64::from(word) << (32 - self.count);
                self.count += 32;
                self.at += 4;
                return;
            }
        }
        self.refill_slowly();
    }

    #[cold]
    fn refill_slowly(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xff, 0x00, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([0xff, 0xff, ..]) => {
                    self.at += 1;
                    continue;
                }
                Some(&[byte, ..]) if byte != 0xff => {
                    self.at += 1;
                    byte
                }
                _ => {
                    self.padding += 8;
                    0
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Peeks at the next bits, at least one. They must be in the buffer.
    #[inline]
    pub(super) fn peek(&self, bits: u32) -> usize {
        (self.buffer >> (64 - bits)) as usize
    }

    /// Consumes bits, which must be in the buffer.
    #[inline]
    pub(super) fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// Reads one bit.
    #[inline]
    pub(super) fn bit(&mut self) -> bool {
        self.refill();
        let bit = self.buffer >> 63 == 1;
        self.skip(1);
        bit
    }

    /// Reads up to 16 bits, which must be in the buffer, as a number.
    #[inline]
    pub(super) fn number(&mut self, bits: u32) -> i32 {
        // In two steps, because a shift by 64 is not allowed.
        let number = (self.buffer >> 1 >> (63 - bits)) as i32;
        self.skip(bits);
        number
    }

    /// Reads up to 16 bits, which must be in the buffer, as a signed value in JPEG's encoding.
    #[inline]
    pub(super) fn value(&mut self, bits: u32) -> i32 {
        let number = self.number(bits);
        let negative = i32::from(number < 1 << bits >> 1);
        number - negative * ((1 << bits) - 1)
    }

    /// An error if more bits were read than exist.
    #[inline]
    pub(super) fn sound(&self) -> Result<(), Fault> {
        match self.padding > self.count {
            true => Err(damaged("its data end too soon")),
            false => Ok(()),
        }
    }

    /// Skips the marker of restart number `restart`, which must be next.
    pub(super) fn restart(&mut self, restart: usize) -> Result<(), Fault> {
        let (at, stray) = self.end();
        let wanted = 0xd0 + (restart % 8) as u8;
        if stray || self.bytes.get(at..at + 2) != Some(&[0xff, wanted]) {
            return Err(damaged(format!("no restart {restart} where one was due")));
        }
        *self = Self::new(self.bytes, at + 2);
        Ok(())
    }

    /// The offset of the next marker, and whether there were bytes before it.
    pub(super) fn end(&self) -> (usize, bool) {
        let mut at = self.at;
        let mut stray = self.count - self.padding.min(self.count) >= 8;
        loop {
            match self.bytes.get(at..) {
                Some([0xff, 0xff, ..]) => at += 1,
                Some([0xff, 0x00, ..] | [0x00..=0xfe, ..]) => {
                    stray = true;
                    at += 1;
                }
                _ => return (at, stray),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_bytes_are_passed_over_and_a_marker_ends_the_bits() {
        let bytes = [0xa5, 0xff, 0x00, 0xff, 0xff, 0x00, 0x12, 0x34, 0xff, 0xff, 0xd9, 0x77];
        let mut bits = Bits::new(&bytes, 0);
        for wanted in [0xa5, 0xff, 0xff, 0x12, 0x34] {
            assert_eq!(bits.end(), (9, true));
            bits.refill();
            assert_eq!(bits.number(8), wanted);
            bits.sound().unwrap();
        }
        assert_eq!(bits.end(), (9, false));
        bits.refill();
        assert_eq!(bits.number(0), 0);
        assert!(!bits.bit());
        assert!(bits.sound().is_err());
    }

    #[test]
    fn values_are_signed_as_the_standard_says() {
        // Three bits: 000 is -7, 011 is -4, 100 is 4, 111 is 7; one bit: 0 is -1, 1 is 1; no bit: 0.
        let bytes = [0b0000_1110, 0b0111_1010];
        let mut bits = Bits::new(&bytes, 0);
        bits.refill();
        let got = [3, 3, 3, 3, 0, 1, 1].map(|n| bits.value(n));
        assert_eq!(got, [-7, -4, 4, 7, 0, 1, -1]);
        assert_eq!((bits.number(2), bits.end()), (2, (2, false)));
        assert!(bits.sound().is_ok());
    }

    #[test]
    fn restarts_come_in_order_with_nothing_before_them() {
        let bytes = [0x12, 0xff, 0xff, 0xd1, 0x34];
        let taken = |taken: u32| {
            let mut bits = Bits::new(&bytes, 0);
            bits.refill();
            bits.skip(taken);
            bits
        };
        let mut bits = taken(3);
        bits.restart(9).unwrap();
        bits.refill();
        assert_eq!(bits.number(8), 0x34);
        assert!(taken(0).restart(1).is_err(), "a whole byte is left");
        assert!(taken(8).restart(2).is_err());
    }
}
