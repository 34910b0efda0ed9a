//! Types of parameters. Each has a range, a format in TOML, and a description of both.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use temper_results::Norm;

/// A type of parameters with a description for `temper describe`, and a JSON Schema for editors.
pub trait Field: JsonSchema {
    /// The description, for example "whole number of at least 1".
    fn expects() -> String;
}

macro_rules! field {
    ($($t:ty: $text:expr;)*) => { $(impl Field for $t { fn expects() -> String { $text.into() } })* };
}
field! {
    bool: "true or false";
    usize: "whole number";
    u64: "whole number";
    NonZeroUsize: "whole number of at least 1";
    f64: "number";
    String: "text";
    PathBuf: "path";
    Distance: "length in pixels of [0, 1], as a number or a quotient such as \"8/255\"";
    Fraction: "number from 0 to 1";
    Positive: "number above 0";
    NonNegative: "number of at least 0";
    Growth: "number above 1";
    Share: "number above 0 and below 1";
    Decay: "number of at least 0 and below 1";
}
impl<T: Field> Field for Option<T> {
    fn expects() -> String {
        format!("{}; may be left out", T::expects())
    }
}
impl<T: Field> Field for Vec<T> {
    fn expects() -> String {
        format!("list, each a {}", T::expects())
    }
}

/// A closed set of words as an enum: `options! { /// Doc. pub enum Success { /// Doc. Any = "any", .. } }`.
#[macro_export]
macro_rules! options {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$option_doc:meta])* $option:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq,
            $crate::__private::serde::Serialize, $crate::__private::serde::Deserialize,
            $crate::__private::schemars::JsonSchema)]
        #[serde(crate = "temper_core::__private::serde")]
        #[schemars(crate = "temper_core::__private::schemars")]
        $vis enum $name { $(#[serde(rename = $text)] $(#[$option_doc])* $option,)+ }
        impl $crate::Field for $name {
            fn expects() -> String { [$(concat!("\"", $text, "\"")),+].join(" or ") }
        }
    };
}

impl Field for Norm {
    fn expects() -> String {
        [Norm::Linf, Norm::L2].map(|norm| format!("\"{}\"", norm.word())).join(" or ")
    }
}

/// `n` as a `NonZeroUsize`, for defaults of parameters.
///
/// # Panics
/// If `n` is 0. A wrong default fails in the first test that uses it.
pub const fn nonzero(n: usize) -> NonZeroUsize {
    match NonZeroUsize::new(n) {
        Some(n) => n,
        None => panic!("a default of 0 for a number of at least 1"),
    }
}

/// A length of at least 0 in pixel values of [0, 1]. TOML may give it as a string such as `"8/255"`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Distance(f64);

impl Distance {
    /// The length 0.
    pub const ZERO: Self = Self(0.0);

    /// A length, if it is finite and at least 0.
    pub fn new(length: f64) -> Option<Self> {
        (length.is_finite() && length >= 0.0).then_some(Self(length))
    }

    /// A length, for defaults.
    ///
    /// # Panics
    /// If `length` is below 0 or not finite. A wrong default fails in the first test that uses it.
    pub const fn of(length: f64) -> Self {
        assert!(length >= 0.0 && length < f64::INFINITY, "a length below 0, or endless");
        Self(length)
    }

    /// `n / 255`, for defaults.
    ///
    /// # Panics
    /// If `n` is below 0. A wrong default fails in the first test that uses it.
    pub const fn of_255(n: f64) -> Self {
        assert!(n >= 0.0, "a length below 0");
        Self(n / 255.0)
    }

    /// The length, in pixel values of [0, 1].
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl JsonSchema for Distance {
    fn schema_name() -> Cow<'static, str> {
        "length".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": Self::expects(),
            "anyOf": [
                { "type": "number", "minimum": 0 },
                { "type": "string", "pattern": "^ *[0-9.eE+-]+ *(/ *[0-9.eE+-]+ *)?$" },
            ],
        })
    }
}

