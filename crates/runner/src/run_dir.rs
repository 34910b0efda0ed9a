//! The folder of a run, and the rules for creating, continuing and replacing it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use temper_files::save_atomically;
use temper_results::Epoch;
use temper_tensorboard::EventFile;

use crate::output::say;
use crate::report::{REPORT, remove_own};
use crate::tensorboard::EVENTS;

/// The weights of the last epoch.
pub(crate) const MODEL: &str = "model.safetensors";
/// The best weights, if the pipeline selects them.
pub(crate) const BEST: &str = "best.safetensors";
/// The resolved pipeline. Its presence marks a folder as a run's.
pub(crate) const CONFIG: &str = "config.toml";
/// First line of that file. A `config.toml` without it does not belong to temper.
pub(crate) const MARK: &str = "# a run of temper\n";
/// All other files that runs write. `--force` removes nothing else.
const FILES: [&str; 10] = [
    CONFIG,
    BEST,
    "metrics.jsonl",
    "results.json",
    REPORT,
    "records.jsonl",
    MODEL,
    "checkpoint.damaged.safetensors",
    "checkpoint.previous.safetensors",
    "checkpoint.safetensors",
];
/// The lock file of the process that writes into the folder.
pub(crate) const LOCK: &str = "lock";
/// What only a run that has ended has, and what was judged of its weights.
const OF_THE_END: [&str; 4] = ["results.json", REPORT, MODEL, "records.jsonl"];
/// The name of a folder with these files begins with this and ends with the number of epochs.
const ENDED: &str = "ended-after-";
/// The folder of the epsilon memory after each epoch.
const EPSILON: &str = "epsilon";

/// A run's folder.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    mode: Mode,
    /// Held while the run lasts.
    _lock: Option<Lock>,
}

/// How the folder is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A new run; the folder must be empty or absent.
    New,
    /// `--resume`.
    Resume,
    /// `--force`.
    Overwrite,
}

impl Mode {
    /// The use that the options `--resume` and `--force`, of which at most one is set, ask for.
    pub(crate) fn of(resume: bool, force: bool) -> Self {
        match (resume, force) {
            (true, _) => Self::Resume,
            (_, true) => Self::Overwrite,
            _ => Self::New,
        }
    }
}

impl RunDir {
    /// Checks whether the folder may be used, without changing anything.
    pub(crate) fn choose(path: PathBuf, mode: Mode) -> anyhow::Result<Self> {
        let entries = entries(&path, "--out DIR")?;
        // Files of a run that was killed while it created the folder.
        let traces: Vec<String> = FILES
            .map(|name| format!("{name}.part"))
            .into_iter()
            .chain([EPSILON, LOCK].map(Into::into))
            .collect();
        let foreign =
            entries.iter().any(|entry| !traces.iter().any(|trace| entry.file_name() == trace.as_str()));
        let at = path.display();
        let holds_run = marked(&path.join(CONFIG), MARK);
        match mode {
            Mode::New if holds_run => {
                bail!(
                    "{at} already holds a run\n  continue it with --resume, replace it with --force, or choose another \
                     place with --out DIR"
                )
            }
            Mode::New | Mode::Overwrite if foreign && !holds_run => {
                bail!("{at} is not empty and holds no run of temper; choose another place with --out DIR")
            }
            Mode::Resume if !holds_run => bail!("{at} holds no run to resume"),
            _ => Ok(Self { path, mode, _lock: None }),
        }
    }

    /// Creates and locks the folder, and repeats the check, because another run may have used it in between.
    pub(crate) fn take(self) -> anyhow::Result<Self> {
        let lock = lock(&self.path, "--out DIR")?;
        Ok(Self { _lock: Some(lock), ..Self::choose(self.path, self.mode)? })
    }

    /// Prepares the folder for a run with this configuration. A run to be replaced is removed.
    pub(crate) fn prepare(&self, config: &str) -> anyhow::Result<()> {
        fs::create_dir_all(self.path.join(EPSILON))
            .with_context(|| format!("cannot create {}", self.path.display()))?;
        if self.mode == Mode::Overwrite {
            // The checkpoint is removed first, so that a partly removed run cannot be resumed. The
            // configuration, which marks the folder, is replaced.
            for name in FILES.iter().rev().filter(|name| ![CONFIG, REPORT].contains(name)) {
                remove(&self.path.join(name))?;
            }
            remove_own(&self.path)?;
            self.forget_epochs_after(0)?;
            self.forget_ends()?;
            EventFile::clear(&self.path.join(EVENTS))?;
        }
        Ok(save_atomically(&self.path.join(CONFIG), format!("{MARK}{config}").as_bytes())?)
    }

