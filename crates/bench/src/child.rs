//! Contenders: processes that run one round of a work on command.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::modes::{Mode, Simd};
use crate::table::Measured;
use crate::works::Work;

/// The `PyTorch` side.
const TORCH: &str = include_str!("torch_peer.py");

/// A round shorter than this many milliseconds counts as a warm-up: it is repeated for this long, and the mean
/// is the measurement. `torch_peer.py` does the same. The first step after a pause can take half as long again.
const SHORT: f64 = 1200.0;
/// Pause before each round: the threads of `PyTorch` keep spinning for a while after their work, which slows
/// down the next contender.
const REST: Duration = Duration::from_millis(400);

/// A contender as the parent sees it.
pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    said: BufReader<std::process::ChildStdout>,
    rounds: Vec<f64>,
}

impl Child {
    /// Starts temper itself, which writes weights and batch into `folder`.
    pub(crate) fn temper(
        work: Work,
        threads: usize,
        (exact, simd): (bool, Option<Simd>),
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(work.part.name()).args(["--batch", &work.batch.to_string()]).arg("--serve").arg(folder);
        if exact {
            command.arg("--exact");
        }
        if let Some(simd) = simd {
            command.args(["--simd", simd.name()]);
        }
        Self::start("temper", command.env("RAYON_NUM_THREADS", threads.to_string()))
    }

    /// Starts `PyTorch` on the weights and the batch in `folder`.
    pub(crate) fn torch(
        python: &Path,
        work: Work,
        threads: usize,
        Mode { engine, bf16, layout }: Mode,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let script = folder.join("torch_peer.py");
        std::fs::write(&script, TORCH)?;
        let mut command = Command::new(python);
        let bf16 = if bf16 { "-bf16" } else { "" };
        let mode = format!("{engine}{bf16}");
        command.arg(script).args([work.part.name(), &mode, layout, &threads.to_string()]).arg(folder);
        Self::start(&format!("torch {mode} {layout}"), &mut command)
    }

    fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let Some(said) = process.stdout.take() else { bail!("{name} has no standard output") };
        let mut child = Self { name: name.into(), process, said: BufReader::new(said), rounds: vec![] };
        child.expect("ready")?;
        Ok(child)
    }

    /// Reads the next line, which must begin with this word, and returns the rest of the line.
    fn expect(&mut self, word: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        match line.trim().split_once(' ') {
            Some((first, rest)) if first == word => Ok(rest.into()),
            _ if line.trim() == word => Ok(String::new()),
            _ => bail!("{} said {:?} where `{word}` was expected", self.name, line.trim()),
        }
    }

    fn tell(&mut self, word: &str) -> anyhow::Result<()> {
        let Some(ears) = self.process.stdin.as_mut() else { bail!("{} has no standard input", self.name) };
        writeln!(ears, "{word}")?;
        Ok(ears.flush()?)
    }

    /// Runs one round; `counts`: it is a measurement.
    pub(crate) fn round(&mut self, counts: bool) -> anyhow::Result<()> {
        std::thread::sleep(REST);
        self.tell("go")?;
        let ms: f64 = self.expect("ms")?.parse()?;
        if counts {
            self.rounds.push(ms);
        }
        Ok(())
    }

    /// Ends the process and returns its measurements.
    pub(crate) fn end(mut self) -> anyhow::Result<Measured> {
        self.tell("end")?;
        let peak: f64 = self.expect("peak")?.parse()?;
        let result = self.expect("result")?;
        self.process.wait()?;
        Ok(Measured { name: self.name, rounds: self.rounds, peak, result })
    }
}

/// Runs rounds of a work on the parent's commands.
pub(crate) fn serve(work: Work, exact: bool, folder: &Path) -> anyhow::Result<()> {
    let mut task = work.prepare(exact, folder)?;
    let say = |line: String| writeln!(std::io::stdout(), "{line}");
    say("ready".into())?;
    let mut result = String::new();
    for line in std::io::stdin().lines() {
        if line?.trim() == "end" {
            say(format!("peak {}", peak()?))?;
            say(format!("result {result}"))?;
            break;
        }
        let started = Instant::now();
        result = task()?;
        let mut ms = started.elapsed().as_secs_f64() * 1e3;
        if ms < SHORT {
            // The first run was the warm-up.
            let (started, mut repeats) = (Instant::now(), 0.0);
            while started.elapsed().as_secs_f64() * 1e3 < SHORT {
                result = task()?;
                repeats += 1.0;
            }
            ms = started.elapsed().as_secs_f64() * 1e3 / repeats;
        }
        say(format!("ms {ms}"))?;
    }
    Ok(())
}

/// The peak memory of this process, in bytes.
fn peak() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("no /proc: peak memory is unknown")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}
