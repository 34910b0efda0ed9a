//! The positions of the parts of a pipeline: in its file or in a `--set`.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::place::line_column;

/// A pipeline's text and its `--set` options, from which messages take positions.
#[derive(Debug, Default)]
pub(crate) struct WrittenKeys {
    /// Name of the file, for messages.
    file: String,
    text: String,
    /// For each `--set`, the offset of its end after the text, and the option as given.
    sets: Vec<(usize, String)>,
    /// Offset and path of every key and every element of an array.
    places: BTreeMap<Vec<String>, (usize, String)>,
}

impl WrittenKeys {
    pub(crate) fn new(file: &str, text: &str, sets: Vec<(usize, String)>, document: &DeTable<'_>) -> Self {
        let mut written = Self { file: file.into(), text: text.into(), sets, places: BTreeMap::new() };
        written.enter(document, &[], "");
        written
    }

    fn enter(&mut self, table: &DeTable<'_>, keys: &[String], path: &str) {
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.place([keys, &[name]].concat(), key.span().start, &path, value.get_ref());
        }
    }

    fn place(&mut self, keys: Vec<String>, offset: usize, path: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.enter(table, &keys, path),
            DeValue::Array(array) => {
                // Messages refer to tables in arrays; elements of long lists of numbers need no position.
                let tables = array.iter().enumerate().filter(|(_, value)| value.get_ref().is_table());
                for (i, value) in tables {
                    let keys = [&*keys, &[i.to_string()]].concat();
                    self.place(keys, value.span().start, &format!("{path}[{i}]"), value.get_ref());
                }
            }
            _ => {}
        }
        self.places.insert(keys, (offset, path.into()));
    }

    /// A message about the part at these keys, with the position of the deepest part that exists.
    pub(crate) fn told_at(&self, keys: &[&str], message: &str) -> String {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let deepest = (1..=keys.len()).rev().find_map(|n| self.places.get(&keys[..n]));
        match deepest {
            Some((offset, path)) => self.told(*offset, path, message),
            None => self.told(0, "", message),
        }
    }

    /// Whether a part is written at these keys.
    pub(crate) fn has(&self, keys: &[&str]) -> bool {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        self.places.contains_key(&keys)
    }

    /// A message about an offset, and its path of keys, which is empty at the top level.
    pub(crate) fn told(&self, offset: usize, path: &str, message: &str) -> String {
        let mut sets = self.sets.iter();
        let set = sets.find(|(end, _)| offset > self.text.len() && offset < *end);
        let (line, column) = line_column(&self.text, offset);
        let place = set.map_or_else(
            || format!("{}:{line}:{column}", self.file),
            |(_, argument)| format!("--set {argument}"),
        );
        let at = if path.is_empty() { String::new() } else { format!("\n  at {path}") };
        format!("{place}: {message}{at}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_deepest_key_that_is_written() {
        let text = "a.b = 1\n[[c]]\nd = [4, 5]\n[[c]]\n";
        let document = DeTable::parse(text).unwrap();
        let written = WrittenKeys::new("x.toml", text, vec![], document.get_ref());
        let told = |keys: &[&str]| written.told_at(keys, "odd");
        assert_eq!(told(&["a", "b", "z"]), "x.toml:1:3: odd\n  at a.b");
        assert_eq!(told(&["c", "0", "d", "1"]), "x.toml:3:1: odd\n  at c[0].d");
        assert_eq!(told(&["c", "1", "d"]), "x.toml:4:1: odd\n  at c[1]");
        assert_eq!(told(&["q"]), "x.toml:1:1: odd");
    }
}
