//! Output that nobody reads, or that cannot be written, is no failure of a run; a signal is answered at once.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xtask::torture::essence;

use crate::cli::attack_command::trained;
use crate::support::{STRIPES, command, playground, stderr, stdout, stripes, succeed};

/// Sends a signal to a process.
fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader is gone.
fn gone() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_ends_as_if_nobody_had_watched() {
    let folder = playground(STRIPES);
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "watched"]);
    for (out, stdout, stderr) in
        [("full", full as fn() -> Stdio, full as fn() -> Stdio), ("gone", gone, gone)]
    {
        let mut run = command(folder);
        let status =
            run.args(["run", "run.toml", "--out", out]).stdout(stdout()).stderr(stderr()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{out}");
        let (a, b) = (essence(&folder.join("watched")).unwrap(), essence(&folder.join(out)).unwrap());
        assert!(a == b, "{out} is another run");
    }
    let attack = ["attack", "watched", "--attack", "fgsm", "--eps", "0.1", "--save", "saved"];
    let status = command(folder).args(attack).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(folder.join("saved/results.json").exists());
    // An error is an error, told or not.
    let status = command(folder).args(["run", "run.toml"]).args(["--out", "data"]).stderr(gone()).status();
    assert_eq!(status.unwrap().code(), Some(1));
    // What was asked for and cannot be given is one, too; a reader that has enough is none.
    let list = |stdout: Stdio| command(folder).arg("list").stdout(stdout).stderr(Stdio::piped()).output();
    let output = list(full()).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: cannot write to standard output: "), "{}", stderr(&output));
    assert_eq!(list(gone()).unwrap().status.code(), Some(0));
}

/// A run that is in the middle of training.
fn training(folder: &Path, through: &[&str]) -> Child {
    let binary = env!("CARGO_BIN_EXE_temper-under-test");
    let mut words = [through, &[binary, "run", "run.toml"]].concat().into_iter();
    let mut run = Command::new(words.next().unwrap());
    run.args(words).current_dir(folder).env_remove("TEMPER_DATA");
    let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let patience = Instant::now();
    while !folder.join("runs/run/checkpoint.previous.safetensors").exists() {
        assert!(patience.elapsed() < Duration::from_secs(60), "no second checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[cfg(unix)]
#[test]
fn the_end_of_a_terminal_is_as_a_termination_unless_nohup_says_otherwise() {
    let folder = playground(&format!("checkpoint_minutes = 1e-9\n{STRIPES}"));
    let folder = folder.path();
    stripes(&folder.join("data"), 2000, 80);
    succeed(folder, &["run", "run.toml", "--out", "whole"]);
    // A terminal that closes has both its shell and the system say so.
    let child = training(folder, &[]);
    signal(&child, "-HUP");
    signal(&child, "-HUP");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(129), "{}", stderr(&output));
    assert!(stderr(&output).contains("stopped by SIGHUP after "), "{}", stderr(&output));
    succeed(folder, &["run", "run.toml", "--resume"]);
    let same = || essence(&folder.join("whole")).unwrap() == essence(&folder.join("runs/run")).unwrap();
    assert!(same(), "the resumed run has other bits");

    fs::remove_dir_all(folder.join("runs")).unwrap();
    let child = training(folder, &["nohup"]);
    signal(&child, "-HUP");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(same(), "a run under nohup has other bits");
}

#[cfg(unix)]
#[test]
fn the_first_signal_is_answered_within_a_second_whatever_a_batch_takes() {
    let folder = trained();
    let long = "pgd = { steps = 1000000000, success = \"final\", step = 0.0001 }";
    let mut child = command(folder.path())
        .args(["attack", "runs/run", "--attack", long, "--eps", "0.1", "--save", "out"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    // Before the attack stands what it takes.
    let mut estimate = String::new();
    while !estimate.contains("take less") {
        assert!(said.read_line(&mut estimate).unwrap() > 0, "it ended: {estimate}");
    }
    signal(&child, "-TERM");
    let mut answer = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut answer).unwrap();
    assert_eq!(answer, "SIGTERM: finishing this batch (an evaluation, for 5 s at most); again to stop now\n");
    assert!(child.try_wait().unwrap().is_none(), "the batch of a billion steps has ended");
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}
