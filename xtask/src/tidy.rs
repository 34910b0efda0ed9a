//! Checks of the workspace: dependencies between crates, plugins that the runner does not link, unfinished places,
//! comment lines that are too wide.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The crates of the workspace that each crate may depend on. A plugin that is not listed may depend only on core.
const ARROWS: [(&str, &[&str]); 20] = [
    ("temper-tensorboard", &["temper-files"]),
    ("temper-nn", &[]),
    ("temper-onnx", &["temper-files", "temper-nn"]),
    ("temper-model-onnx", &["temper-core", "temper-onnx"]),
    ("temper-files", &[]),
    ("temper-results", &["temper-files"]),
    ("temper-weights", &["temper-files"]),
    ("temper-data", &["temper-files"]),
    ("temper-report", &["temper-files", "temper-results"]),
    ("temper-core", &["temper-data", "temper-files", "temper-nn", "temper-results"]),
    ("temper-corruptions", &["temper-data", "temper-files"]),
    ("temper-fetch", &["temper-data", "temper-files"]),
    ("temper-experiments", &["temper-files", "temper-report", "temper-results"]),
    (
        "temper-train",
        &["temper-core", "temper-data", "temper-files", "temper-onnx", "temper-results", "temper-weights"],
    ),
    (
        "temper-evaluate",
        &["temper-core", "temper-corruptions", "temper-data", "temper-files", "temper-results"],
    ),
    (
        "temper-runner",
        &[
            "temper-core",
            "temper-corruptions",
            "temper-data",
            "temper-evaluate",
            "temper-experiments",
            "temper-fetch",
            "temper-files",
            "temper-onnx",
            "temper-report",
            "temper-results",
            "temper-tensorboard",
            "temper-train",
            "temper-weights",
            "plugins",
        ],
    ),
    (
        "temper-bench",
        &[
            "temper-core",
            "temper-data",
            "temper-evaluate",
            "temper-nn",
            "temper-results",
            "temper-runner",
            "temper-train",
        ],
    ),
    ("temper-parity", &["temper-core", "temper-data", "temper-runner", "temper-train"]),
    ("xtask", &[]),
    (
        "temper-tests",
        &[
            "temper-core",
            "temper-corruptions",
            "temper-data",
            "temper-evaluate",
            "temper-experiments",
            "temper-files",
            "temper-nn",
            "temper-onnx",
            "temper-parity",
            "temper-report",
            "temper-results",
            "temper-runner",
            "temper-train",
            "xtask",
        ],
    ),
];
/// Number of lines above which a source file surely has two subjects.
const LONGEST: usize = 500;
/// Maximum number of characters in a comment line.
const WIDEST: usize = 120;

/// All faults, one per line.
pub fn faults(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut faults = vec![];
    arrows(root, &mut faults)?;
    forgotten(root, &mut faults)?;
    unrun(root, &mut faults)?;
    let mut sources = vec![];
    for folder in ["crates", "plugins", "tests", "xtask"] {
        files_with("rs", &root.join(folder), &mut sources)?;
    }
    for file in &sources {
        let text = fs::read_to_string(file)?;
        in_source(&file.strip_prefix(root).unwrap_or(file).display().to_string(), &text, &mut faults);
    }
    prose(root, &mut faults)?;
    Ok(faults)
}

/// Finds lines that are too wide in documents and in comments of configurations. Reports are not checked, because
/// they are generated.
fn prose(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let mut files = vec![root.join("fuzz/README.md")];
    files.retain(|readme| readme.is_file());
    for entry in fs::read_dir(root).with_context(|| root.display().to_string())? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    for (extension, folder) in [("md", root.join("docs")), ("toml", root.join("configs"))] {
        if folder.is_dir() {
            files_with(extension, &folder, &mut files)?;
        }
    }
    files.sort();
    for file in &files {
        let text = fs::read_to_string(file)?;
        wide_prose(&file.strip_prefix(root).unwrap_or(file).display().to_string(), &text, faults);
    }
    Ok(())
}

/// Finds lines that are too wide: in a document outside tables and code, in a configuration only comments.
fn wide_prose(name: &str, text: &str, faults: &mut Vec<String>) {
    let mut code = false;
    for (i, line) in text.lines().enumerate() {
        code ^= line.trim_start().starts_with("```");
        let told = match Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            true => line.trim_start().starts_with('#'),
            false => !code && !line.starts_with('|'),
        };
        let width = line.chars().count();
        if told && width > WIDEST {
            faults.push(format!("{name}:{}: a line of {width} characters, more than {WIDEST}", i + 1));
        }
    }
}

