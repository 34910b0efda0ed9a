//! `cargo xtask new-plugin`: writes two new files, and edits two others.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// A plugin of each kind, as it is written for the name `my-KIND`. The project's tests compile and run every one of
/// them.
pub const TEMPLATES: [(&str, &str); 6] = [
    ("dataset", include_str!("../templates/dataset.rs")),
    ("model", include_str!("../templates/model.rs")),
    ("attack", include_str!("../templates/attack.rs")),
    ("loss", include_str!("../templates/loss.rs")),
    ("epsilon", include_str!("../templates/epsilon.rs")),
    ("suite", include_str!("../templates/suite.rs")),
];

/// Writes `plugins/KIND-NAME` and enters it in the runner; returns a report of what was done, one step per line.
pub fn create(root: &Path, kind: &str, name: &str) -> anyhow::Result<Vec<String>> {
    let kebab = !name.is_empty()
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    ensure!(kebab, "`{name}` is not a plugin name: expected kebab-case, for example `mi-fgsm`");
    let Some((_, template)) = TEMPLATES.iter().find(|(known, _)| *known == kind) else {
        let known = TEMPLATES.map(|(kind, _)| format!("`{kind}`")).join(", ");
        bail!("`{kind}` is not a kind of plugin; known: {known}");
    };
    let package = format!("temper-{kind}-{name}");
    let folder = root.join("plugins").join(format!("{kind}-{name}"));
    if folder.exists() {
        bail!("{} exists already", folder.display());
    }
    // Both edits are computed before anything is written.
    let manifest = root.join("crates/runner/Cargo.toml");
    let dependency = format!("{package} = {{ path = \"../../plugins/{kind}-{name}\" }}");
    let edited_manifest = with_line(&manifest, &dependency, "temper-", " = { path = \"../../plugins/")?;
    let list = root.join("crates/runner/src/plugins.rs");
    let line = format!("use {} as _;", package.replace('-', "_"));
    let edited_list = with_line(&list, &line, "use ", " as _;")?;

    fs::create_dir_all(folder.join("src")).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(folder.join("Cargo.toml"), CARGO.replace("PACKAGE", &package).replace("NAME", name))?;
    fs::write(folder.join("src/lib.rs"), named(template, kind, name))?;
    fs::write(&manifest, edited_manifest)?;
    fs::write(&list, edited_list)?;
    Ok(done(kind, name))
}

/// A report of what was done, one step per line, and of what to do next.
fn done(kind: &str, name: &str) -> Vec<String> {
    vec![
        format!("created plugins/{kind}-{name}/Cargo.toml"),
        format!("created plugins/{kind}-{name}/src/lib.rs"),
        "edited  crates/runner/Cargo.toml".into(),
        "edited  crates/runner/src/plugins.rs".into(),
        format!("next: cargo run -- describe {kind} {name}; UPDATE_EXPECT=1 cargo test -p temper-tests"),
    ]
}

/// A kind's template under a plugin's own name.
fn named(template: &str, kind: &str, name: &str) -> String {
    let example = format!("my-{kind}");
    template.replace(&example, name).replace(&camel(&example), &camel(name))
}

/// The file's text with `line` added in alphabetical order among the lines that begin with `start` and contain
/// `part`.
fn with_line(file: &Path, line: &str, start: &str, part: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut lines: Vec<&str> = text.lines().collect();
    let like = |l: &&str| l.starts_with(start) && l.contains(part);
    let last =
        lines.iter().rposition(&like).with_context(|| format!("{}: no plugin there", file.display()))?;
    let at = lines.iter().position(|l| like(l) && *l > line).unwrap_or(last + 1);
    lines.insert(at, line);
    Ok(lines.join("\n") + "\n")
}

/// `mi-fgsm` as `MiFgsm`.
fn camel(name: &str) -> String {
    let word = |part: &str| {
        let mut chars = part.chars();
        chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
    };
    name.split('-').map(word).collect()
}

const CARGO: &str = r#"[package]
name = "PACKAGE"
description = "NAME for temper"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[dependencies]
temper-core.workspace = true

[lints]
workspace = true
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_types() {
        assert_eq!(camel("mi-fgsm"), "MiFgsm");
        assert_eq!(camel("cw2"), "Cw2");
    }

    #[test]
    fn contributing_shows_what_is_written_for_an_attack() {
        let (kind, name, package) = ("attack", "shrinking-ascent", "temper-attack-shrinking-ascent");
        let shown = include_str!("../../CONTRIBUTING.md");
        let source = named(include_str!("../templates/attack.rs"), kind, name);
        let manifest = CARGO.replace("PACKAGE", package).replace("NAME", name);
        for written in [source, manifest, done(kind, name).join("\n")] {
            assert!(shown.contains(written.trim()), "CONTRIBUTING.md does not show\n{written}");
        }
    }

    #[test]
    fn every_kind_of_the_registry_has_a_template() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(TEMPLATES.map(|(kind, _)| kind).to_vec(), crate::tidy::kinds(root).unwrap());
    }

    #[test]
    fn a_bad_name_changes_nothing() {
        for name in ["", "Pgd", "-x", "x-", "a--b", "../x", "2x"] {
            let error = create(Path::new("nowhere"), "attack", name).unwrap_err().to_string();
            assert!(error.contains("expected kebab-case"), "{error}");
        }
        let error = create(Path::new("nowhere"), "atack", "x").unwrap_err().to_string();
        assert!(error.starts_with("`atack` is not a kind of plugin; known: `dataset`, `model`"), "{error}");
    }
}
