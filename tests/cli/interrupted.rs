//! `temper attack` and `temper transfer` that are interrupted or killed, and go on where they stopped.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use expect_test::expect;
use serde_json::Value;

use crate::support::{STRIPES, command, fails, json, playground, stderr, succeed};

/// An attack that takes about a second for these images.
const LONG: &str = "pgd = { steps = 200, step = 0.001, success = \"final\" }";
const ATTACK: [&str; 11] =
    ["attack", "runs/run", "--attack", LONG, "--eps", "0.03", "--samples", "40", "--batch", "3", "--save"];

/// A folder with a trained network in `runs/run` that computes the same bits in batches of every size.
fn trained() -> tempfile::TempDir {
    let pipeline = STRIPES.replace("epochs = 3", "epochs = 2");
    let folder = playground(&format!("numerics = \"exact\"\n{pipeline}"));
    succeed(folder.path(), &["run", "run.toml"]);
    folder
}

fn start(folder: &Path, args: &[&str]) -> Child {
    command(folder).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a command has written this many entries into a folder, or ended.
fn wait_for(child: &mut Child, folder: &Path, entries: usize) {
    let patience = Instant::now();
    let there = || fs::read_dir(folder).map_or(0, Iterator::count);
    while there() < entries && child.try_wait().unwrap().is_none() {
        assert!(patience.elapsed() < Duration::from_secs(60), "it does not get on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Results without times, and without the place where they were written.
fn essence(file: &Path) -> Value {
    fn timeless(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove("seconds");
                map.remove("arguments");
                map.values_mut().for_each(timeless);
            }
            Value::Array(all) => all.iter_mut().for_each(timeless),
            _ => {}
        }
    }
    let mut results = json(file);
    timeless(&mut results);
    results
}

#[cfg(unix)]
#[test]
fn an_attack_goes_on_after_ctrl_c_with_the_same_images() {
    let folder = trained();
    let folder = folder.path();
    succeed(folder, &[&ATTACK[..], &["whole"]].concat());
    let out = [&ATTACK[..], &["out"]].concat();
    let mut child = start(folder, &out);
    let images = folder.join("out/unfinished/images");
    wait_for(&mut child, &images, 3);
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("stopped by Ctrl-C in `pgd`; all judged images are kept\n  continue with: "),
        "{said}"
    );
    assert!(said.ends_with("--save out --resume\n"), "{said}");
    let parts = fs::read_dir(&images).unwrap().count();
    assert!((3..14).contains(&parts), "{parts} of 14 batches");

    fails(
        folder,
        &out,
        &expect![[r"
            error: out belongs to a command that was interrupted
              continue it with --resume, replace it with --force, or choose another place with --save
        "]],
    );
    let resume = [&out[..], &["--resume"]].concat();
    let records = fs::read(folder.join("out/unfinished/records.jsonl")).unwrap();
    fails(
        folder,
        &[&resume[..], &["--seed", "7"]].concat(),
        &expect![[r"
            error: the interrupted command had another `seed`; all its options are in out/unfinished/options.toml
              give the same options, start anew with --force, or choose another place with --save
        "]],
    );
    assert_eq!(fs::read(folder.join("out/unfinished/records.jsonl")).unwrap(), records);
    // Images without their records, and records without their images, are made again.
    let first = fs::read_dir(&images).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(first).unwrap();
    // The size of batches may change.
    let larger: Vec<&str> = resume.iter().map(|word| if *word == "3" { "4" } else { *word }).collect();
    succeed(folder, &larger);
    let all = |name: &str| essence(&folder.join(name).join("results.json"));
    let (whole, resumed) = (all("whole"), all("out"));
    assert_eq!(whole["evaluations"][1]["n"], 40);
    assert_eq!(whole["evaluations"], resumed["evaluations"]);
    assert_eq!(whole["saved"], resumed["saved"]);
    assert!(!folder.join("out/unfinished").exists());
    // A complete attack has nothing to resume.
    fails(
        folder,
        &[&out[..], &["--resume"]].concat(),
        &expect![[r"
            error: out: nothing was interrupted that could be resumed
        "]],
    );
}

#[test]
fn an_attack_killed_at_many_instants_ends_with_the_same_files() {
    let folder = trained();
    let folder = folder.path();
    succeed(folder, &[&ATTACK[..], &["whole"]].concat());
    let out = [&ATTACK[..], &["out"]].concat();
    let (mut kills, mut resume) = (0, false);
    for entries in 1.. {
        let marked = folder.join("out/unfinished/options.toml").exists();
        resume = resume || marked;
        let args = if resume { [&out[..], &["--resume"]].concat() } else { out.clone() };
        let mut child = start(folder, &args);
        wait_for(&mut child, &folder.join("out/unfinished/images"), entries * 2);
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), None, "{}", stderr(&output));
        kills += 1;
    }
    assert!(kills >= 5, "{kills} kills");
    let read = |name: &str| fs::read(folder.join(name).join("images.safetensors")).unwrap();
    assert!(read("whole") == read("out"), "other images");
    let pictures = |name: &str| {
        let all = fs::read_dir(folder.join(name).join("png")).unwrap();
        all.map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    assert!(pictures("whole") == pictures("out"), "other pictures");
    assert!(!folder.join("out/unfinished").exists());
    let results = |name: &str| essence(&folder.join(name).join("results.json"));
    assert_eq!(results("whole"), results("out"));
}

#[cfg(unix)]
#[test]
fn a_matrix_goes_on_after_it_was_killed() {
    let folder = trained();
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "runs/other", "--set", "seed=5"]);
    let transfer = [
        "transfer",
        "runs/run",
        "runs/other",
        "--attack",
        LONG,
        "--eps",
        "0.03",
        "--samples",
        "20",
        "--batch",
        "2",
        "--save",
    ];
    succeed(folder, &[&transfer[..], &["whole.json"]].concat());
    let out = [&transfer[..], &["out.json"]].concat();
    let mut child = start(folder, &out);
    let records = folder.join("out.json.unfinished/records.jsonl");
    let patience = Instant::now();
    // 20 lines are of unperturbed images.
    while fs::read_to_string(&records).map_or(0, |text| text.lines().count()) < 24
        && child.try_wait().unwrap().is_none()
    {
        assert!(patience.elapsed() < Duration::from_secs(60), "it does not get on");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it ended before it was killed");
    fails(
        folder,
        &out,
        &expect![[r"
            error: out.json belongs to a command that was interrupted
              continue it with --resume, replace it with --force, or choose another place with --save
        "]],
    );
    succeed(folder, &[&out[..], &["--resume"]].concat());
    assert_eq!(essence(&folder.join("whole.json")), essence(&folder.join("out.json")));
    assert!(!folder.join("out.json.unfinished").exists());
}

/// `--force` replaces an attack only once the new one is complete.
#[test]
fn an_attack_that_is_replaced_stays_until_the_new_one_is_complete() {
    let folder = trained();
    let folder = folder.path();
    succeed(
        folder,
        &["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1", "--samples", "10", "--save", "out"],
    );
    let files = ["attack.toml", "results.json", "records.jsonl", "images.safetensors"];
    let read = || files.map(|name| fs::read(folder.join("out").join(name)).unwrap());
    let before = read();
    let out = [&ATTACK[..], &["out", "--force"]].concat();
    let mut child = start(folder, &out);
    wait_for(&mut child, &folder.join("out/unfinished/images"), 3);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it ended before it was killed");
    assert!(before == read(), "the attack that was to be replaced is another one");
    succeed(folder, &[&ATTACK[..], &["out", "--resume"]].concat());
    assert_eq!(json(&folder.join("out/results.json"))["saved"]["n"], 40);
    assert_eq!(fs::read_dir(folder.join("out/png")).unwrap().count(), 80);
    assert!(!folder.join("out/unfinished").exists());
}
