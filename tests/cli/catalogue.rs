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
    expect![[r"
        error: unknown kind `atack` of plugin; known: `dataset`, `model`, `attack`, `loss`, `epsilon`, `suite`
    "]]
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

/// Every configuration in the repository is sound: pipelines, recipes, tables, and all that these compose.
#[test]
fn configs_pass_check() {
    let mut folders = vec![root().join("configs")];
    let mut files = vec![];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(path.extension().and_then(|e| e.to_str()), Some("toml"), "{}", path.display());
                files.push(path.to_str().unwrap().to_string());
            }
        }
    }
    let args: Vec<&str> = std::iter::once("check").chain(files.iter().map(String::as_str)).collect();
    let said = succeed(&root(), &args);
    let counted = [": a sound pipeline", ": a sound table", ": a sound recipe"].map(|what| {
        let n = said.matches(what).count();
        assert!(n >= 3, "{n} times{what}: {said}");
        n
    });
    assert_eq!(counted.iter().sum::<usize>(), files.len(), "{said}");
    let composed = said.lines().filter_map(|line| line.split_once("pipelines composed of it: "));
    let composed = composed.map(|(_, rest)| rest.split(',').next().unwrap().parse::<usize>().unwrap());
    assert!(composed.sum::<usize>() > 600, "{said}");
}

#[test]
fn shells_complete_every_command_and_every_command_has_a_page() {
    let help = succeed(&root(), &["--help"]);
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Further lines of a description are indented more.
    let commands = commands.filter(|line| line.len() - line.trim_start().len() == 2);
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"run") && commands.contains(&"transfer"), "{help}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeed(&root(), &["completions", shell]);
        for command in &commands {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &["man", "--out", "man/man1"]);
    for command in commands.iter().filter(|command| **command != "help") {
        let page =
            std::fs::read_to_string(folder.path().join(format!("man/man1/temper-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains("temper"), "{page}");
    }
    assert!(succeed(&root(), &["man"]).contains(".SH SUBCOMMANDS"));
}
