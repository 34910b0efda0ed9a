//! The folder of `temper attack --save`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use temper_files::save_atomically;

use crate::run_dir::{LOCK, entries, lock, marked, remove};

/// The file with all options. Its presence marks a folder as an attack's.
const OPTIONS: &str = "attack.toml";
/// First line of that file.
const MARK: &str = "# an attack by temper\n";
/// All other files that an attack writes except PNG files. `--force` removes nothing else.
const FILES: [&str; 3] = ["results.json", "records.jsonl", "images.safetensors"];
/// The folder of PNG files.
const PNG: &str = "png";

/// The image in a PNG file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Clean,
    Adversarial,
}

impl Shows {
    /// The suffix of the file name.
    fn word(self) -> &'static str {
        match self {
            Self::Clean => "-clean.png",
            Self::Adversarial => "-adversarial.png",
        }
    }
}

/// An attack's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    force: bool,
    /// Whether this process created the folder and it is still empty.
    made: bool,
    lock: Option<File>,
}

impl Folder {
    /// Checks whether the folder may be used, without changing anything.
    pub(crate) fn choose(path: PathBuf, force: bool) -> anyhow::Result<Self> {
        let at = path.display();
        // Files that a killed process leaves behind.
        let part = |name: &str| FILES.iter().chain([&OPTIONS]).any(|own| name == format!("{own}.part"));
        let foreign = entries(&path, "--save DIR")?.iter().any(|entry| {
            let name = entry.file_name();
            name != LOCK && !name.to_str().is_some_and(part)
        });
        let holds_attack = marked(&path.join(OPTIONS), MARK);
        if holds_attack && !force {
            bail!(
                "{at} already holds an attack\n  replace it with --force, or choose another place with --save DIR"
            );
        }
        if foreign && !holds_attack {
            bail!("{at} is not empty and holds no attack of temper; choose another place with --save DIR");
        }
        Ok(Self { path, force, made: false, lock: None })
    }

    /// Creates and locks the folder, and repeats the check.
    pub(crate) fn take(self) -> anyhow::Result<Self> {
        let made = !self.path.exists();
        let lock = lock(&self.path, "--save DIR")?;
        let mut chosen = Self::choose(self.path.clone(), self.force)?;
        chosen.made = made;
        chosen.lock = Some(lock);
        Ok(chosen)
    }

    /// Prepares the folder for an attack with these options. An attack to be replaced is removed.
    pub(crate) fn prepare(&mut self, options: &str) -> anyhow::Result<()> {
        self.made = false;
        for name in FILES {
            remove(&self.path.join(name))?;
        }
        let png = self.path.join(PNG);
        for entry in entries(&png, "--save DIR")? {
            if entry.file_name().to_str().is_some_and(is_own) {
                remove(&entry.path())?;
            }
        }
        save_atomically(&self.path.join(OPTIONS), format!("{MARK}{options}").as_bytes())?;
        fs::create_dir_all(&png).with_context(|| format!("cannot create {}", png.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.path.join(FILES[0])
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.path.join(FILES[1])
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.path.join(FILES[2])
    }

    /// The PNG file of a sample, by its index in the whole test set.
    pub(crate) fn png(&self, sample: u64, shows: Shows) -> PathBuf {
        self.path.join(PNG).join(format!("{sample:05}{}", shows.word()))
    }
}

impl Drop for Folder {
    /// Removes a folder that an interrupted attack created.
    fn drop(&mut self) {
        if self.made {
            // An error is ignored: a folder that cannot be removed is empty and does no harm.
            let _ = fs::remove_file(self.path.join(LOCK));
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Whether this is the name of a PNG file of an attack.
fn is_own(name: &str) -> bool {
    [Shows::Clean, Shows::Adversarial].into_iter().any(|shows| {
        let index = name.strip_suffix(shows.word()).unwrap_or_default();
        index.len() >= 5 && index.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_its_own_are_cleared() {
        for own in ["00017-clean.png", "123456-adversarial.png"] {
            assert!(is_own(own), "{own}");
        }
        for foreign in ["17-clean.png", "00017.png", "holiday-clean.png", "-clean.png", "00017-clean.png.txt"]
        {
            assert!(!is_own(foreign), "{foreign}");
        }
    }
}
