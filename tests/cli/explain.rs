//! `temper explain`: every warning that the sources can give has a section.

use std::collections::BTreeSet;
use std::path::Path;

use expect_test::expect;

use crate::support::{refuses, root, succeed};

/// The ids after `Warning::caution(` and `Warning::severe(` in a text.
fn ids(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in ["Warning::caution(", "Warning::severe("] {
        for after in text.split(word).skip(1) {
            let id = after.trim_start().strip_prefix('"').and_then(|after| after.split('"').next());
            found.extend(id.filter(|id| id.len() > 3).map(Into::into));
        }
    }
    found
}

/// Adds the text of all sources below a folder.
fn read_all(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_warning_is_explained() {
    let listed = succeed(&root(), &["explain"]);
    let listed: BTreeSet<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let mut sources = String::new();
    for folder in std::fs::read_dir(root().join("crates")).unwrap() {
        read_all(&folder.unwrap().path().join("src"), &mut sources);
    }
    let mut found = ids(&sources);
    found.extend(temper_evaluate::checks().map(|(id, _)| id.to_string()));
    assert!(found.len() > 30, "{found:?}");
    for id in &found {
        // A unit test of warnings has one of this name.
        assert!(
            listed.contains(&**id) || id == "test-warning",
            "{id} has no section in docs/read-the-numbers.md"
        );
    }
    for id in listed {
        assert!(sources.contains(&format!("\"{id}\"")), "{id} is explained, and nothing gives it");
        assert!(succeed(&root(), &["explain", id]).contains("What to do: "), "{id}");
    }
    refuses(
        &root(),
        &["explain", "silent-succes"],
        &expect![[r"
            error: unknown warning `silent-succes`; did you mean `silent-success`?
              `temper explain` lists all of them
        "]],
    );
}
