//! Runs that are killed, interrupted, robbed of their disk, or met by a second process.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use expect_test::expect;
use xtask::torture::{essence, torture};

use crate::support::{STRIPES, command, playground, stderr, stdout, stripes, succeed, temper};

/// The long version is `cargo xtask torture`.
#[test]
fn killed_at_twenty_random_instants_it_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_temper-under-test"));
    let outcome = torture(binary, folder.path(), 20, 7, &mut |_| {}).unwrap();
    assert_eq!(outcome.kills, 20);
    assert!(outcome.finished > 0);
}

/// A pipeline that saves after every batch.
fn saving() -> String {
    format!("checkpoint_minutes = 1e-9\n{STRIPES}")
}

/// Starts a run that saves after every batch, and waits until it has done a batch: its first checkpoint, which comes
/// before all batches, then has become the previous one.
fn started(folder: &Path, args: &[&str]) -> Child {
    let mut command = command(folder);
    let child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let patience = Instant::now();
    while !folder.join("runs/run/checkpoint.previous.safetensors").exists() {
        assert!(patience.elapsed() < Duration::from_secs(60), "no second checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[cfg(unix)]
fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[cfg(unix)]
fn stopped(folder: &Path, signal_name: &str, code: i32, by: &str) -> Output {
    let child = started(folder, &["run", "run.toml", "--set", "train.norm=linf"]);
    signal(&child, signal_name);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(&output), stderr(&output));
    let said = stderr(&output);
    assert!(said.contains(&format!("stopped by {by} after ")), "{said}");
    assert!(said.contains("; all of it is kept\n"), "{said}");
    let again = "  continue with: temper run run.toml --set train.norm=linf --resume\n";
    assert!(said.ends_with(again), "{said}");
    output
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_sigterm_keep_all_that_is_done() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    stripes(&folder.join("data"), 3000, 80);
    succeed(folder, &["run", "run.toml", "--out", "whole"]);
    // The default interval is minutes: what is kept in the middle of an epoch, the signal itself made be written.
    fs::write(folder.join("run.toml"), STRIPES).unwrap();
    // In the middle of an epoch, as near as a clock gets.
    let kept_a_part = |milliseconds: u64| {
        let _ = fs::remove_dir_all(folder.join("runs"));
        let mut command = command(folder);
        let child =
            command.args(["run", "run.toml"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !folder.join("runs/run/metrics.jsonl").exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        signal(&child, "-INT");
        let output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        let part = said.contains("stopped by Ctrl-C after batch ");
        assert!(!part || output.status.code() == Some(130), "{said}");
        part
    };
    assert!(
        [100, 50, 20, 5, 1, 0, 0, 0].into_iter().any(kept_a_part),
        "no signal met the middle of an epoch"
    );
    let resumed = succeed(folder, &["run", "run.toml", "--resume"]);
    assert!(resumed.contains("resume  after batch "), "{resumed}");
    assert_eq!(essence(&folder.join("whole")).unwrap(), essence(&folder.join("runs/run")).unwrap());

    fs::remove_dir_all(folder.join("runs")).unwrap();
    fs::write(folder.join("run.toml"), saving()).unwrap();
    stopped(folder, "-TERM", 143, "SIGTERM");
    succeed(folder, &["run", "run.toml", "--resume"]);
    let (mut whole, mut cut) =
        (essence(&folder.join("whole")).unwrap(), essence(&folder.join("runs/run")).unwrap());
    // Only how often it saves is another.
    assert_ne!(whole.remove("config.toml"), cut.remove("config.toml"));
    assert_eq!(whole, cut);
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_at_once_and_one_during_evaluation_says_so() {
    let folder = playground(&saving());
    let folder = folder.path();
    // One batch of eight images under 100,000 steps lasts minutes.
    let evaluating = |steps: &str| {
        let _ = fs::remove_dir_all(folder.join("runs"));
        let pipeline = saving().replace("epochs = 3", "epochs = 1").replace("steps = 5", steps);
        fs::write(folder.join("run.toml"), pipeline).unwrap();
        let child = started(folder, &["run", "run.toml", "--set", "train.batch=8"]);
        while !folder.join("runs/run/model.safetensors").exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, "-INT");
        child
    };
    let mut child = evaluating("steps = 100000");
    std::thread::sleep(Duration::from_millis(50));
    let asked = Instant::now();
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(2), "a second Ctrl-C was ignored");

    let output = evaluating("steps = 400").wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("stopped by Ctrl-C in the evaluation `"), "{said}");
    assert!(said.contains(
        "; training and what is judged are kept\n  continue with: temper run run.toml --set train.batch=8 --resume\n"
    ));
    assert!(!folder.join("runs/run/results.json").exists());
}

#[test]
fn a_second_process_on_one_folder_is_refused() {
    let folder = playground(&saving());
    let folder = folder.path();
    stripes(&folder.join("data"), 3000, 80);
    let mut child = started(folder, &["run", "run.toml"]);
    for mode in ["--resume", "--force"] {
        let output = temper(folder, &["run", "run.toml", mode]);
        assert_eq!(output.status.code(), Some(1));
        let holder = child.id();
        let expected = format!(
            "error: another temper is writing into runs/run (process {holder})\n  wait for it, or choose another place \
             with --out DIR\n"
        );
        assert_eq!(stderr(&output), expected);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock went with the process.
    succeed(folder, &["run", "run.toml", "--resume"]);
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let folder = playground(&saving());
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "whole"]);
    let whole = essence(&folder.join("whole")).unwrap();
    let mut child = started(folder, &["run", "run.toml"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let newest = folder.join("runs/run/checkpoint.safetensors");
    let mut bytes =
        fs::read(&newest).unwrap_or_else(|_| fs::read(folder.join("whole/checkpoint.safetensors")).unwrap());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let said = succeed(folder, &["run", "run.toml", "--resume"]);
    assert!(
        said.starts_with(
            "note    runs/run/checkpoint.safetensors: damaged checkpoint: its hash is not that of its contents; \
             it is kept as runs/run/checkpoint.damaged.safetensors\n        the checkpoint before it is whole and \
             serves instead\nresume  "
        ),
        "{said}"
    );
    assert_eq!(whole, essence(&folder.join("runs/run")).unwrap());

    // With both gone there is nothing to resume, and what is there stays.
    for name in ["checkpoint", "checkpoint.previous"] {
        fs::write(folder.join(format!("runs/run/{name}.safetensors")), "no").unwrap();
    }
    let output = temper(folder, &["run", "run.toml", "--resume"]);
    assert_eq!(output.status.code(), Some(1));
    expect![[r"
        error: runs/run/checkpoint.safetensors: damaged checkpoint: 2 bytes in all
          and the one before it: runs/run/checkpoint.previous.safetensors: damaged checkpoint: 2 bytes in all
          start anew with --force or --out DIR
    "]]
    .assert_eq(&stderr(&output));
}

#[cfg(unix)]
#[test]
fn a_full_disk_stops_the_run_and_keeps_what_was_saved() {
    let folder = playground(&saving());
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "whole"]);
    // Writing to /dev/full fails as on a full disk.
    fs::create_dir_all(folder.join("runs/run/epsilon")).unwrap();
    let full = folder.join("runs/run/epsilon/epoch-0002.safetensors.part");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let output = temper(folder, &["run", "run.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).ends_with(
            "error: cannot write runs/run/epsilon/epoch-0002.safetensors: No space left on device (os error 28)\n"
        ),
        "{}",
        stderr(&output)
    );
    // The half-written file is gone, so the disk has room again.
    assert!(!full.exists());
    succeed(folder, &["run", "run.toml", "--resume"]);
    assert_eq!(essence(&folder.join("whole")).unwrap(), essence(&folder.join("runs/run")).unwrap());
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_refused_before_any_work() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = playground(STRIPES);
    let folder = folder.path();
    let modes = |mode| {
        for path in
            [folder.to_path_buf(), folder.join("data"), folder.join("binary"), folder.join("run.toml")]
        {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        for file in fs::read_dir(folder.join("data")).unwrap() {
            fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o444)).unwrap();
        }
    };
    fs::copy(env!("CARGO_BIN_EXE_temper-under-test"), folder.join("binary")).unwrap();
    modes(0o555);
    let run = |args: &[&str]| {
        let mut command = Command::new(folder.join("binary"));
        command.current_dir(folder).args(["run", "run.toml"]).args(args);
        // Permissions do not bind root: drop to nobody.
        if fs::write(folder.join("probe"), "").is_ok() {
            fs::remove_file(folder.join("probe")).unwrap();
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
        assert_eq!(stdout(&output), "");
        stderr(&output)
    };
    assert_eq!(run(&[]), "error: cannot create runs/run: Permission denied (os error 13)\n");
    modes(0o755);
    fs::create_dir_all(folder.join("runs/run")).unwrap();
    fs::set_permissions(folder.join("runs/run"), fs::Permissions::from_mode(0o555)).unwrap();
    modes(0o555);
    assert_eq!(run(&[]), "error: cannot write into runs/run: Permission denied (os error 13)\n");
    modes(0o755);
    fs::set_permissions(folder.join("runs/run"), fs::Permissions::from_mode(0o755)).unwrap();
}
