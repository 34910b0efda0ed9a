//! Files that appear whole or not at all: written beside their place, synced, renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes a file whole or not at all: beside its place, synced, then renamed.
pub fn save_atomically(file: &Path, bytes: &[u8]) -> Result<()> {
    let part = save_beside(file, bytes)?;
    rename_synced(&part, file).map_err(|source| Error::Write { file: file.into(), source })
}

/// Writes the bytes beside the place of `file`, synced, and returns that path; nothing of it is left if that fails.
pub fn save_beside(file: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = file.with_file_name(name);
    let written = File::create(&part).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    if let Err(source) = written {
        // A part of a file would only take room on a full disk. The first error is the one to report.
        let _ = fs::remove_file(&part);
        return Err(Error::Write { file: file.into(), source });
    }
    Ok(part)
}

/// Renames a file or a folder so that a power cut does not undo it: the folder that holds it is synced.
pub fn rename_synced(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    // Only Unix opens folders to sync them.
    #[cfg(unix)]
    if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        save_atomically(&file, b"first").unwrap();
        save_atomically(&file, b"second").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = save_atomically(&folder.path().join("none/f"), b"x").unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("none/f: "), "{error}");
    }
}