/// A crate's manifest.
fn manifest(folder: &Path) -> anyhow::Result<toml::Table> {
    let file = folder.join("Cargo.toml");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    text.parse().with_context(|| file.display().to_string())
}

fn name(manifest: &toml::Table) -> &str {
    manifest.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str).unwrap_or_default()
}

/// Names of the crates that a manifest depends on, in any of its tables of dependencies.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = tables.iter().filter_map(|table| manifest.get(*table)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

fn folders(parent: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = vec![];
    for entry in fs::read_dir(parent).with_context(|| parent.display().to_string())? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn arrows(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let plugins: BTreeSet<String> = folders(&root.join("plugins"))?
        .iter()
        .map(|p| Ok(name(&manifest(p)?).to_string()))
        .collect::<anyhow::Result<_>>()?;
    let mut all = folders(&root.join("crates"))?;
    all.extend([root.join("tests"), root.join("xtask")]);
    for folder in all.iter().chain(&folders(&root.join("plugins"))?) {
        let manifest = manifest(folder)?;
        let this = name(&manifest);
        let allowed = match ARROWS.iter().find(|(name, _)| *name == this) {
            Some((_, allowed)) => *allowed,
            None if plugins.contains(this) => &["temper-core"][..],
            None => {
                faults.push(format!(
                    "crate `{this}` has no place in the house: add it to ARROWS in xtask/src/tidy.rs"
                ));
                continue;
            }
        };
        for other in dependencies(&manifest) {
            let ours = other.starts_with("temper-") || other == "xtask";
            let ok = allowed.contains(&other.as_str())
                || (allowed.contains(&"plugins") && plugins.contains(&other));
            if ours && !ok {
                faults.push(format!("`{this}` must not depend on `{other}`"));
            }
        }
    }
    Ok(())
}

/// Kinds that a plugin crate's name may begin with: those that `kind!` in the core's registry declares, the only
/// place that lists them.
pub fn kinds(root: &Path) -> anyhow::Result<Vec<String>> {
    let file = root.join("crates/core/src/registry.rs");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let list = text.split_once("\nkind! {\n").and_then(|(_, rest)| rest.split_once("\n}"));
    let (list, _) = list.with_context(|| format!("{}: no list `kind! {{ .. }}`", file.display()))?;
    Ok(list.lines().filter_map(|line| line.split('"').nth(1)).map(String::from).collect())
}

/// Compares the plugins on disk with those that the runner links.
fn forgotten(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let runner = root.join("crates/runner");
    let linked = dependencies(&manifest(&runner)?);
    let list = fs::read_to_string(runner.join("src/plugins.rs"))?;
    let kinds = kinds(root)?;
    for folder in folders(&root.join("plugins"))? {
        let manifest = manifest(&folder)?;
        let this = name(&manifest);
        let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if this != format!("temper-{folder}")
            || !kinds.iter().any(|kind| folder.starts_with(&format!("{kind}-")))
        {
            faults.push(format!(
                "plugins/{folder}: expected folder KIND-NAME with the package temper-KIND-NAME, got `{this}`"
            ));
        }
        if !linked.contains(this) {
            faults.push(format!("the runner's Cargo.toml does not name the plugin `{this}`"));
        }
        if !list.lines().any(|line| line == format!("use {} as _;", this.replace('-', "_"))) {
            faults.push(format!(
                "crates/runner/src/plugins.rs does not name the plugin `{this}`, so it is not linked"
            ));
        }
    }
    Ok(())
}

/// Finds tests that never run: those of a crate whose manifest states that it has none, which saves building them.
fn unrun(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let mut all = folders(&root.join("crates"))?;
    all.extend(folders(&root.join("plugins"))?);
    for folder in all {
        let manifest = manifest(&folder)?;
        let (mut files, mut text) = (vec![], String::new());
        let sources = folder.join("src");
        if sources.is_dir() {
            files_with("rs", &sources, &mut files)?;
        }
        for file in files {
            text += &fs::read_to_string(file)?;
        }
        let off = |key: &str| manifest.get("lib").and_then(|lib| lib.get(key)?.as_bool()) == Some(false);
        faults.extend(never_run(name(&manifest), [off("test"), off("doctest")], &text));
    }
    Ok(())
}

/// Reports the tests in a crate's sources that do not run, given whether its tests and its documentation tests are
/// off.
fn never_run(name: &str, [tests, examples]: [bool; 2], text: &str) -> Vec<String> {
    let marked = text.lines().any(|line| line.trim_start().starts_with("#[test]"));
    // A fence opens an example if it names no other language; the next one closes it.
    let (mut open, mut fenced) = (false, false);
    for line in text.lines().map(str::trim_start) {
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        if let Some(language) = comment.and_then(|comment| comment.trim().strip_prefix("```")) {
            open = !open;
            let rust = ["", "rust", "no_run", "should_panic", "compile_fail"].contains(&language);
            fenced |= open && rust;
        }
    }
    let fault = |key: &str, what: &str| {
        format!("`{name}` has {what}, but `{key} = false` in its Cargo.toml: remove it")
    };
    let unit = (tests && marked).then(|| fault("test", "tests"));
    let examples = (examples && fenced).then(|| fault("doctest", "examples in its documentation"));
    unit.into_iter().chain(examples).collect()
}

/// Adds all files with this extension, in a folder and its subfolders, to `files`.
fn files_with(extension: &str, folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files_with(extension, &path, files)?;
        } else if path.extension().is_some_and(|own| own == extension) {
            files.push(path);
        }
    }
    Ok(())
}

