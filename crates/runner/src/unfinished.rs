//! The evaluations that `temper attack` and `temper transfer` keep on disk while they run, so that they can be resumed
//! after an interruption.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use temper_files::save_atomically;
use temper_results::{Line, Records};

use crate::run_dir::{LOCK, Mode, entries, marked, remove};

/// The options of the command. The presence of this file marks the folder.
const OPTIONS: &str = "options.toml";
/// First line of that file.
const MARK: &str = "# unfinished work of temper\n";
/// The name of that file once the command is complete, until everything is removed.
const RETIRED: &str = "complete.toml";
/// The records of the batches judged so far.
const RECORDS: &str = "records.jsonl";
/// The folder of the images of each batch, which only `temper attack` writes.
const IMAGES: &str = "images";

/// A folder with the state of an unfinished command.
#[derive(Debug)]
pub(crate) struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// The state in this folder, which need not exist.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder holds the state of a command.
    pub(crate) fn exists(&self) -> bool {
        marked(&self.path.join(OPTIONS), MARK)
    }

    /// Whether the folder holds anything that temper did not write. A killed process may leave an empty folder, a part
    /// of the file of options, or the rest of a complete command.
    pub(crate) fn is_foreign(&self) -> anyhow::Result<bool> {
        let own = [LOCK.into(), format!("{OPTIONS}.part")];
        let foreign = !self.exists()
            && !marked(&self.path.join(RETIRED), MARK)
            && entries(&self.path, "--save")?
                .iter()
                .any(|entry| !own.iter().any(|own| entry.file_name() == own.as_str()));
        Ok(foreign)
    }

    /// Checks whether a command may use the folder. `at` is the place that `--save` names.
    pub(crate) fn allows(&self, mode: Mode, at: &Path) -> anyhow::Result<()> {
        let at = at.display();
        match mode {
            Mode::New if self.exists() => bail!(
                "{at} belongs to a command that was interrupted\n  continue it with --resume, replace it with --force, or choose \
                 another place with --save"
            ),
            Mode::Resume if !self.exists() => bail!("{at}: nothing was interrupted that could be resumed"),
            _ => Ok(()),
        }
    }

    /// Prepares the folder for a command with these options. With `--resume`, the options must be those of the state
    /// that is there; without it, an earlier state is removed.
    pub(crate) fn begin(&self, mode: Mode, options: &str) -> anyhow::Result<()> {
        if mode == Mode::Resume {
            self.must_have(options)?;
        } else {
            self.clear()?;
        }
        let make = |folder: &Path| {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
        };
        make(&self.path)?;
        if mode != Mode::Resume {
            save_atomically(&self.path.join(OPTIONS), format!("{MARK}{options}").as_bytes())?;
        }
        make(&self.images())
    }

    /// An error if the state has other options than these. The size of batches may differ.
    fn must_have(&self, options: &str) -> anyhow::Result<()> {
        let file = self.path.join(OPTIONS);
        let read = |text: &str| -> anyhow::Result<toml::Table> {
            let mut table: toml::Table = text.parse()?;
            table.remove("command");
            table.remove("batch");
            Ok(table)
        };
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let (was, is) = (read(&text).with_context(|| file.display().to_string())?, read(options)?);
        let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        if let Some(key) = keys.into_iter().find(|key| was.get(*key) != is.get(*key)) {
            bail!(
                "the interrupted command had another `{key}`; all its options are in {}\n  give the same options, start anew with \
                 --force, or choose another place with --save",
                file.display()
            );
        }
        Ok(())
    }

    /// The records of this command, whose evaluations have these keys. Lines for which `whole` is false are removed.
    /// An error if there are records of other evaluations.
    pub(crate) fn records(&self, keys: &[String], whole: impl Fn(&Line) -> bool) -> anyhow::Result<Records> {
        let file = self.path.join(RECORDS);
        let other = |line: &Line| !keys.contains(&line.key);
        if let Some(line) = Records::read(&file)?.iter().find(|line| other(line)) {
            bail!(
                "{}: `{}` was judged on other images, or by another build of temper\n  start anew with --force, or choose another \
                 place with --save",
                file.display(),
                line.evaluation
            );
        }
        Ok(Records::open(&file, |line| whole(line))?)
    }

    /// The folder of the images of each batch.
    pub(crate) fn images(&self) -> PathBuf {
        self.path.join(IMAGES)
    }

    /// Whether no batch has been judged.
    pub(crate) fn is_empty(&self) -> bool {
        match fs::metadata(self.path.join(RECORDS)) {
            Ok(about) => about.len() == 0,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Removes the folder with all files of temper in it. From the first moment on, the command counts as complete.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        let retired = self.path.join(RETIRED);
        if self.exists() {
            fs::rename(self.path.join(OPTIONS), &retired)
                .with_context(|| format!("cannot write {}", retired.display()))?;
        }
        self.clear()?;
        remove(&self.path.join(LOCK))?;
        // A folder that holds files of others, or does not exist, stays as it is.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    /// Removes all files of temper except the lock. The mark is removed last, so that a partly removed state is still
    /// recognised.
    fn clear(&self) -> anyhow::Result<()> {
        let part = |name: &str| format!("{name}.part");
        for image in entries(&self.images(), "--save")? {
            let name = image.file_name();
            let own = |name: &str| name.ends_with(".safetensors") || name.ends_with(".safetensors.part");
            if name.to_str().is_some_and(own) {
                remove(&image.path())?;
            }
        }
        match fs::remove_dir(self.images()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| {
                    format!(
                        "cannot remove {}: it holds files that temper did not write",
                        self.images().display()
                    )
                });
            }
            _ => {}
        }
        for name in [RECORDS.into(), part(RECORDS), part(OPTIONS), OPTIONS.into(), RETIRED.into()] {
            remove(&self.path.join(name))?;
        }
        Ok(())
    }
}
