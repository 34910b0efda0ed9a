//! Mistakes in table and recipe files, found by the rules of their types, and the messages about them.

use std::fmt;

/// A mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Keys that lead to the faulty part of the document; positions in lists are numbers from 0.
    pub keys: Vec<String>,
    /// A faulty name somewhere within that part; `None` if the part itself is faulty.
    pub name: Option<String>,
    /// What is wrong, in words for the file's author.
    pub message: String,
}

impl Problem {
    /// A mistake in the part at these keys.
    pub fn at<K: ToString>(keys: &[K], message: impl Into<String>) -> Self {
        Self { keys: keys.iter().map(ToString::to_string).collect(), name: None, message: message.into() }
    }

    /// An unknown name within the part at these keys; `known` are the valid names.
    pub fn unknown<K: ToString>(keys: &[K], kind: &str, name: &str, known: &[&str]) -> Self {
        Self { name: Some(name.into()), ..Self::at(keys, unknown(kind, name, known)) }
    }

    /// The same mistake, with these keys put before its own.
    #[must_use]
    pub fn below(mut self, keys: &[&str]) -> Self {
        self.keys.splice(0..0, keys.iter().map(ToString::to_string));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  at {}", self.message, self.keys.join("."))
    }
}

/// The message about an unknown name, with the nearest known name and all known names.
pub fn unknown(kind: &str, name: &str, known: &[&str]) -> String {
    let distance = |other: &str| strsim::damerau_levenshtein(other, name);
    let near = known.iter().min_by_key(|other| distance(other));
    let near = near.filter(|other| distance(other) <= 1 + name.len() / 3);
    let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    format!("unknown {kind} `{name}`; {hint}known: `{}`", known.join("`, `"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_with_the_nearest_one() {
        let told = unknown("recipe", "iat", &["adversarial", "iaat"]);
        assert_eq!(told, "unknown recipe `iat`; did you mean `iaat`? known: `adversarial`, `iaat`");
        assert_eq!(unknown("row", "x", &["adversarial"]), "unknown row `x`; known: `adversarial`");
        let below = Problem::at(&["pipeline"], "odd").below(&["scale", "cpu"]);
        assert_eq!(below.to_string(), "odd\n  at scale.cpu.pipeline");
    }
}
