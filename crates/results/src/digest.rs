//! A hash of labelled images, by which a number says what it was measured on.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A hash of labelled images, whatever their order and batches: the sum of the SHA-256 of every sample (index
/// in the data set, label, pixel values as f32), taken as four numbers of 64 bits. Files hold it as 64
/// hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataDigest(pub [u64; 4]);

impl DataDigest {
    /// Of the samples of both.
    pub fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }

    /// As [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |i: usize| u64::from_str_radix(text.get(16 * i..16 * (i + 1))?, 16).ok();
        (text.len() == 64).then_some(())?;
        Some(Self([word(0)?, word(1)?, word(2)?, word(3)?]))
    }
}

impl fmt::Display for DataDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

impl Serialize for DataDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DataDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let short: String = text.chars().take(100).collect();
        Self::parse(&text).ok_or_else(|| de::Error::custom(format_args!("`{short}` is no hash of data")))
    }
}