/// Finds unfinished places, comment lines that are too wide, and files with too many lines.
fn in_source(name: &str, text: &str, faults: &mut Vec<String>) {
    // The words are split, so that this file does not match itself.
    let hollow = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ig", "nore")];
    for (i, line) in text.lines().enumerate() {
        if let Some(word) = hollow.iter().find(|word| line.contains(**word)) {
            faults.push(format!("{name}:{}: `{word}`: a hollow place", i + 1));
        }
        let width = line.chars().count();
        if width > WIDEST && line.trim_start().starts_with("//") {
            faults.push(format!("{name}:{}: a comment of {width} characters, more than {WIDEST}", i + 1));
        }
    }
    let lines = text.lines().count();
    if lines > LONGEST {
        faults.push(format!("{name}: {lines} lines, more than {LONGEST}: a second subject?"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_in(text: &str) -> Vec<String> {
        let mut faults = vec![];
        in_source("a.rs", text, &mut faults);
        faults
    }

    #[test]
    fn a_comment_fits_its_line() {
        // 120 characters, of two bytes each from the fourth on.
        let fits = format!("// {}", "\u{e9}".repeat(117));
        assert_eq!(faults_in(&fits), Vec::<String>::new());
        let told = ["a.rs:2: a comment of 121 characters, more than 120"];
        assert_eq!(faults_in(&format!("\n{fits}x\n")), told);
        assert_eq!(faults_in(&format!("\n    /// {}", "x".repeat(113))), told);
        // A string literal may be wide.
        assert_eq!(faults_in(&format!("const TEXT: &str = \"{fits}\";")), Vec::<String>::new());
    }

    #[test]
    fn wide_lines_of_prose_are_found() {
        let wide = "x".repeat(121);
        let of = |name: &str, text: &str| {
            let mut faults = vec![];
            wide_prose(name, text, &mut faults);
            faults
        };
        let told =
            |name: &str, line: usize| vec![format!("{name}:{line}: a line of 121 characters, more than 120")];
        assert_eq!(of("a.md", &format!("a\n{wide}\n")), told("a.md", 2));
        assert_eq!(of("a.md", &format!("| {wide}\n```\n{wide}\n```\n{wide}")), told("a.md", 5));
        let comment = format!("# {}", "x".repeat(119));
        assert_eq!(of("a.toml", &format!("a = \"{wide}\"\n  # short\n{comment}")), told("a.toml", 3));
    }

    #[test]
    fn tests_that_never_run_are_found() {
        let text = "/// An example:\n/// ```\n/// let x = 1;\n/// ```\nfn f() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n}";
        assert_eq!(never_run("a", [false, false], text), Vec::<String>::new());
        assert_eq!(
            never_run("a", [true, true], text),
            [
                "`a` has tests, but `test = false` in its Cargo.toml: remove it",
                "`a` has examples in its documentation, but `doctest = false` in its Cargo.toml: remove it"
            ]
        );
        let other = "/// No example:\n/// ```text\n/// x\n/// ```\nfn f() {}";
        assert_eq!(never_run("a", [true, true], other), Vec::<String>::new());
    }

    #[test]
    fn hollow_places_and_long_files_are_found() {
        let word = concat!("todo", "!(");
        assert_eq!(
            faults_in(&format!("fn f() {{\n    {word})\n}}")),
            [format!("a.rs:2: `{word}`: a hollow place")]
        );
        assert_eq!(faults_in(&"\n".repeat(501)), ["a.rs: 501 lines, more than 500: a second subject?"]);
        assert_eq!(faults_in(&"\n".repeat(500)), Vec::<String>::new());
    }
}
