//! What can go wrong with a download.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a download.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that names no server.
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
        /// Its answer, as a number.
        status: u16,
    },
    /// The connection failed again and again.
    #[error("{url}: {why}\n  {have} of {size} bytes are there; the same command goes on from them")]
    Broken {
        /// The address.
        url: String,
        /// What failed last.
        why: String,
        /// Bytes that are on disk.
        have: u64,
        /// Bytes of the whole.
        size: u64,
    },
    /// A file of another size than the published one.
    #[error("{url}: the server has {got} bytes, the published file {size}; nothing was kept")]
    Size {
        /// The address.
        url: String,
        /// What the server has, at least.
        got: u64,
        /// The published size.
        size: u64,
    },
    /// A file with another checksum than the published one.
    #[error("{url}: the checksum is {got}, the published one {want}; nothing was kept")]
    Digest {
        /// The address.
        url: String,
        /// The checksum of what came.
        got: String,
        /// The published checksum.
        want: String,
    },
    /// Something else stands where the file belongs.
    #[error("{} is there, but is not the published file ({what})\n  move it away, or choose another folder with --to DIR", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// How it differs.
        what: String,
    },
    /// An archive that holds what it should not.
    #[error("{}: refused: {what}; nothing was unpacked", file.display())]
    Archive {
        /// The archive.
        file: PathBuf,
        /// What it holds.
        what: String,
    },
    /// Another process fetches the same.
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
        /// Why.
        error: std::io::Error,
    },
}

/// For `map_err`: the file at fault.
pub(crate) fn io(file: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    let file = file.to_path_buf();
    move |error| Error::Io { file, error }
}
