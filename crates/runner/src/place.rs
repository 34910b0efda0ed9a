//! Where in a TOML file a value stands, and changing values from the command line.

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

/// Line and column of an offset, from 1.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

/// Merges `from` into `into`: tables key by key, array elements by their index as key, anything else replaced.
pub(crate) fn merge<'i>(into: &mut DeTable<'i>, from: DeTable<'i>) -> Result<(), String> {
    for (key, value) in from {
        let name = key.get_ref().to_string();
        match into.get_mut(name.as_str()) {
            None => drop(into.insert(key, value)),
            Some(old) => merge_value(old, value).map_err(|e| format!("{name}{e}"))?,
        }
    }
    Ok(())
}

fn merge_value<'i>(old: &mut Spanned<DeValue<'i>>, new: Spanned<DeValue<'i>>) -> Result<(), String> {
    let span = new.span();
    match (old.get_mut(), new.into_inner()) {
        (DeValue::Table(old), DeValue::Table(new)) => merge(old, new).map_err(|e| format!(".{e}")),
        (DeValue::Array(old), DeValue::Table(new)) => {
            let len = old.len();
            for (key, value) in new {
                let name = key.get_ref().to_string();
                match name.parse::<usize>().ok().and_then(|i| old.get_mut(i)) {
                    Some(old) => merge_value(old, value).map_err(|e| format!(".{name}{e}"))?,
                    None => return Err(format!(": no entry `{name}`; it has {len}, counted from 0")),
                }
            }
            Ok(())
        }
        (_, value) => {
            *old = Spanned::new(span, value);
            Ok(())
        }
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
    fn merging_reaches_into_tables_and_arrays() {
        let mut into = DeTable::parse("a.b = 1\nc = [{ d = 1 }, { d = 2 }]").unwrap().into_inner();
        merge(&mut into, DeTable::parse("a.b = 3\nc.1.d = 4\ne = 5").unwrap().into_inner()).unwrap();
        assert_eq!(
            into["a"].get_ref().as_table().unwrap()["b"].get_ref().as_integer().unwrap().as_str(),
            "3"
        );
        let second = &into["c"].get_ref().as_array().unwrap()[1];
        assert_eq!(second.get_ref().as_table().unwrap()["d"].get_ref().as_integer().unwrap().as_str(), "4");
        assert!(into.contains_key("e"));
        let past = merge(&mut into, DeTable::parse("c.2.d = 4").unwrap().into_inner());
        assert_eq!(past.unwrap_err(), "c: no entry `2`; it has 2, counted from 0");
    }
}
