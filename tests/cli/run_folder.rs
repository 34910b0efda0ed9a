//! The folder of a run: what is refused, what is kept, what is replaced.

use std::fs;
use std::path::Path;

use expect_test::expect;

use crate::support::{STRIPES, fails, playground, succeed, temper};

/// Everything below a folder, with contents.
fn contents(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut all = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            all.push((path, bytes));
        }
    }
    all.sort();
    all
}

#[test]
fn run_folders_are_not_overwritten() {
    let folder = playground(&STRIPES.replace("epochs = 3", "epochs = 1"));
    succeed(folder.path(), &["run", "run.toml"]);
    let runs = folder.path().join("runs");
    let before = contents(&runs);
    fails(
        folder.path(),
        &["run", "run.toml"],
        &expect![[r"
            error: runs/run already holds a run
              continue it with --resume, replace it with --force, or choose another place with --out DIR
        "]],
    );
    fails(
        folder.path(),
        &["run", "run.toml", "--resume", "--set", "train.epochs=2", "--set", "seed=5"],
        &expect![[r"
            error: runs/run/checkpoint.safetensors belongs to another configuration
              seed: was 1, is now 5
              undo the change, or start anew with --force or --out DIR
        "]],
    );
    // Not even --force touches a folder that holds something else.
    fails(
        folder.path(),
        &["run", "run.toml", "--force", "--out", "data"],
        &expect![[r"
            error: data is not empty and holds no run of temper; choose another place with --out DIR
        "]],
    );
    fails(
        folder.path(),
        &["run", "run.toml", "--resume", "--out", "elsewhere"],
        &expect![[r"
            error: elsewhere holds no run to resume
        "]],
    );
    // An error before the first epoch leaves the old run as it was, even with --force.
    fs::rename(folder.path().join("data"), folder.path().join("gone")).unwrap();
    assert_eq!(temper(folder.path(), &["run", "run.toml", "--force"]).status.code(), Some(1));
    fs::rename(folder.path().join("gone"), folder.path().join("data")).unwrap();
    assert!(before == contents(&runs), "a refused command changed the run");

    // A configuration that is not a run's is nobody's to overwrite; a run whose checkpoint is gone does not start over.
    fs::create_dir(folder.path().join("site")).unwrap();
    fs::write(folder.path().join("site/config.toml"), "title = \"mine\"").unwrap();
    for mode in ["--resume", "--force"] {
        assert_eq!(temper(folder.path(), &["run", "run.toml", mode, "--out", "site"]).status.code(), Some(1));
    }
    assert_eq!(fs::read_to_string(folder.path().join("site/config.toml")).unwrap(), "title = \"mine\"");
    let checkpoints = ["checkpoint.safetensors", "checkpoint.previous.safetensors"];
    let kept = folder.path().join("kept");
    fs::create_dir(&kept).unwrap();
    for name in checkpoints {
        fs::rename(runs.join("run").join(name), kept.join(name)).unwrap();
    }
    fails(
        folder.path(),
        &["run", "run.toml", "--resume"],
        &expect![[r"
            error: runs/run has no checkpoint.safetensors to resume from, though metrics.jsonl is there
              start anew with --force or --out DIR
        "]],
    );
    for name in checkpoints {
        fs::rename(kept.join(name), runs.join("run").join(name)).unwrap();
    }
    assert!(before == contents(&runs), "a refused command changed the run");

    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(runs.join("run/notes.txt"), "mine").unwrap();
    succeed(folder.path(), &["run", "run.toml", "--out", "empty"]);
    succeed(folder.path(), &["run", "run.toml", "--force"]);
    assert_eq!(fs::read_to_string(runs.join("run/notes.txt")).unwrap(), "mine");
}
