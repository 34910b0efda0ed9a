//! `cargo xtask torture`: kills a run at random instants, continues it, and compares its output with that of an
//! uninterrupted run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// A run of a second or two with a checkpoint after every step, in which every kind of state changes: batch norm,
/// momentum, averaged weights, the learning rate, radii, augmentation, the best weights.
const PIPELINE: &str = r#"seed = 1
checkpoint_minutes = 1e-9
dataset.fashion-mnist = { images = "embedded" }
subset = { train = 512, test = 100 }
model.convnet = { channels = [4, 8], hidden = 16, batch_norm = true }

[train]
epochs = 3
batch = 32
accumulate = 2
ema = { decay = 0.9 }
schedule = { warmup = 1, cosine = {} }
augment = { pad = 2 }
attack.pgd = { steps = 2, step = 0.05 }
epsilon.instance-adaptive = { start = 0.1, warmup = 1, gamma = 0.05, beta = 0.4 }
optimizer = { lr = 0.05 }

[select]
samples = 64
weights = "both"
radius = 0.1
attack.pgd = { steps = 2, step = 0.05 }

[[evaluate]]
name = "natural"

[[evaluate]]
name = "pgd"
radius = 0.1
attack.pgd = { steps = 10, step = 0.02 }
"#;

/// Numbers of kills, by the time at which they happened, and of finished runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Endured {
    /// Kills by SIGKILL.
    pub kills: usize,
    /// Kills before the run had prepared its folder.
    pub early: usize,
    /// Kills while a file was being written (its `.part` file existed).
    pub writing: usize,
    /// Kills after training was done.
    pub late: usize,
    /// Checkpoints that were truncated after a kill.
    pub cut: usize,
    /// Runs that finished, each compared with the uninterrupted one.
    pub finished: usize,
}

/// Kills runs of `binary` in `folder` (which must be empty) `kills` times. An error reports what differed or failed.
pub fn torture(
    binary: &Path,
    folder: &Path,
    kills: usize,
    seed: u64,
    watch: &mut dyn FnMut(&Endured),
) -> anyhow::Result<Endured> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let pipeline = folder.join("torture.toml");
    fs::write(&pipeline, PIPELINE).with_context(|| pipeline.display().to_string())?;
    let start = |out: &str, resume: bool, threads: usize| -> anyhow::Result<Child> {
        let mut command = Command::new(binary);
        command.current_dir(folder).args(["run", "torture.toml", "--out", out]);
        command.args(resume.then_some("--resume")).env("RAYON_NUM_THREADS", threads.to_string());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().with_context(|| format!("cannot start {}", binary.display()))
    };
    let begun = Instant::now();
    finish(start("whole", false, 2)?)?;
    let length = begun.elapsed();
    let whole = essence(&folder.join("whole"))?;

    let run = folder.join("cut");
    let mut outcome = Endured::default();
    loop {
        let child = start("cut", run.join("config.toml").exists(), rng.random_range(1..=2))?;
        let over = if outcome.kills < kills {
            kill(child, length.mul_f64(rng.random_range(0.0..1.0)))?
        } else {
            finish(child)?;
            true
        };
        if over {
            let cut = essence(&run)?;
            if let Some(name) = whole.keys().find(|name| whole.get(*name) != cut.get(*name)) {
                bail!(
                    "after {} kills {name} differs from that of a run that was not interrupted",
                    outcome.kills
                );
            }
            outcome.finished += 1;
            if outcome.kills >= kills {
                return Ok(outcome);
            }
            fs::remove_dir_all(&run)?;
            continue;
        }
        outcome.kills += 1;
        outcome.early += usize::from(!run.join("config.toml").exists());
        outcome.writing += usize::from(holds_part(&run));
        outcome.late += usize::from(run.join("model.safetensors").exists());
        // Sometimes the newest checkpoint is truncated, which a kill alone cannot do.
        let (newest, previous) =
            ["checkpoint", "checkpoint.previous"].map(|name| run.join(format!("{name}.safetensors"))).into();
        if rng.random_range(0..8) == 0 && newest.exists() && previous.exists() {
            let file = fs::File::options().write(true).open(&newest)?;
            file.set_len(rng.random_range(0..file.metadata()?.len()))?;
            outcome.cut += 1;
        }
        watch(&outcome);
    }
}