impl Serialize for Distance {
    /// Short decimals are written as they are, other multiples of 0.1/255 as quotients such as `8/255`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let n = (self.0 * 2550.0).round() / 10.0;
        if self.0.to_string().len() > 6 && n / 255.0 == self.0 {
            return serializer.serialize_str(&format!("{n}/255"));
        }
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Distance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Length;
        impl de::Visitor<'_> for Length {
            type Value = Distance;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a length of at least 0 in pixels of [0, 1], as a number or a quotient such as \"8/255\"",
                )
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Distance, E> {
                Distance::new(v).ok_or_else(|| E::invalid_value(de::Unexpected::Float(v), &self))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Distance, E> {
                Distance::new(v as f64).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(v), &self))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Distance, E> {
                self.visit_f64(v as f64)
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Distance, E> {
                let number = |part: &str| part.trim().parse::<f64>().ok();
                let value = match v.split_once('/') {
                    Some((above, below)) => number(above).zip(number(below)).map(|(a, b)| a / b),
                    None => number(v),
                };
                let value = value.and_then(Distance::new);
                value.ok_or_else(|| E::invalid_value(de::Unexpected::Str(v), &self))
            }
        }
        deserializer.deserialize_any(Length)
    }
}

macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident, $range:expr, $bounds:tt, $expects:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
        pub struct $name(f64);

        impl $name {
            /// The number, if it is in range.
            pub fn new(value: f64) -> Option<Self> {
                let range: fn(f64) -> bool = $range;
                range(value).then_some(Self(value))
            }

            /// A value for defaults.
            ///
            /// # Panics
            /// If `value` is out of range. A wrong default fails in the first test that uses it.
            pub fn of(value: f64) -> Self {
                match Self::new(value) {
                    Some(value) => value,
                    None => panic!("a default out of range: {value} is not a {}", $expects),
                }
            }

            /// The number.
            pub const fn get(self) -> f64 {
                self.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).to_lowercase().into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!($bounds);
                schema.insert("type".into(), "number".into());
                schema.insert("description".into(), Self::expects().into());
                schema
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = f64::deserialize(deserializer)?;
                Self::new(value)
                    .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Float(value), &concat!("a ", $expects)))
            }
        }
    };
}
ranged!(
    /// A number from 0 to 1.
    Fraction, |v| (0.0..=1.0).contains(&v), { "minimum": 0, "maximum": 1 }, "number from 0 to 1"
);
ranged!(
    /// A finite number above 0.
    Positive, |v| v > 0.0 && v.is_finite(), { "exclusiveMinimum": 0 }, "number above 0"
);
ranged!(
    /// A finite number of at least 0.
    NonNegative, |v| v >= 0.0 && v.is_finite(), { "minimum": 0 }, "number of at least 0"
);
ranged!(
    /// A finite number above 1, such as a growth factor.
    Growth, |v| v > 1.0 && v.is_finite(), { "exclusiveMinimum": 1 }, "number above 1"
);
ranged!(
    /// A number above 0 and below 1, such as a decay factor.
    Share, |v| v > 0.0 && v < 1.0, { "exclusiveMinimum": 0, "exclusiveMaximum": 1 }, "number above 0 and below 1"
);
ranged!(
    /// A number of at least 0 and below 1: the weight of an old value in a running average.
    Decay, |v| (0.0..1.0).contains(&v), { "minimum": 0, "exclusiveMaximum": 1 }, "number of at least 0 and below 1"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct Row {
        length: Distance,
    }

    fn length(text: &str) -> Result<f64, String> {
        let row: Result<Row, _> = toml::from_str(&format!("length = {text}"));
        row.map(|r| r.length.get()).map_err(|e| e.message().to_string())
    }

    #[test]
    fn lengths_are_numbers_or_quotients() {
        assert_eq!(length("0.1"), Ok(0.1));
        assert_eq!(length("1"), Ok(1.0));
        assert_eq!(length("\"8/255\""), Ok(8.0 / 255.0));
        assert_eq!(length("\" 1.9125 / 255\""), Ok(1.9125 / 255.0));
        for wrong in ["-1", "-0.5", "nan", "inf", "\"8/0\"", "\"-8/255\"", "\"eight\"", "true"] {
            assert!(length(wrong).unwrap_err().contains("a length of at least 0"), "{wrong}");
        }
    }

    #[test]
    fn lengths_are_written_so_that_they_read_back_exactly() {
        let cases = [
            (0.1, "length = 0.1"),
            (8.0 / 255.0, "length = \"8/255\""),
            (0.5 / 255.0, "length = \"0.5/255\""),
        ];
        for (value, text) in cases {
            let row = Row { length: Distance::new(value).unwrap() };
            let written = toml::to_string(&row).unwrap();
            assert_eq!(written.trim(), text);
            assert_eq!(toml::from_str::<Row>(&written).unwrap().length.get(), value);
        }
    }
}
