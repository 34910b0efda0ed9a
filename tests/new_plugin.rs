//! `cargo xtask new-plugin` on a copy of the workspace: what it writes builds, is linked, and passes conformance.

use std::fs;
use std::path::Path;
use std::process::Command;

use xtask::new_plugin::{Kind, create};

use crate::support::root;

/// Copies the sources of the workspace, not what builds and runs left there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if ["target", "runs", ".git"].iter().any(|skip| name == *skip) {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Links what is built of foreign crates into another target folder: they need not be built again.
fn link(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            link(&path, &target);
        } else if fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_new_attack_builds_and_keeps_the_rules() {
    // Beside the target folder's own temporary things: on one file system, so that links work.
    let space = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = tempfile::tempdir_in(space).unwrap();
    let (copied, target) = (folder.path().join("temper"), folder.path().join("target"));
    copy(&root(), &copied);
    let built = space.parent().unwrap().join("debug");
    for part in [".fingerprint", "build", "deps"] {
        link(&built.join(part), &target.join("debug").join(part));
    }

    let said = create(&copied, Kind::Attack, "shrinking-ascent").unwrap();
    assert_eq!(said.len(), 5);
    assert_eq!(xtask::tidy::faults(&copied).unwrap(), Vec::<String>::new());
    let again = create(&copied, Kind::Attack, "shrinking-ascent").unwrap_err().to_string();
    assert!(again.ends_with("plugins/attack-shrinking-ascent exists already"), "{again}");
    let plugin = fs::read_to_string(copied.join("plugins/attack-shrinking-ascent/src/lib.rs")).unwrap();
    assert!(
        plugin.contains("plugin! { Attack \"shrinking-ascent\";\n")
            && plugin.contains("pub struct ShrinkingAscent {")
    );

    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(&copied)
        .env("CARGO_TARGET_DIR", &target)
        .args(["test", "--offline", "--package", "temper-tests", "conformance"])
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("10 passed"), "{said}");

    // A plugin that the runner forgets is found.
    let list = copied.join("crates/runner/src/plugins.rs");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace("use temper_attack_shrinking_ascent as _;\n", "")).unwrap();
    let faults = xtask::tidy::faults(&copied).unwrap();
    assert!(
        faults.len() == 1 && faults[0].contains("does not name the plugin `temper-attack-shrinking-ascent`"),
        "{faults:?}"
    );
}
