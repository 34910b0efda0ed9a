//! Positions of values in a TOML file, and changes of values from the command line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The position of these keys in a document: the offset of the deepest part that exists, and the path of all keys as
/// messages print it, as in `evaluate[1].attack.pgd`. A key into an array is an index from 0.
pub(crate) fn place(document: &Spanned<DeTable<'_>>, keys: &[String]) -> (usize, String) {
    let (mut offset, mut path) = (document.span().start, String::new());
    let mut table = Some(document.get_ref());
    let mut array: Option<&[Spanned<DeValue<'_>>]> = None;
    for key in keys {
        let index = array.and_then(|array| Some((key.parse::<usize>().ok()?, array)));
        let value = if let Some((index, array)) = index {
            path = format!("{path}[{index}]");
            array.get(index).inspect(|value| offset = value.span().start)
        } else {
            path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let entry = table.and_then(|table| table.get_key_value(key.as_str()));
            entry.map(|(key, value)| {
                offset = key.span().start;
                value
            })
        };
        table = value.and_then(|value| value.get_ref().as_table());
        array = value.and_then(|value| value.get_ref().as_array()).map(|array| &**array);
    }
    (offset, path)
}

/// Line and column of an offset, both from 1.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.split('\n').count(), before[start..].chars().count() + 1)
}

/// Sets the value at `keys` to the value in `from`, a table with only that value. Missing tables are created,
/// array elements are addressed by index, and an existing value is replaced.
pub(crate) fn set<'i>(into: &mut DeTable<'i>, from: DeTable<'i>, keys: &[String]) -> Result<(), String> {
    let Some((key, value)) = from.into_iter().next() else { return Ok(()) };
    let name = key.get_ref().to_string();
    match into.get_mut(name.as_str()) {
        Some(old) if keys.len() > 1 && is_container(old) => {
            set_within(old, value, &keys[1..]).map_err(|e| format!("{name}{e}"))
        }
        _ => {
            // The key is inserted with its value, so that errors refer to the position of both.
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
    fn a_place_is_that_of_the_deepest_part_that_is_written() {
        let document = DeTable::parse("a.b = 1\n[[c]]\nd = 2\n[[c]]\n").unwrap();
        let at = |keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            place(&document, &keys)
        };
        assert_eq!(at(&["a", "b"]), (2, "a.b".into()));
        assert_eq!(at(&["a", "z", "y"]), (0, "a.z.y".into()));
        assert_eq!(at(&["c", "0", "d"]), (14, "c[0].d".into()));
        assert_eq!(at(&["c", "1", "d"]), (20, "c[1].d".into()));
        assert_eq!(at(&["c", "7"]), (10, "c[7]".into()));
        assert_eq!(at(&[]), (0, String::new()));
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
