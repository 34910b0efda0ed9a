//! `cargo xtask new-plugin`: two new files, two edited.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// Kinds that this command can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A way to perturb images.
    Attack,
}

/// Writes `plugins/KIND-NAME` and enters it in the runner; returns what it did, a line each.
pub fn create(root: &Path, kind: Kind, name: &str) -> anyhow::Result<Vec<String>> {
    let kebab = !name.is_empty()
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    ensure!(kebab, "`{name}` is not a plugin name: expected kebab-case, for example `mi-fgsm`");
    let word = match kind {
        Kind::Attack => "attack",
    };
    let package = format!("temper-{word}-{name}");
    let folder = root.join("plugins").join(format!("{word}-{name}"));
    if folder.exists() {
        bail!("{} exists already", folder.display());
    }
    // Both edits are worked out before anything is written.
    let manifest = root.join("crates/runner/Cargo.toml");
    let dependency = format!("{package} = {{ path = \"../../plugins/{word}-{name}\" }}");
    let edited_manifest = with_line(&manifest, &dependency, "temper-", " = { path = \"../../plugins/")?;
    let list = root.join("crates/runner/src/plugins.rs");
    let line = format!("use {} as _;", package.replace('-', "_"));
    let edited_list = with_line(&list, &line, "use ", " as _;")?;

    fs::create_dir_all(folder.join("src")).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(folder.join("Cargo.toml"), CARGO.replace("PACKAGE", &package).replace("NAME", name))?;
    fs::write(folder.join("src/lib.rs"), ATTACK.replace("NAME", name).replace("TYPE", &camel(name)))?;
    fs::write(&manifest, edited_manifest)?;
    fs::write(&list, edited_list)?;
    Ok(vec![
        format!("created plugins/{word}-{name}/Cargo.toml"),
        format!("created plugins/{word}-{name}/src/lib.rs"),
        "edited  crates/runner/Cargo.toml".into(),
        "edited  crates/runner/src/plugins.rs".into(),
        format!("next: cargo run -- describe {word} {name}; cargo test -p temper-tests conformance"),
    ])
}

/// The file's text with `line` added in alphabetical order among the lines that have this start and this part.
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

const ATTACK: &str = r#"//! NAME: cite the paper here, with its link, then say where this code deviates from it.

use temper_core::prelude::*;

plugin! { Attack "NAME";
    /// Steepest ascent from the clean image, with a step that shrinks as one over the number of steps.
    /// AUTHORS and YEAR, <https://arxiv.org/abs/NUMBER>. Norms: l-inf, l2.
    pub struct TYPE {
        /// Gradient steps.
        pub steps: NonZeroUsize = nonzero(10),
        /// Length of the first step, as a multiple of each sample's radius.
        pub first_step: Positive = Positive::of(1.0),
    }
}

impl Attack for TYPE {
    fn perturb(&self, victim: &Victim, ball: &Ball, _rng: &Rng) -> Result<Tensor> {
        let mut pixels = ball.center().clone();
        for step in 1..=self.steps.get() {
            let direction = ball.steepest(&victim.gradient(&pixels)?)?;
            let lengths = ball.lengths(Pixels::ZERO, self.first_step.get() / step as f64)?;
            pixels = ball.step(&pixels, &direction, &lengths)?;
        }
        Ok(pixels)
    }
}
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
    fn a_bad_name_changes_nothing() {
        for name in ["", "Pgd", "-x", "x-", "a--b", "../x", "2x"] {
            let error = create(Path::new("nowhere"), Kind::Attack, name).unwrap_err().to_string();
            assert!(error.contains("expected kebab-case"), "{error}");
        }
    }
}
