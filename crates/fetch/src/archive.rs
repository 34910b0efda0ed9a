//! Unpacks a `.tar.gz` that must contain one folder and nothing else.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};
use temper_files::rename_synced;

use crate::error::{Error, Result, io};

/// Maximum total size of the unpacked files.
const LARGEST: u64 = 4 << 30;
/// Maximum size of the unpacked data between the files, such as names.
const NAMES: u64 = 64 << 20;

/// Unpacks `archive` so that `to/folder` appears, completely or not at all.
pub(crate) fn unpack(archive: &Path, to: &Path, folder: &str) -> Result<()> {
    let beside = to.join(format!(".{folder}.part"));
    clear(&beside)?;
    fs::create_dir_all(&beside).map_err(io(&beside))?;
    let unpacked = entries(archive, &beside, folder, [LARGEST, NAMES]).and_then(|()| {
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

/// The remaining limits of an archive.
struct Metered<'m, R> {
    reader: R,
    left: &'m Cell<u64>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::other("it goes on"));
        }
        let n = self.reader.by_ref().take(self.left.get()).read(bytes)?;
        self.left.set(self.left.get() - n as u64);
        Ok(n)
    }
}

/// Limits the size of files, and of the data between them.
fn entries(archive: &Path, to: &Path, folder: &str, [largest, names]: [u64; 2]) -> Result<()> {
    let refuse = |what: String| Error::Archive { file: archive.into(), what };
    let file = File::open(archive).map_err(io(archive))?;
    let left = Cell::new(names);
    let reader = Metered { reader: MultiGzDecoder::new(file), left: &left };
    let unpacked = metered(archive, reader, to, (folder, largest));
    // An archive can consist of names only, and a name can have any length.
    match left.get() {
        0 => Err(refuse(format!("beside its files it holds more than {names} bytes"))),
        _ => unpacked,
    }
}

fn metered(
    archive: &Path,
    reader: Metered<impl Read>,
    to: &Path,
    (folder, mut largest): (&str, u64),
) -> Result<()> {
    let refuse = |what: String| Error::Archive { file: archive.into(), what };
    let left = reader.left;
    for entry in Archive::new(reader).entries().map_err(io(archive))? {
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
                largest = largest
                    .checked_sub(entry.size())
                    .ok_or_else(|| refuse("it unpacks to more than 4 GiB".into()))?;
                left.set(left.get() + entry.size());
                io::copy(&mut entry, &mut file).map_err(io(&place))?;
                file.sync_all().map_err(io(&place))?;
            }
            _ => return Err(refuse(format!("`{shown}` is neither a file nor a folder ({kind:?})"))),
        }
    }
    Ok(())
}

/// The path, if it has only normal components and begins with `folder`.
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

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    /// A compressed archive of entries: kind, path, content.
    fn packed(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(vec![], Compression::fast()));
        for (kind, path, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn unpacked(bytes: &[u8], bounds: [u64; 2]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("set.tar.gz");
        fs::write(&archive, bytes).unwrap();
        entries(&archive, folder.path(), "set", bounds).map_err(|error| error.to_string())
    }

    #[test]
    fn an_archive_unpacks_to_no_more_than_its_bounds() {
        let file = |path: &'static str| (EntryType::Regular, path, &[7; 600][..]);
        let two = packed(&[file("set/a"), file("set/b")]);
        unpacked(&two, [1200, 8192]).unwrap();
        let told = unpacked(&two, [1199, 8192]).unwrap_err();
        assert!(told.contains("refused: it unpacks to more than 4 GiB"), "{told}");
        let names = "refused: beside its files it holds more than 8192 bytes; nothing was unpacked";
        // Folders without end, and a name without end.
        let folders = packed(&vec![(EntryType::Directory, "set/a", &[][..]); 40]);
        let name = vec![b'x'; 1 << 20];
        let long = packed(&[(EntryType::GNULongName, "x", &name), file("set/a")]);
        for bomb in [folders, long] {
            unpacked(&bomb, [1200, 8192])
                .map_err(|told| assert!(told.contains(names), "{told}"))
                .unwrap_err();
            // With suitable limits it is not refused for its size, whatever else is wrong.
            let told = unpacked(&bomb, [1200, 4 << 20]).err().unwrap_or_default();
            assert!(!told.contains("beside its files"), "{told}");
        }
    }
}
