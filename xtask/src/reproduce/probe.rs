//! A run that is only timed: two epochs of a row's network on a few images, in a temporary folder.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use toml::{Table, Value};

use super::execute::Place;

/// Epochs of a probe. The last one is timed: in the first one memory is new, which costs a large network as much as the step.
pub const EPOCHS: u64 = 2;
/// A run that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a probe gave.
#[derive(Debug, Clone, Copy)]
pub struct Timed {
    /// Seconds of an epoch, an image: without the process's start and without reading the data set.
    pub seconds: f64,
    /// Seconds of the process beside its epochs.
    pub overhead: f64,
    /// Bytes of both checkpoints and of the weights.
    pub checkpoints: u64,
}

/// The pipeline that trains `pipeline`'s network for [`EPOCHS`] on `images` images, by an attack of `steps` steps with one radius,
/// or by none. Whatever tells nothing of the time of a pass is left out.
pub fn compose(pipeline: &Table, images: u64, steps: u64) -> Table {
    let mut probe = pipeline.clone();
    probe.remove("evaluate");
    probe.remove("select");
    probe.insert("subset".into(), table([("train", (images as i64).into()), ("test", 1.into())]));
    let mut train = pipeline.get("train").and_then(Value::as_table).cloned().unwrap_or_default();
    for key in ["schedule", "accumulate", "loss", "epsilon"] {
        train.remove(key);
    }
    train.insert("epochs".into(), (EPOCHS as i64).into());
    train.insert("batch".into(), (batch(pipeline).min(images) as i64).into());
    // So small that nothing can diverge; momentum stays, which checkpoints hold.
    let mut optimizer = train.get("optimizer").and_then(Value::as_table).cloned().unwrap_or_default();
    optimizer.insert("lr".into(), 1e-6.into());
    train.insert("optimizer".into(), optimizer.into());
    if steps == 0 {
        train.remove("attack_batch_norm");
        train.insert("attack".into(), "none".into());
    } else {
        let pgd = table([("steps", (steps as i64).into())]);
        train.insert("attack".into(), table([("pgd", pgd)]));
        train.insert("epsilon".into(), table([("fixed", table([("radius", "8/255".into())]))]));
    }
    probe.insert("train".into(), train.into());
    probe
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Table::from_iter(entries.map(|(name, value)| (name.to_string(), value))).into()
}

/// Images of a batch.
pub fn batch(pipeline: &Table) -> u64 {
    let batch = pipeline.get("train").and_then(|train| train.get("batch")).and_then(Value::as_integer);
    batch.map_or(128, |batch| batch.max(1) as u64)
}

/// Hears Ctrl-C while probes run, so that what is known is still told; at a second one the process ends.
#[derive(Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub fn listen() -> anyhow::Result<Self> {
        let heard = Arc::new(AtomicBool::new(false));
        let told = "cannot listen for Ctrl-C";
        // In this order: the first signal finds the flag unset, and sets it.
        flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, heard.clone()).context(told)?;
        flag::register(SIGINT, heard.clone()).context(told)?;
        Ok(Self(heard))
    }

    /// Whether there was one.
    pub fn heard(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Interrupt {
    /// From now on Ctrl-C ends the process again.
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs a composed probe of `images` images by the binary, with its files in `folder`; an error is what temper said.
pub fn run(
    place: &Place,
    folder: &Path,
    probe: &Table,
    images: u64,
    interrupt: &Interrupt,
) -> anyhow::Result<Timed> {
    let (file, out, said) = (folder.join("probe.toml"), folder.join("run"), folder.join("said"));
    let told = || format!("cannot write to {}", folder.display());
    fs::write(&file, toml::to_string(probe)?).with_context(told)?;
    let begun = Instant::now();
    let mut child = Command::new(&place.binary)
        .current_dir(&place.folder)
        .arg("run")
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said).with_context(told)?)
        .spawn()
        .with_context(|| format!("cannot start {}", place.binary.display()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if interrupt.heard() || begun.elapsed() > PATIENCE {
            // It may have ended meanwhile: that is as well.
            let _ = child.kill();
            child.wait()?;
            if interrupt.heard() {
                bail!("it was stopped by Ctrl-C");
            }
            bail!("a run on {images} images did not end within {} s", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(5));
    };
    let took = begun.elapsed().as_secs_f64();
    if interrupt.heard() {
        bail!("it was stopped by Ctrl-C");
    }
    if !status.success() {
        bail!("{}", fs::read_to_string(&said).unwrap_or_default().trim().trim_start_matches("error: "));
    }
    let timed = read(&out, images, took);
    fs::remove_dir_all(&out).with_context(|| format!("cannot remove {}", out.display()))?;
    timed
}

fn read(out: &Path, images: u64, took: f64) -> anyhow::Result<Timed> {
    let file = out.join("metrics.jsonl");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut epochs = vec![];
    for line in text.lines() {
        let line: serde_json::Value =
            serde_json::from_str(line).with_context(|| file.display().to_string())?;
        epochs.push(line["seconds"].as_f64().context("an epoch's metrics hold no seconds")?);
    }
    let last = epochs.last().context("its metrics hold no epoch")?;
    let size = |name: &str| fs::metadata(out.join(name)).map_or(0, |data| data.len());
    Ok(Timed {
        seconds: last / images as f64,
        overhead: (took - epochs.iter().sum::<f64>()).max(0.0),
        checkpoints: size("checkpoint.safetensors")
            + size("checkpoint.previous.safetensors")
            + size("model.safetensors"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_the_network_and_the_batch_and_nothing_that_costs_more() {
        let row: Table = "seed = 3\ndataset = \"cifar10\"\nmodel.resnet.depth = 18\n[train]\nepochs = 200\nbatch = 128\n\
                          accumulate = 4\naugment.pad = 4\nattack_batch_norm = \"train\"\nattack.pgd.steps = 10\n\
                          epsilon.instance-adaptive.warmup = 5\nloss.mixup.alpha = 1.0\nschedule.steps = [80]\n\
                          optimizer = { lr = 1.6, momentum = 0.9 }\n[[evaluate]]\nname = \"natural\"\n"
            .parse()
            .unwrap();
        let clean: Table =
            "seed = 3\ndataset = \"cifar10\"\nmodel.resnet.depth = 18\nsubset = { train = 256, test = 1 }\n\
                            [train]\nepochs = 2\nbatch = 128\naugment.pad = 4\nattack = \"none\"\n\
                            optimizer = { lr = 1e-6, momentum = 0.9 }\n"
                .parse()
                .unwrap();
        assert_eq!(compose(&row, 256, 0), clean);
        let mut attacked = clean;
        attacked["subset"]["train"] = 8.into();
        let train = attacked["train"].as_table_mut().unwrap();
        train.insert("batch".into(), 8.into());
        train.insert("attack".into(), "pgd.steps = 3".parse::<Table>().unwrap().into());
        train.insert("epsilon".into(), "fixed.radius = \"8/255\"".parse::<Table>().unwrap().into());
        train.insert("attack_batch_norm".into(), "train".into());
        assert_eq!(compose(&row, 8, 3), attacked);
    }
}
