//! Errors of downloads.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a download.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An invalid address.
    #[error("{url}: {why}; an address begins with http:// or https://")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server refused.
    #[error("{url}: the server answers {status}")]
    Status {
        /// The address.
        url: String,
        /// Its HTTP status.
        status: u16,
    },
    /// The connection failed repeatedly.
    #[error("{url}: {why}\n  {have} of {size} bytes are there; the same command goes on from them")]
    Broken {
        /// The address.
        url: String,
        /// The last error.
        why: String,
        /// Bytes downloaded so far.
        have: u64,
        /// Size of the file in bytes.
        size: u64,
    },
    /// A file whose size differs from the published one.
    #[error("{url}: the server has {got} bytes, the published file {size}; nothing was kept")]
    Size {
        /// The address.
        url: String,
        /// The size on the server, or a lower bound.
        got: u64,
        /// The published size.
        size: u64,
    },
    /// A file whose checksum differs from the published one.
    #[error("{url}: the checksum is {got}, the published one {want}; nothing was kept")]
    Digest {
        /// The address.
        url: String,
        /// The checksum of the downloaded file.
        got: String,
        /// The published checksum.
        want: String,
    },
    /// An existing file that differs from the published one.
    #[error("{} is there, but is not the published file ({what})\n  move it away, or choose another folder with --to DIR", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// The difference.
        what: String,
    },
    /// An archive with unexpected contents.
    #[error("{}: refused: {what}; nothing was unpacked", file.display())]
    Archive {
        /// The archive.
        file: PathBuf,
        /// The unexpected contents.
        what: String,
    },
    /// Another process is downloading the same data set.
    #[error("another temper is fetching into {} at this moment", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that cannot be written or read.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
}

/// For `map_err`: adds the file to an error.
pub(crate) fn io(file: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    let file = file.to_path_buf();
    move |error| Error::Io { file, error }
}
