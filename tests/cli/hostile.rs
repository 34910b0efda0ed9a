//! Files that no run, no publisher and no person writes: huge ones that take no disk, bombs, devices. Each ends soon,
//! in one error.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

#[allow(dead_code, unreachable_pub)]
#[path = "../../fuzz/src/kept.rs"]
mod kept;

use temper_runner::Pipeline;

use crate::support::{STRIPES, playground, stderr, stdout, temper};

/// What a command says that must fail with this code, before it could have read a huge file.
fn said(folder: &Path, args: &[&str], code: i32) -> String {
    let start = Instant::now();
    let output = temper(folder, args);
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(&output), stderr(&output));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    stderr(&output)
}

/// Makes a file that begins so and goes on with zeros, 20 GiB in all.
fn hole(file: &Path, start: &[u8]) {
    fs::write(file, start).unwrap();
    File::options().write(true).open(file).unwrap().set_len(20 << 30).unwrap();
}

#[test]
fn a_pipeline_without_an_end() {
    let folder = playground(STRIPES);
    let end = "bytes, but a pipeline may have 2097152 (2 MiB) at most; name the file that was meant, or a shorter one\n";
    hole(&folder.path().join("hole.toml"), b"seed = 1\n");
    let told = format!("error: hole.toml: more than 2097152 {end}");
    assert_eq!(said(folder.path(), &["check", "hole.toml"], 2), told);
    #[cfg(unix)]
    for command in ["check", "run"] {
        let told = format!("error: /dev/zero: more than 2097152 {end}");
        assert_eq!(said(folder.path(), &[command, "/dev/zero"], 2), told);
    }
    fs::write(folder.path().join("slips.toml"), "=\n".repeat(32_000)).unwrap();
    let told = said(folder.path(), &["check", "slips.toml"], 2);
    assert!(told.starts_with("error: slips.toml:1:1: ") && told.len() < 300, "{told}");
}

#[test]
fn images_that_unpack_to_more_than_their_header_says() {
    let folder = playground(STRIPES);
    let data = folder.path().join("data");
    let mut bomb = GzEncoder::new(vec![], Compression::fast());
    bomb.write_all(&[0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 12, 0, 0, 0, 12]).unwrap();
    for _ in 0..64 {
        bomb.write_all(&vec![0; 1 << 20]).unwrap();
    }
    fs::remove_file(data.join("train-images-idx3-ubyte")).unwrap();
    fs::write(data.join("train-images-idx3-ubyte.gz"), bomb.finish().unwrap()).unwrap();
    fs::write(data.join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 2, 3]).unwrap();
    let told = "error: dataset `fashion-mnist`: data/train-images-idx3-ubyte.gz: the header promises 4 x 12 x 12 values, \
                so 592 bytes, but the file goes on (at byte 592)\n";
    assert_eq!(said(folder.path(), &["check", "run.toml"], 1), told);
}

#[test]
fn what_a_run_did_not_leave() {
    let folder = playground(STRIPES);
    let run = folder.path().join("runs/run");
    fs::create_dir_all(run.join("epsilon")).unwrap();
    let told = |args: &[&str]| said(folder.path(), args, 1);
    hole(&run.join("records.jsonl"), b"");
    let line = "error: runs/run/records.jsonl:1: a line of more than 33554432 bytes";
    assert!(told(&["show", "runs/run", "--sample", "1"]).starts_with(line));
    hole(&run.join("config.toml"), b"# a run of temper\n");
    for start in [&b""[..], &u64::MAX.to_le_bytes(), b"\x02\0\0\0\0\0\0\0{}"] {
        hole(&run.join("model.safetensors"), start);
        let attack = told(&["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1"]);
        let what = attack.strip_prefix("error: runs/run/model.safetensors: ").unwrap_or_default();
        let named = ["neither safetensors nor a file of torch.save: its ", "damaged safetensors: its "];
        assert!(named.iter().any(|named| what.starts_with(named)), "{attack}");
        hole(&run.join("checkpoint.safetensors"), start);
        let resume = told(&["run", "run.toml", "--resume"]);
        let damaged = "error: runs/run/checkpoint.safetensors: damaged checkpoint: its ";
        assert!(resume.starts_with(damaged), "{resume}");
    }
}

/// Each takes another way through the reader. `fuzz/README.md` says where they come from.
#[test]
fn pipelines_that_fuzzing_kept_are_an_error_or_are_read_again_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/kept/toml"), |input| {
        fs::write(&file, input).unwrap();
        let Ok(pipeline) = Pipeline::load(&file, &[]) else { return };
        fs::write(&file, toml::to_string(&pipeline).unwrap()).unwrap();
        Pipeline::load(&file, &[]).unwrap();
    });
}
