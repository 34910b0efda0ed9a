//! `temper run --tensorboard`.

use std::fs;
use std::path::Path;

use crate::support::{STRIPES, playground, stdout, succeed, temper};

/// The bytes of the only event file of a run.
fn events(run: &Path) -> Vec<u8> {
    let files: Vec<_> =
        fs::read_dir(run.join("tensorboard")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].to_str().unwrap().ends_with(".temper"), "{files:?}");
    fs::read(&files[0]).unwrap()
}

/// How often a tag is in the records: a field of its length and its text.
fn times(events: &[u8], tag: &str) -> usize {
    let field = [&[10, tag.len() as u8][..], tag.as_bytes()].concat();
    events.windows(field.len()).filter(|window| *window == field).count()
}

#[test]
fn each_epoch_is_in_the_event_file_once_also_after_the_run_was_resumed() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    let run = folder.join("runs/run");
    succeed(folder, &["run", "run.toml", "--tensorboard"]);
    let whole = events(&run);
    for (tag, n) in [
        ("loss/train", 3),
        ("accuracy/train", 3),
        ("radii/p50", 3),
        ("radii", 3),
        ("evaluation/natural/last weights", 1),
        ("evaluation/pgd/last weights", 1),
        ("images/smallest radii", 1),
        ("images/largest radii", 1),
    ] {
        assert_eq!(times(&whole, tag), n, "{tag}");
    }
    // Resumed, the file is written anew with the same steps.
    succeed(folder, &["run", "run.toml", "--tensorboard", "--resume"]);
    let resumed = events(&run);
    succeed(folder, &["run", "run.toml", "--resume", "--set", "train.epochs=4"]);
    let longer = events(&run);
    assert_eq!(times(&longer, "loss/train"), 4, "a run that had event files keeps writing them");
    for tag in ["loss/train", "radii", "evaluation/pgd/last weights"] {
        assert_eq!(times(&resumed, tag), times(&whole, tag), "{tag}");
    }
    // A run that replaces it without the option leaves none of the old events.
    succeed(folder, &["run", "run.toml", "--force"]);
    assert!(!run.join("tensorboard").exists());
}

#[test]
fn an_event_file_that_cannot_be_written_does_not_end_the_run() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    fs::create_dir_all(folder.join("runs/run")).unwrap();
    let output = temper(folder, &["run", "run.toml", "--tensorboard"]);
    assert!(output.status.success());
    fs::remove_dir_all(folder.join("runs/run/tensorboard")).unwrap();
    fs::write(folder.join("runs/run/tensorboard"), "a file").unwrap();
    let output = temper(folder, &["run", "run.toml", "--tensorboard", "--resume"]);
    assert!(output.status.success());
    assert!(
        stdout(&output).contains("note    TensorBoard shows no more of this run: "),
        "{}",
        stdout(&output)
    );
}
