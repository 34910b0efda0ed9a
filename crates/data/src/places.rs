//! Where data sets are on this machine, and where their publishers host them.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of all data sets: `$TEMPER_DATA`, or `data` in the current folder if it is not set.
pub fn home() -> PathBuf {
    env::var_os("TEMPER_DATA").filter(|home| !home.is_empty()).map_or_else(|| "data".into(), PathBuf::from)
}

/// The folders in which a data set with the folder name `name` is searched, in order: only `root` if it is
/// given, otherwise below [`home`] and below `/usr/share/datasets`, where Debian's packages install data
/// sets.
pub fn folders(name: &str, root: Option<&Path>) -> Vec<PathBuf> {
    match root {
        Some(root) => vec![root.into()],
        None => vec![home().join(name), Path::new("/usr/share/datasets").join(name)],
    }
}

/// What `temper data fetch` must know about a data set.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The files to download.
    pub files: Vec<Remote>,
    /// The destination folder below [`home`]. An archive contains this folder.
    pub folder: &'static str,
    /// The publisher and the licence, in one sentence.
    pub terms: &'static str,
}

/// A published file.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its address.
    pub url: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksum.
    pub digest: Digest,
    /// Whether it is a `.tar.gz` to unpack; other files are kept as they are.
    pub archive: bool,
}

/// A checksum in lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256.
    Sha256(&'static str),
    /// MD5, if the publisher gives no other.
    Md5(&'static str),
}