/// Waits, then kills the run; returns `true` if the run had already finished.
fn kill(mut child: Child, after: Duration) -> anyhow::Result<bool> {
    sleep(after);
    if child.try_wait()?.is_some() {
        finish(child)?;
        return Ok(true);
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}

/// Waits for a run to finish; an error if it failed.
fn finish(child: Child) -> anyhow::Result<()> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "a run failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Whether a file is half written.
fn holds_part(run: &Path) -> bool {
    [run.to_path_buf(), run.join("epsilon")].iter().any(|folder| {
        fs::read_dir(folder).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|e| e.path().extension().is_some_and(|x| x == "part")))
        })
    })
}

/// The output of a run that must not depend on when it was interrupted or on the number of threads, by file: the
/// bytes; of reports, everything except times; of the checkpoint, the tensors, because its header repeats the
/// reports.
pub fn essence(run: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let read = |name: &str| fs::read(run.join(name)).with_context(|| run.join(name).display().to_string());
    let timeless = |text: &str| -> anyhow::Result<Vec<u8>> {
        let mut value: Value = serde_json::from_str(text)?;
        forget_times(&mut value);
        Ok(value.to_string().into_bytes())
    };
    let mut all = BTreeMap::new();
    for name in ["config.toml", "model.safetensors"] {
        all.insert(name.to_string(), read(name)?);
    }
    if run.join("best.safetensors").exists() {
        all.insert("best.safetensors".into(), read("best.safetensors")?);
    }
    for entry in fs::read_dir(run.join("epsilon"))? {
        let name = format!("epsilon/{}", entry?.file_name().display());
        all.insert(name.clone(), read(&name)?);
    }
    let checkpoint = read("checkpoint.safetensors")?;
    let head = checkpoint.first_chunk().map_or(0, |length| u64::from_le_bytes(*length) as usize);
    let tensors = checkpoint.get(8 + head..).context("a checkpoint without tensors")?;
    all.insert("checkpoint.safetensors".into(), tensors.to_vec());
    for (i, line) in String::from_utf8(read("metrics.jsonl")?)?.lines().enumerate() {
        all.insert(format!("metrics.jsonl, line {}", i + 1), timeless(line)?);
    }
    for (i, line) in String::from_utf8(read("records.jsonl")?)?.lines().enumerate() {
        all.insert(format!("records.jsonl, line {}", i + 1), timeless(line)?);
    }
    all.insert("results.json".into(), timeless(&String::from_utf8(read("results.json")?)?)?);
    Ok(all)
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, _| !key.ends_with("seconds") && key != "waiting_share");
            object.values_mut().for_each(forget_times);
        }
        Value::Array(array) => array.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// Runs the test on a release build and prints the numbers.
pub fn run(root: &Path, kills: usize, seed: u64) -> anyhow::Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--release", "--quiet", "--package", "temper-runner"])
        .status()
        .context("cannot start cargo")?;
    ensure!(build.success(), "the build failed: {build}");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let folder = target.join("torture");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let begun = Instant::now();
    let mut watch = |outcome: &Endured| {
        if outcome.kills.is_multiple_of(10) {
            println!("{} kills, {} runs finished", outcome.kills, outcome.finished);
        }
    };
    let outcome = torture(&target.join("release/temper"), &folder, kills, seed, &mut watch)?;
    let Endured { kills, early, writing, late, cut, finished } = outcome;
    println!(
        "{kills} kills at random instants (seed {seed}) in {:.0} s: {early} before the run had its folder, {writing} while \
         a file was being written, {late} after training; {cut} checkpoints cut short as well\n{finished} runs came to \
         their end; each has the bits of an uninterrupted run",
        begun.elapsed().as_secs_f64()
    );
    Ok(true)
}