    /// Refuses to start over if epochs were completed but their checkpoint is missing.
    pub(crate) fn must_be_fresh(&self) -> anyhow::Result<()> {
        let done = [self.metrics_file(), self.model(), self.results(), self.radii(1)]
            .into_iter()
            .find(|f| f.exists());
        match done {
            Some(file) => bail!(
                "{} has no checkpoint.safetensors to resume from, though {} is there\n  start anew with --force or --out DIR",
                self.path.display(),
                file.file_name().unwrap_or_default().display()
            ),
            None => Ok(()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// The best weights, if the pipeline selects them.
    pub(crate) fn best(&self) -> PathBuf {
        self.path.join(BEST)
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.path.join("results.json")
    }

    /// The records of all evaluated samples.
    pub(crate) fn records(&self) -> PathBuf {
        self.path.join("records.jsonl")
    }

    /// The epsilon memory after an epoch (from 1).
    pub(crate) fn radii(&self, epoch: usize) -> PathBuf {
        self.path.join(EPSILON).join(format!("epoch-{epoch:04}.safetensors"))
    }

    fn metrics_file(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Writes the metrics, one line per epoch.
    pub(crate) fn write_metrics(&self, epochs: &[Epoch]) -> anyhow::Result<()> {
        Ok(temper_results::write_metrics(&self.metrics_file(), epochs)?)
    }

    /// Moves what belongs to a run that ended after so many epochs into the folder `ended-after-N`. Returns that folder
    /// if there was any of it.
    pub(crate) fn put_end_aside(&self, epochs: usize) -> anyhow::Result<Option<PathBuf>> {
        let aside = self.path.join(format!("{ENDED}{epochs}"));
        let ended: Vec<&str> = OF_THE_END.into_iter().filter(|name| self.path.join(name).exists()).collect();
        if ended.is_empty() {
            return Ok(None);
        }
        fs::create_dir_all(&aside).with_context(|| format!("cannot create {}", aside.display()))?;
        // The results go first: they say that the other files belong to a run that has ended.
        for name in ended {
            let file = self.path.join(name);
            fs::rename(&file, aside.join(name)).with_context(|| format!("cannot move {}", file.display()))?;
        }
        Ok(Some(aside))
    }

    /// Removes the folders of [`Self::put_end_aside`]. What else is in them stays.
    fn forget_ends(&self) -> anyhow::Result<()> {
        for entry in entries(&self.path, "--out DIR")? {
            let name = entry.file_name();
            let epochs = name.to_str().and_then(|name| name.strip_prefix(ENDED));
            if epochs.is_some_and(|epochs| epochs.bytes().all(|byte| byte.is_ascii_digit())) {
                remove_own(&entry.path())?;
                for name in OF_THE_END.iter().filter(|name| **name != REPORT) {
                    remove(&entry.path().join(name))?;
                }
                let _ = fs::remove_dir(entry.path());
            }
        }
        Ok(())
    }

    /// Removes the epsilon memories of later epochs, which an interrupted epoch may have left.
    pub(crate) fn forget_epochs_after(&self, epoch: usize) -> anyhow::Result<()> {
        let folder = self.path.join(EPSILON);
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let file = entry.with_context(|| folder.display().to_string())?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let number = name.strip_prefix("epoch-").and_then(|rest| rest.strip_suffix(".safetensors"));
            if number.and_then(|n| n.parse::<usize>().ok()).is_some_and(|n| n > epoch) {
                remove(&file)?;
            }
        }
        Ok(())
    }
}

/// Whether the file begins with this line.
pub(crate) fn marked(file: &Path, mark: &str) -> bool {
    start(file, mark.len() as u64).is_ok_and(|text| text == mark.as_bytes())
}

/// The first `n` bytes of a regular file, or all of them if it is shorter.
fn start(file: &Path, n: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    // Opening a pipe would block until there is a writer.
    if fs::metadata(file)?.is_file() {
        File::open(file)?.take(n).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The locked file of a folder. The system releases the lock when the process ends in any way.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Removes the process number, so that a command which was refused leaves the folder as it was.
    fn drop(&mut self) {
        self.0.set_len(0).ok();
    }
}

/// Creates a folder and locks it for this process until the returned lock is dropped. `option` is the option that
/// chooses another folder, for errors.
pub(crate) fn lock(folder: &Path, option: &str) -> anyhow::Result<Lock> {
    let at = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("cannot create {at}"))?;
    let file = folder.join(LOCK);
    let options = || File::options().read(true).write(true).create(true).truncate(false).open(&file);
    let mut lock = options().with_context(|| format!("cannot write into {at}"))?;
    let written = start(&file, 20).with_context(|| format!("cannot read {}", file.display()))?;
    if !written.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace()) {
        bail!("{} is no lock of temper; choose another place with {option}", file.display());
    }
    match lock.try_lock() {
        // The process number, for the message to a second process.
        Ok(()) => lock
            .set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(|| format!("cannot write {}", file.display()))?,
        Err(TryLockError::WouldBlock) => {
            // A command that has just started may not have written its process number yet.
            let holder = start(&file, 20).unwrap_or_default();
            let holder = match holder.trim_ascii() {
                process if !process.is_empty() && process.iter().all(u8::is_ascii_digit) => {
                    format!(" (process {})", String::from_utf8_lossy(process))
                }
                _ => String::new(),
            };
            bail!(
                "another temper is writing into {at}{holder}\n  wait for it, or choose another place with {option}"
            )
        }
        // Some network file systems do not support locks.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            say(&format!("note    {at} cannot be locked: see to it that no second run writes there\n"));
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", file.display()));
        }
    }
    Ok(Lock(lock))
}

/// The contents of a folder; empty if it does not exist. `option` is the option that chooses another folder, for
/// errors.
pub(crate) fn entries(folder: &Path, option: &str) -> anyhow::Result<Vec<fs::DirEntry>> {
    if folder.exists() && !folder.is_dir() {
        bail!("{} is a file, not a folder: choose another place with {option}", folder.display());
    }
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().with_context(|| folder.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => bail!("{}: {error}", folder.display()),
    }
}

/// Removes a file if it exists.
pub(crate) fn remove(file: &Path) -> anyhow::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_no_more_is_read_than_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CONFIG);
        assert!(!marked(&file, MARK) && !marked(folder.path(), MARK));
        for (start, holds) in [(MARK, true), ("", false), (&MARK[..9], false)] {
            fs::write(&file, start).unwrap();
            // A sparse file: its trailing zeros take no disk space.
            File::options().write(true).open(&file).unwrap().set_len(20 << 30).unwrap();
            assert_eq!(marked(&file, MARK), holds);
        }
    }
}
