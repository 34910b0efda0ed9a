//! Downloads published data sets. A file gets its final name only after its size and checksum were found to
//! be the published ones. Interrupted downloads are resumed.

mod archive;
mod download;
mod error;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use temper_data::{Publication, Remote};

use error::io;
pub use error::{Error, Result};

/// The progress of a file.
#[derive(Debug, Clone, Copy)]
pub struct FetchProgress<'a> {
    /// Its name.
    pub file: &'a str,
    /// Bytes downloaded so far.
    pub done: u64,
    /// Size of the file in bytes.
    pub size: u64,
}

/// The source and the destination of downloads.
#[derive(Debug)]
pub struct Fetch<'a> {
    /// The folder of all data sets; created if it does not exist.
    pub to: &'a Path,
    /// Address of a folder with the same files, used instead of the publisher's.
    pub from: Option<&'a str>,
    /// Pauses between attempts without new bytes; after the last one the download fails.
    pub pauses: Vec<Duration>,
}

impl Fetch<'_> {
    /// Pauses that are long enough for a short failure of a server.
    pub fn patience() -> Vec<Duration> {
        [1, 3, 10].map(Duration::from_secs).into()
    }

    /// Downloads the missing files of a data set. Returns its folder, and whether anything was missing.
    pub fn fetch(
        &self,
        publication: &Publication,
        watch: &mut dyn FnMut(FetchProgress<'_>),
    ) -> Result<(PathBuf, bool)> {
        fs::create_dir_all(self.to).map_err(io(self.to))?;
        let _lock = self.lock(publication)?;
        let folder = self.to.join(publication.folder);
        let mut new = false;
        for remote in &publication.files {
            let name = remote.url.rsplit('/').next().unwrap_or_default();
            let url = match self.from {
                Some(from) => format!("{}/{name}", from.trim_end_matches('/')),
                None => remote.url.clone(),
            };
            if remote.archive {
                if folder.exists() {
                    continue;
                }
                let archive = self.to.join(name);
                self.file(remote, &url, &archive, watch)?;
                archive::unpack(&archive, self.to, publication.folder)?;
                fs::remove_file(&archive).map_err(io(&archive))?;
                new = true;
            } else {
                fs::create_dir_all(&folder).map_err(io(&folder))?;
                new |= self.file(remote, &url, &folder.join(name), watch)?;
            }
        }
        Ok((folder, new))
    }

    /// Downloads one file unless it exists. Returns whether it was missing.
    fn file(
        &self,
        remote: &Remote,
        url: &str,
        file: &Path,
        watch: &mut dyn FnMut(FetchProgress<'_>),
    ) -> Result<bool> {
        if file.exists() {
            let size = file.metadata().map_err(io(file))?.len();
            let what = match size == remote.size {
                true => {
                    let got = download::digest(file, remote.digest)?;
                    (got != download::published(remote.digest)).then(|| format!("its checksum is {got}"))
                }
                false => Some(format!("it has {size} bytes, the published one {}", remote.size)),
            };
            return match what {
                Some(what) => Err(Error::Foreign { file: file.into(), what }),
                None => Ok(false),
            };
        }
        download::Download::new(remote, url, file, &self.pauses).run(watch)?;
        Ok(true)
    }

    /// Locks the folder against a second process. The system releases the lock when this process ends in any
    /// way.
    fn lock(&self, publication: &Publication) -> Result<File> {
        let file = self.to.join(format!(".{}.lock", publication.folder));
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(io(&file))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::InUse { folder: self.to.into() }),
            Err(TryLockError::Error(error)) if error.kind() != std::io::ErrorKind::Unsupported => {
                Err(Error::Io { file, error })
            }
            // A file system without locks: two processes would damage each other's partial files, which the
            // checksum detects.
            _ => Ok(lock),
        }
    }
}
