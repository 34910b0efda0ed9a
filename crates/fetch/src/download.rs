//! Downloads one file over HTTP: resumed, checked and renamed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use md5::Md5;
use sha2::Sha256;
use temper_data::{Digest, Remote};
use temper_files::{hex, rename_synced};
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use crate::FetchProgress;
use crate::error::{Error, Result, io};

/// Maximum duration of a connection. A silent connection is then abandoned; a slow one is continued by
/// another.
const LONGEST: Duration = Duration::from_secs(600);
/// Timeout of connecting, and of the head of a response.
const ANSWER: Duration = Duration::from_secs(30);

/// A download.
pub(crate) struct Download<'a> {
    remote: &'a Remote,
    url: &'a str,
    file: &'a Path,
    part: PathBuf,
    pauses: &'a [Duration],
    agent: Agent,
}

/// The end of a connection.
enum End {
    /// The file is complete.
    Whole,
    /// The connection broke, or the server had a temporary error.
    Broken(String),
}

impl<'a> Download<'a> {
    pub(crate) fn new(remote: &'a Remote, url: &'a str, file: &'a Path, pauses: &'a [Duration]) -> Self {
        let agent = Agent::config_builder()
            .timeout_connect(Some(ANSWER))
            .timeout_recv_response(Some(ANSWER))
            .timeout_recv_body(Some(LONGEST))
            .max_redirects(5)
            .http_status_as_error(false)
            .user_agent(concat!("temper/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let mut part = file.as_os_str().to_os_string();
        part.push(".part");
        Self { remote, url, file, part: part.into(), pauses, agent }
    }

    /// Downloads, checks and renames the file. An existing partial file is continued.
    pub(crate) fn run(&self, watch: &mut dyn FnMut(FetchProgress<'_>)) -> Result<()> {
        let found = self.have()? > 0;
        if let Err(error) = self.once(watch) {
            // An earlier partial file may belong to another file; then everything is downloaded again.
            return match error {
                Error::Digest { .. } if found => self.once(watch),
                error => Err(error),
            };
        }
        Ok(())
    }

    fn have(&self) -> Result<u64> {
        match fs::metadata(&self.part) {
            Ok(about) => Ok(about.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::Io { file: self.part.clone(), error }),
        }
    }

    fn once(&self, watch: &mut dyn FnMut(FetchProgress<'_>)) -> Result<()> {
        let mut pauses = self.pauses.iter();
        loop {
            let before = self.have()?;
            if before == self.remote.size {
                break;
            }
            if before > self.remote.size {
                fs::remove_file(&self.part).map_err(io(&self.part))?;
                continue;
            }
            let why = match self.connect(before, watch)? {
                End::Whole => break,
                End::Broken(why) => why,
            };
            let have = self.have()?;
            if have > before {
                pauses = self.pauses.iter();
            }
            let Some(pause) = pauses.next() else {
                let (url, size) = (self.url.to_string(), self.remote.size);
                return Err(Error::Broken { url, why, have, size });
            };
            sleep(*pause);
        }
        let (got, want) = (digest(&self.part, self.remote.digest)?, published(self.remote.digest));
        if got != want {
            fs::remove_file(&self.part).map_err(io(&self.part))?;
            return Err(Error::Digest { url: self.url.into(), got, want: want.into() });
        }
        File::open(&self.part).and_then(|part| part.sync_all()).map_err(io(&self.part))?;
        rename_synced(&self.part, self.file).map_err(io(self.file))
    }

    /// One connection, which continues from byte `from` if the server supports it.
    fn connect(&self, from: u64, watch: &mut dyn FnMut(FetchProgress<'_>)) -> Result<End> {
        let mut request = self.agent.get(self.url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(ureq::Error::BadUri(why)) => return Err(Error::Address { url: self.url.into(), why }),
            Err(error) => return Ok(End::Broken(error.to_string())),
        };
        let start = match response.status() {
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(from) => from,
            StatusCode::OK => 0,
            // A partial file that the server cannot continue.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
                fs::remove_file(&self.part).map_err(io(&self.part))?;
                return Ok(End::Broken("the server cannot go on from where the part ends".into()));
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Ok(End::Broken(format!("the server answers {}", response.status().as_u16())));
            }
            status if status.is_server_error() => {
                return Ok(End::Broken(format!("the server answers {}", status.as_u16())));
            }
            status => return Err(Error::Status { url: self.url.into(), status: status.as_u16() }),
        };
        let offered =
            response.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let size = self.remote.size;
        if let Some(got) = offered.map(|length: u64| start.saturating_add(length)).filter(|got| *got != size)
        {
            return Err(self.misfit(got));
        }
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let mut part = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&self.part)
            .map_err(io(&self.part))?;
        // A pipe or a device, which replaces a disk in tests, has no length to set.
        if part.metadata().is_ok_and(|about| about.is_file()) {
            part.set_len(start).map_err(io(&self.part))?;
            part.seek(SeekFrom::Start(start)).map_err(io(&self.part))?;
        }
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let (mut done, mut buffer) = (start, vec![0; 1 << 16]);
        loop {
            let n = match body.read(&mut buffer) {
                Ok(0) if done == size => return Ok(End::Whole),
                Ok(0) => return Ok(End::Broken("the connection ended early".into())),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(End::Broken(error.to_string())),
            };
            done += n as u64;
            if done > size {
                return Err(self.misfit(done));
            }
            part.write_all(&buffer[..n]).map_err(io(&self.part))?;
            watch(FetchProgress { file: &name, done, size });
        }
    }

    /// An error for a file of another size on the server. The partial file is removed.
    fn misfit(&self, got: u64) -> Error {
        // The size is reported, whether or not there was a partial file to remove.
        let _ = fs::remove_file(&self.part);
        Error::Size { url: self.url.into(), got, size: self.remote.size }
    }
}

/// The first byte of a partial response: "bytes 7-99/100".
fn range_start(response: &Response<ureq::Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// The published checksum.
pub(crate) fn published(digest: Digest) -> &'static str {
    match digest {
        Digest::Sha256(hex) | Digest::Md5(hex) => hex,
    }
}

/// The checksum of a file, of the same type as `kind`.
pub(crate) fn digest(file: &Path, kind: Digest) -> Result<String> {
    match kind {
        Digest::Sha256(_) => hash::<Sha256>(file),
        Digest::Md5(_) => hash::<Md5>(file),
    }
}

fn hash<H: sha2::Digest>(file: &Path) -> Result<String> {
    let mut bytes = File::open(file).map_err(io(file))?;
    let (mut hash, mut buffer) = (H::new(), vec![0; 1 << 16]);
    loop {
        match bytes.read(&mut buffer).map_err(io(file))? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}
