//! The folder of `temper attack --save`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use temper_files::save_atomically;

use crate::png;
use crate::report::remove_own;
use crate::run_dir::{LOCK, Lock, Mode, entries, lock, marked, remove};
use crate::unfinished::Unfinished;

/// The file with all options. Its presence marks a folder as an attack's.
const OPTIONS: &str = "attack.toml";
/// First line of that file.
const MARK: &str = "# an attack by temper\n";
/// All other files that an attack writes except PNG files. `--force` removes nothing else.
const FILES: [&str; 3] = ["results.json", "records.jsonl", "images.safetensors"];
/// The folder of PNG files.
const PNG: &str = "png";
/// The folder of an attack that runs or was interrupted. The files above are written when it is complete.
const UNFINISHED: &str = "unfinished";
/// The folder in it in which a complete attack is written and checked.
const STAGED: &str = "complete";

/// The image in a PNG file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Clean,
    Adversarial,
}

impl Shows {
    /// The word in the file name.
    fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Adversarial => "adversarial",
        }
    }
}

/// An attack's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    mode: Mode,
    /// Whether this process created the folder and no complete attack is in it.
    made: bool,
    lock: Option<Lock>,
    unfinished: Unfinished,
}

impl Folder {
    /// Checks whether the folder may be used, without changing anything.
    pub(crate) fn choose(path: PathBuf, mode: Mode) -> anyhow::Result<Self> {
        let at = path.display();
        let unfinished = Unfinished::at(path.join(UNFINISHED));
        let own_folder = !unfinished.is_foreign()?;
        // Files that a killed process leaves behind.
        let part = |name: &str| FILES.iter().chain([&OPTIONS]).any(|own| name == format!("{own}.part"));
        let foreign = entries(&path, "--save DIR")?.iter().any(|entry| {
            let name = entry.file_name();
            let own = name == LOCK || name == UNFINISHED && own_folder;
            !own && !name.to_str().is_some_and(part)
        });
        let holds_attack = marked(&path.join(OPTIONS), MARK);
        if foreign && !holds_attack || !own_folder {
            bail!("{at} is not empty and holds no attack of temper; choose another place with --save DIR");
        }
        unfinished.allows(mode, &path)?;
        if holds_attack && mode == Mode::New {
            bail!(
                "{at} already holds an attack\n  replace it with --force, or choose another place with --save DIR"
            );
        }
        Ok(Self { path, mode, made: false, lock: None, unfinished })
    }

    /// Creates and locks the folder, and repeats the check.
    pub(crate) fn take(self) -> anyhow::Result<Self> {
        let made = !self.path.exists();
        let lock = lock(&self.path, "--save DIR")?;
        let mut chosen = Self::choose(self.path.clone(), self.mode)?;
        chosen.made = made;
        chosen.lock = Some(lock);
        Ok(chosen)
    }

    /// Prepares the state of an unfinished attack with these options. An attack to be replaced stays until this one is
    /// complete.
    pub(crate) fn begin(&self, options: &str) -> anyhow::Result<&Unfinished> {
        self.unstage()?;
        self.unfinished.begin(self.mode, options)?;
        Ok(&self.unfinished)
    }

    /// The state of the unfinished attack.
    pub(crate) fn unfinished(&self) -> &Unfinished {
        &self.unfinished
    }

    /// The folder in which a complete attack is written and checked, before it is published.
    fn staged(&self) -> PathBuf {
        self.unfinished.path().join(STAGED)
    }

    /// Prepares an empty folder for a complete attack. An attack to be replaced stays.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        let staged = self.staged();
        empty(&staged)?;
        let png = staged.join(PNG);
        fs::create_dir_all(&png).with_context(|| format!("cannot create {}", png.display()))
    }

    /// Moves the complete attack to its place, with these options. An attack to be replaced is removed. The results are
    /// moved last.
    pub(crate) fn publish(&mut self, options: &str) -> anyhow::Result<()> {
        self.made = false;
        empty(&self.path)?;
        save_atomically(&self.path.join(OPTIONS), format!("{MARK}{options}").as_bytes())?;
        let staged = self.staged();
        let place = |from: &Path, to: &Path| {
            fs::rename(from, to)
                .with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
        };
        let png = self.path.join(PNG);
        fs::create_dir_all(&png).with_context(|| format!("cannot create {}", png.display()))?;
        for entry in entries(&staged.join(PNG), "--save DIR")? {
            place(&entry.path(), &png.join(entry.file_name()))?;
        }
        for name in FILES.iter().rev() {
            place(&staged.join(name), &self.path.join(name))?;
        }
        self.unstage()?;
        self.unfinished.remove()
    }

    /// Removes what was staged.
    fn unstage(&self) -> anyhow::Result<()> {
        let staged = self.staged();
        empty(&staged)?;
        // Folders that hold files of others, or do not exist, stay as they are.
        let _ = fs::remove_dir(staged.join(PNG));
        let _ = fs::remove_dir(&staged);
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.staged().join(FILES[0])
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.staged().join(FILES[1])
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.staged().join(FILES[2])
    }

    /// The PNG file of a sample, by its index in the whole test set.
    pub(crate) fn png(&self, sample: u64, shows: Shows) -> PathBuf {
        self.staged().join(PNG).join(png::name(sample, shows.word()))
    }
}

impl Drop for Folder {
    /// Removes what an interrupted attack created if it has not judged anything.
    fn drop(&mut self) {
        if self.lock.is_none() || !self.unfinished.is_empty() {
            return;
        }
        // Errors are ignored: folders that cannot be removed are empty and do no harm.
        let _ = self.unfinished.remove();
        if self.made {
            let _ = fs::remove_file(self.path.join(LOCK));
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Removes the files of a complete attack from a folder, except for its options.
fn empty(folder: &Path) -> anyhow::Result<()> {
    for name in FILES {
        remove(&folder.join(name))?;
    }
    remove_own(folder)?;
    for entry in entries(&folder.join(PNG), "--save DIR")? {
        if entry.file_name().to_str().is_some_and(is_own) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether this is the name of a PNG file of an attack.
fn is_own(name: &str) -> bool {
    [Shows::Clean, Shows::Adversarial].into_iter().any(|shows| png::what(name) == Some(shows.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_its_own_are_cleared() {
        for own in ["00017-clean.png", "123456-adversarial.png"] {
            assert!(is_own(own), "{own}");
        }
        for foreign in ["17-clean.png", "00017.png", "holiday-clean.png", "00017-dress.png"] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }
}
