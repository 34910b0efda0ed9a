//! Class names, by which a network and images are compared.

use crate::text::shown;

/// Number of names that a message lists per side.
const SHOWN: usize = 12;

/// Class names and their owner.
#[derive(Debug, Clone, Copy)]
pub struct Classes<'a> {
    /// The owner, for messages.
    pub by: &'a str,
    /// Their names, by label.
    pub names: &'a [String],
}

/// A message about the difference between two lists of classes, by name and by position; `None` if they are
/// equal.
pub fn class_difference(one: Classes, other: Classes) -> Option<String> {
    if one.names == other.names {
        return None;
    }
    let sorted = [one.names, other.names].map(|names| {
        let mut names = names.to_vec();
        names.sort();
        names
    });
    let (first, [a, b]) = first_difference(one.names, other.names);
    let what = match sorted[0] == sorted[1] {
        true => "the same classes in another order",
        false => "other classes",
    };
    let (whose, theirs) = (one.by, other.by);
    Some(format!(
        "{whose} and {theirs} have {what}: label {first} is {a} and {b}\n  {whose}: {}\n  {theirs}: {}",
        list(one.names),
        list(other.names)
    ))
}

/// The first label whose names differ, with both names.
fn first_difference(one: &[String], other: &[String]) -> (usize, [String; 2]) {
    let label = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let name = |names: &[String]| names.get(label).map_or("no class".into(), |name| shown(name));
    (label, [name(one), name(other)])
}

/// The first names, and how many more there are.
fn list(names: &[String]) -> String {
    let first = names.iter().take(SHOWN).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(one: &[&str], other: &[&str]) -> Option<String> {
        let [one, other] =
            [one, other].map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
        class_difference(
            Classes { by: "the network", names: &one },
            Classes { by: "the images", names: &other },
        )
    }

    #[test]
    fn names_and_positions_are_compared_and_both_lists_are_told() {
        assert_eq!(told(&["cat", "dog"], &["cat", "dog"]), None);
        assert_eq!(
            told(&["cat", "dog"], &["dog", "cat"]).unwrap(),
            "the network and the images have the same classes in another order: label 0 is `cat` and `dog`\n  the network: \
             `cat`, `dog`\n  the images: `dog`, `cat`"
        );
        let more = told(&["cat", "dog"], &["cat", "d\u{7}g", "emu"]).unwrap();
        assert!(more.contains("have other classes: label 1 is `dog` and `d\\u{7}g`\n"), "{more}");
        assert!(told(&["cat"], &["cat", "dog"]).unwrap().contains("label 1 is no class and `dog`\n"));
        let many: Vec<String> = (0..1000).map(|i| format!("n{i:04}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = told(&many, &many[1..]).unwrap();
        assert!(long.ends_with("`n0012` and 987 more"), "{long}");
    }
}
