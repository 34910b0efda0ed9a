//! Where data sets lie on this machine, and where their publishers keep them.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of all data sets: `$TEMPER_DATA`, without it `data` in the current folder.
pub fn home() -> PathBuf {
    env::var_os("TEMPER_DATA").filter(|home| !home.is_empty()).map_or_else(|| "data".into(), PathBuf::from)
}

/// Folders in which the data set kept in a folder `name` may lie, in the order to try: `root` alone where it is given,
/// else below [`home`] and below `/usr/share/datasets`, where Debian's packages put theirs.
pub fn folders(name: &str, root: Option<&Path>) -> Vec<PathBuf> {
    match root {
        Some(root) => vec![root.into()],
        None => vec![home().join(name), Path::new("/usr/share/datasets").join(name)],
    }
}

/// What `temper data fetch` needs to know of a data set.
#[derive(Debug, Clone)]
pub struct Publication {
    /// What is downloaded.
    pub files: Vec<Remote>,
    /// Folder below [`home`] that the files end up in. An archive brings this folder itself.
    pub folder: &'static str,
    /// Who published it, and on what terms, in a sentence.
    pub terms: &'static str,
}

/// One published file.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its address.
    pub url: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksum.
    pub digest: Digest,
    /// Is it a `.tar.gz` to unpack? Other files are kept as they are.
    pub archive: bool,
}

/// A checksum, in lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256.
    Sha256(&'static str),
    /// MD5: where the publisher gives no other.
    Md5(&'static str),
}
