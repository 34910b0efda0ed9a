//! Sizes along rows and columns: one number for both, or one for each.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess};
use serde::ser::{Serialize, Serializer};

/// A size along rows and one along columns; in TOML a number, or `[rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

/// Zeros that are added on each side; in TOML a number, `[rows, columns]`, or `"same"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// As many above as below, and as many on the left as on the right.
    Even(Pair),
    /// As many as keep height and width at stride 1; an odd one is added below and on the right, as in torch.
    Same,
}

impl Pair {
    /// The same size along both.
    pub(crate) const fn of(size: usize) -> Self {
        Self([size; 2])
    }
}

impl Serialize for Pair {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [rows, columns] if rows == columns => rows.serialize(serializer),
            both => both.serialize(serializer),
        }
    }
}

impl Serialize for Padding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Even(pair) => pair.serialize(serializer),
            Self::Same => serializer.serialize_str("same"),
        }
    }
}

/// Reads sizes, and the word `same` if it is allowed.
struct Sizes {
    same: bool,
}

impl<'de> de::Visitor<'de> for Sizes {
    type Value = Padding;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of at least 0, or two as [rows, columns]")?;
        if self.same { f.write_str(", or \"same\"") } else { Ok(()) }
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Padding, E> {
        let size = usize::try_from(v).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(v), &self))?;
        Ok(Padding::Even(Pair::of(size)))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Padding, E> {
        let size = usize::try_from(v).map_err(|_| E::invalid_value(de::Unexpected::Signed(v), &self))?;
        Ok(Padding::Even(Pair::of(size)))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Padding, E> {
        match self.same && v == "same" {
            true => Ok(Padding::Same),
            false => Err(E::invalid_value(de::Unexpected::Str(v), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Padding, A::Error> {
        let mut sizes = [0; 2];
        for (i, size) in sizes.iter_mut().enumerate() {
            *size = all.next_element()?.ok_or_else(|| de::Error::invalid_length(i, &self))?;
        }
        match all.next_element::<de::IgnoredAny>()? {
            None => Ok(Padding::Even(Pair(sizes))),
            Some(_) => Err(de::Error::invalid_length(3, &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Padding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sizes { same: true })
    }
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Sizes { same: false })? {
            Padding::Even(pair) => Ok(pair),
            Padding::Same => Err(de::Error::custom("`same` is no size")),
        }
    }
}
