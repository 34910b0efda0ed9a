//! Where in a TOML file a value stands, and changing values from the command line.

use std::fmt;

use serde_path_to_error::{Path, Segment};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Offset of the deepest part of `path` that the document has.
pub(crate) fn offset(document: &Spanned<DeTable<'_>>, path: &Path) -> usize {
    let mut at = document.span().start;
    let mut table = Some(document.get_ref());
    let mut array: Option<&[Spanned<DeValue<'_>>]> = None;
    for segment in path {
        let value = match segment {
            Segment::Map { key } => {
                let Some((key, value)) = table.and_then(|table| table.get_key_value(key.as_str())) else {
                    break;
                };
                at = key.span().start;
                value
            }
            Segment::Seq { index } => {
                let Some(value) = array.and_then(|array| array.get(*index)) else { break };
                at = value.span().start;
                value
            }
            _ => break,
        };
        table = value.get_ref().as_table();
        array = value.get_ref().as_array().map(|array| &**array);
    }
    at
}

/// The path of these keys, as deserialising the document would have met it.
pub(crate) fn path_of(document: &Spanned<DeTable<'_>>, keys: &[&str]) -> Path {
    /// Fails where the path ends, so that the tracker reports that place.
    struct Walk<'k>(&'k [&'k str]);
    impl<'de> serde::de::DeserializeSeed<'de> for Walk<'_> {
        type Value = ();
        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            match self.0 {
                [] => Err(serde::de::Error::custom("here")),
                _ => deserializer.deserialize_any(self),
            }
        }
    }
    impl<'de> serde::de::Visitor<'de> for Walk<'_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table or an array")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                if key == self.0[0] {
                    return map.next_value_seed(Walk(&self.0[1..]));
                }
                map.next_value::<serde::de::IgnoredAny>()?;
            }
            Err(serde::de::Error::custom("here"))
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
            let index = self.0[0].parse::<usize>().unwrap_or(0);
            for _ in 0..index {
                seq.next_element::<serde::de::IgnoredAny>()?;
            }
            seq.next_element_seed(Walk(&self.0[1..]))?;
            Err(serde::de::Error::custom("here"))
        }
    }
    let mut track = serde_path_to_error::Track::new();
    let deserializer = toml::de::Deserializer::from(document.clone());
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    let _ = serde::de::DeserializeSeed::deserialize(Walk(keys), tracked);
    track.path()
}

/// Line and column of an offset, from 1.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.split('\n').count(), before[start..].chars().count() + 1)
}

/// Sets the value that stands at the end of `keys` in `from`, a table of nothing else: tables on the way are entered or
/// made, array elements are entered by their index, what stood at the end is replaced.
pub(crate) fn set<'i>(into: &mut DeTable<'i>, from: DeTable<'i>, keys: &[String]) -> Result<(), String> {
    let Some((key, value)) = from.into_iter().next() else { return Ok(()) };
    let name = key.get_ref().to_string();
    match into.get_mut(name.as_str()) {
        Some(old) if keys.len() > 1 && is_container(old) => {
            set_within(old, value, &keys[1..]).map_err(|e| format!("{name}{e}"))
        }
        _ => {
            // The new key comes with its value, so that an error finds where both were written.
            into.remove(name.as_str());
            into.insert(key, value);
            Ok(())
        }
    }
}

fn is_container(value: &Spanned<DeValue<'_>>) -> bool {
    matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_))
}

fn set_within<'i>(
    old: &mut Spanned<DeValue<'i>>,
    new: Spanned<DeValue<'i>>,
    keys: &[String],
) -> Result<(), String> {
    let DeValue::Table(new) = new.into_inner() else { return Ok(()) };
    match old.get_mut() {
        DeValue::Table(old) => set(old, new, keys).map_err(|e| format!(".{e}")),
        DeValue::Array(old) => {
            let (len, Some((key, value))) = (old.len(), new.into_iter().next()) else { return Ok(()) };
            let name = key.get_ref().to_string();
            match name.parse::<usize>().ok().and_then(|i| old.get_mut(i)) {
                Some(old) if keys.len() > 1 && is_container(old) => {
                    set_within(old, value, &keys[1..]).map_err(|e| format!(".{name}{e}"))
                }
                Some(old) => {
                    *old = value;
                    Ok(())
                }
                None => Err(format!(": no entry `{name}`; it has {len}, counted from 0")),
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        assert_eq!(line_column("ab\ncd", 0), (1, 1));
        assert_eq!(line_column("ab\ncd", 4), (2, 2));
        assert_eq!(line_column("é = 1", 3), (1, 3));
        assert_eq!(line_column("a", 99), (1, 2));
    }

    #[test]
    fn setting_enters_tables_and_arrays_and_replaces_at_the_end() {
        let mut into = DeTable::parse("a.b = 1\na.z = 2\nc = [{ d = 1 }, { d = 2 }]").unwrap().into_inner();
        let mut change = |line: &'static str, keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            set(&mut into, DeTable::parse(line).unwrap().into_inner(), &keys)
        };
        change("c.1.d = 4", &["c", "1", "d"]).unwrap();
        change("a = { q = 3 }", &["a"]).unwrap();
        change("e.f = 5", &["e", "f"]).unwrap();
        let past = change("c.2.d = 4", &["c", "2", "d"]).unwrap_err();
        assert_eq!(past, "c: no entry `2`; it has 2, counted from 0");
        let number = |value: &DeValue<'_>| value.as_integer().unwrap().as_str().to_string();
        let second = &into["c"].get_ref().as_array().unwrap()[1];
        assert_eq!(number(second.get_ref().as_table().unwrap()["d"].get_ref()), "4");
        let a = into["a"].get_ref().as_table().unwrap();
        assert!(a.contains_key("q") && !a.contains_key("b"), "a value replaces, it does not merge");
        assert!(into["e"].get_ref().as_table().unwrap().contains_key("f"));
    }
}
