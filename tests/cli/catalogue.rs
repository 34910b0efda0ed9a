//! `temper list`, `temper describe`, `temper check` and `--help`, as snapshots. `UPDATE_EXPECT=1` rewrites them.

use expect_test::{expect, expect_file};
use temper_core::summaries;

use crate::support::{root, stderr, succeed, temper};

#[test]
fn list() {
    let text = succeed(&root(), &["list"]);
    assert!(text.lines().all(|line| line.len() <= 80), "wider than a terminal:\n{text}");
    expect_file!["golden/list.txt"].assert_eq(&text);
    let attacks = succeed(&root(), &["list", "attack"]);
    assert!(attacks.lines().all(|line| line.starts_with("attack ")));
    let unknown = temper(&root(), &["list", "atack"]);
    assert_eq!(unknown.status.code(), Some(2));
    expect![[r#"
        error: unknown kind `atack` of plugin; known: `dataset`, `model`, `attack`, `loss`, `epsilon`, `suite`
    "#]]
    .assert_eq(&stderr(&unknown));
}

#[test]
fn describe() {
    // The templates of `new-plugin` are plugins of these tests alone.
    for plugin in summaries().into_iter().filter(|plugin| plugin.package != env!("CARGO_PKG_NAME")) {
        let text = succeed(&root(), &["describe", plugin.kind, plugin.name]);
        assert!(text.lines().all(|line| line.len() <= 80), "wider than a terminal:\n{text}");
        expect_file![format!("golden/describe-{}-{}.txt", plugin.kind, plugin.name)].assert_eq(&text);
    }
    let unknown = temper(&root(), &["describe", "epsilon", "fxed"]);
    assert_eq!(unknown.status.code(), Some(2));
    expect![[r"
        error: unknown epsilon `fxed`; known: `fixed`, `instance-adaptive`, `line-search`
    "]]
    .assert_eq(&stderr(&unknown));
}

#[test]
fn help() {
    for command in ["", "run", "check", "list", "describe"] {
        let args = [command, "--help"];
        let text = succeed(&root(), if command.is_empty() { &args[1..] } else { &args });
        assert!(text.contains("Usage: temper"), "{text}");
    }
    let wrong = temper(&root(), &["run"]);
    assert_eq!(wrong.status.code(), Some(2));
}

/// Every configuration in the repository is sound; what pipelines are only composed of, `reproduce` tries.
#[test]
fn configs_pass_check() {
    let mut configs = vec![root().join("configs")];
    let parts = ["recipes", "tables"].map(|name| root().join("configs").join(name));
    let mut checked = 0;
    while let Some(folder) = configs.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !parts.contains(&path) {
                    configs.push(path);
                }
            } else {
                assert_eq!(path.extension().and_then(|e| e.to_str()), Some("toml"), "{}", path.display());
                let said = succeed(&root(), &["check", path.to_str().unwrap()]);
                assert!(said.contains("a sound pipeline"), "{said}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 3, "only {checked} configurations");
}
