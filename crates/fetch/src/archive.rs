//! Unpacking a `.tar.gz` that must bring one folder and nothing else.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};
use temper_data::rename_synced;

use crate::error::{Error, Result, io};

/// Unpacked bytes beyond which an archive is none of a data set.
const LARGEST: u64 = 4 << 30;

/// Unpacks `archive` so that `to/folder` appears, whole or not at all.
pub(crate) fn unpack(archive: &Path, to: &Path, folder: &str) -> Result<()> {
    let beside = to.join(format!(".{folder}.part"));
    clear(&beside)?;
    fs::create_dir_all(&beside).map_err(io(&beside))?;
    let unpacked = entries(archive, &beside, folder).and_then(|()| {
        let whole = beside.join(folder);
        match whole.is_dir() {
            true => rename_synced(&whole, &to.join(folder)).map_err(io(&to.join(folder))),
            false => {
                Err(Error::Archive { file: archive.into(), what: format!("it brings no folder {folder}") })
            }
        }
    });
    clear(&beside)?;
    unpacked
}

fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::Io { file: folder.into(), error })
        }
        _ => Ok(()),
    }
}

fn entries(archive: &Path, to: &Path, folder: &str) -> Result<()> {
    let refuse = |what: String| Error::Archive { file: archive.into(), what };
    let bytes = MultiGzDecoder::new(File::open(archive).map_err(io(archive))?);
    let mut left = LARGEST;
    for entry in Archive::new(bytes).entries().map_err(io(archive))? {
        let mut entry = entry.map_err(io(archive))?;
        let path = entry.path().map_err(io(archive))?.into_owned();
        let shown = path.display();
        let kind = entry.header().entry_type();
        let place =
            inside(&path, folder).ok_or_else(|| refuse(format!("`{shown}` lies outside of {folder}")))?;
        let place = to.join(place);
        match kind {
            EntryType::Directory => fs::create_dir_all(&place).map_err(io(&place))?,
            EntryType::Regular => {
                if let Some(parent) = place.parent() {
                    fs::create_dir_all(parent).map_err(io(parent))?;
                }
                let mut file = match File::create_new(&place) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        return Err(refuse(format!("it holds `{shown}` twice")));
                    }
                    other => other.map_err(io(&place))?,
                };
                let copied = io::copy(&mut entry.by_ref().take(left + 1), &mut file).map_err(io(&place))?;
                left =
                    left.checked_sub(copied).ok_or_else(|| refuse("it unpacks to more than 4 GiB".into()))?;
                file.sync_all().map_err(io(&place))?;
            }
            _ => return Err(refuse(format!("`{shown}` is neither a file nor a folder ({kind:?})"))),
        }
    }
    Ok(())
}

/// The path, if it is plain and begins with `folder`.
fn inside(path: &Path, folder: &str) -> Option<PathBuf> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let plain = parts
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    (plain.first() == Some(&OsStr::new(folder))).then(|| plain.iter().collect())
}
