//! Atomic file writes: a file is written under another name in the same folder, synced, then renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes a file whole or not at all: to a `.part` file in the same folder, which is synced, then renamed.
pub fn save_atomically(file: &Path, bytes: &[u8]) -> Result<()> {
    let part = save_beside(file, bytes)?;
    rename_synced(&part, file).map_err(|source| Error::Write { file: file.into(), source })
}

/// Writes the bytes to a synced `.part` file beside `file` and returns its path. If writing fails, the
/// `.part` file is removed.
pub fn save_beside(file: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = file.with_file_name(name);
    let written = File::create(&part).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    if let Err(source) = written {
        // A partial file would only take space on a full disk. The first error is the one to report.
        let _ = fs::remove_file(&part);
        return Err(Error::Write { file: file.into(), source });
    }
    Ok(part)
}

/// Renames a file or a folder and syncs its parent folder, so that a power cut does not undo the rename.
pub fn rename_synced(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    // Only Unix can open a folder to sync it.
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
