//! The wire format of protocol buffers, read in place: a message is a slice of the file, without
//! copies or reserved memory.

use crate::error::{Found, Problem};

/// The content of a field, which follows its number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    /// A whole number.
    Number(u64),
    /// Four bytes.
    Four([u8; 4]),
    /// Eight bytes.
    Eight([u8; 8]),
    /// A text, a message, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(crate) fn number(self) -> Found<u64> {
        match self {
            Self::Number(number) => Ok(number),
            _ => Err(damaged("a field that should be a whole number is not")),
        }
    }

    pub(crate) fn bytes(self) -> Found<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(damaged("a field that should be a text or a message is not")),
        }
    }

    pub(crate) fn text(self) -> Found<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged("a name is not UTF-8"))
    }

    /// Whole numbers of a repeated field: one, or several packed.
    pub(crate) fn numbers(self) -> impl Iterator<Item = Found<u64>> + 'a {
        let (one, rest) = match self {
            Self::Number(number) => (Some(Ok(number)), &[][..]),
            Self::Bytes(bytes) => (None, bytes),
            _ => (Some(Err(damaged("a field that should be a whole number is not"))), &[][..]),
        };
        one.into_iter().chain(Packed { rest })
    }

    /// Numbers of four bytes of a repeated field: one, or several packed.
    pub(crate) fn fours(self) -> Found<Vec<[u8; 4]>> {
        match self {
            Self::Four(word) => Ok(vec![word]),
            Self::Bytes(bytes) => whole(bytes),
            _ => Err(damaged("a field that should be a number of 32 bits is not")),
        }
    }

    /// Numbers of eight bytes of a repeated field: one, or several packed.
    pub(crate) fn eights(self) -> Found<Vec<[u8; 8]>> {
        match self {
            Self::Eight(word) => Ok(vec![word]),
            Self::Bytes(bytes) => whole(bytes),
            _ => Err(damaged("a field that should be a number of 64 bits is not")),
        }
    }
}

/// The words of a slice; an error if the last word is incomplete.
fn whole<const N: usize>(bytes: &[u8]) -> Found<Vec<[u8; N]>> {
    match bytes.as_chunks() {
        (words, []) => Ok(words.to_vec()),
        _ => Err(damaged("packed numbers end in the middle of one")),
    }
}

/// Packed whole numbers.
struct Packed<'a> {
    rest: &'a [u8],
}

impl Iterator for Packed<'_> {
    type Item = Found<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let number = varint(&mut self.rest);
        if number.is_err() {
            self.rest = &[];
        }
        Some(number)
    }
}

fn damaged(what: &str) -> Problem {
    Problem::Damaged(what.into())
}

/// Reads a whole number in groups of seven bits, the least significant first.
fn varint(rest: &mut &[u8]) -> Found<u64> {
    let mut number = 0u64;
    for shift in (0..70).step_by(7) {
        let Some((byte, after)) = rest.split_first() else {
            return Err(damaged("it ends in the middle of a number"));
        };
        *rest = after;
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged("a number is longer than 64 bits"))
}

/// The fields of a message, in order.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, count: u64) -> Found<&'a [u8]> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let Some((taken, rest)) = split else {
            return Err(damaged("a field is longer than what is left of its message"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Found<(u64, Field<'a>)> {
        let key = varint(&mut self.rest)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut self.rest)?),
            1 => Field::Eight(self.take(8)?.try_into().unwrap_or_default()),
            2 => {
                let length = varint(&mut self.rest)?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Four(self.take(4)?.try_into().unwrap_or_default()),
            other => return Err(Problem::Damaged(format!("a field has the unknown wire type {other}"))),
        };
        match key >> 3 {
            0 => Err(damaged("a field has the number 0")),
            number => Ok((number, field)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Found<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind_are_read_and_damage_is_an_error() {
        let message =
            [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 0, 0, 0, 0, 0, 0, 0, 1];
        let fields: Vec<_> = Fields::of(&message).map(Result::unwrap).collect();
        assert!(matches!(fields[0], (1, Field::Number(150))));
        assert_eq!((fields[1].0, fields[1].1.text().unwrap()), (2, "hi"));
        assert_eq!(fields[2].1.fours().unwrap(), [1f32.to_le_bytes()]);
        assert_eq!(fields[3].1.eights().unwrap(), [[0, 0, 0, 0, 0, 0, 0, 1]]);
        for cut in [1, 2, 4, 6, 8, 11, 13, 20] {
            assert!(Fields::of(&message[..cut]).any(|field| field.is_err()), "{cut}");
        }
        for bad in
            [&[0x0b, 0][..], &[0x00, 0], &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]
        {
            assert!(Fields::of(bad).any(|field| field.is_err()), "{bad:?}");
        }
        assert!(Fields::of(&[0x80; 11]).any(|field| field.is_err()));
        let packed = Field::Bytes(&[1, 0x80, 1]).numbers().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(packed, [1, 128]);
    }
}
