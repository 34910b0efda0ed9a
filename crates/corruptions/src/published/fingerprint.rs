//! Identifies files without reading them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};
use temper_data::{Error, Result, class_names};
use temper_files::hex;

/// A hash of the paths, sizes and modification times of files.
pub(super) fn of_files(title: &str, files: &[PathBuf]) -> Result<String> {
    let mut hash = Sha256::new_with_prefix(title);
    for file in files {
        add(&mut hash, file, true)?;
    }
    Ok(hex(&hash.finalize()))
}

/// A hash of the paths and modification times of a folder and of its class folders.
pub(super) fn of_tree(title: &str, folder: &Path) -> Result<String> {
    let mut hash = Sha256::new_with_prefix(title);
    add(&mut hash, folder, false)?;
    for class in class_names(folder)? {
        add(&mut hash, &folder.join(class), false)?;
    }
    Ok(hex(&hash.finalize()))
}

/// Sizes of folders carry no information.
fn add(hash: &mut Sha256, path: &Path, sized: bool) -> Result<()> {
    let io = |source| Error::Io { file: path.into(), source };
    let data = fs::metadata(path).map_err(io)?;
    // Times before 1970 are supported.
    let (before, time) = match data.modified().map_err(io)?.duration_since(UNIX_EPOCH) {
        Ok(since) => (0, since.as_nanos()),
        Err(error) => (1, error.duration().as_nanos()),
    };
    let name = path.as_os_str().as_encoded_bytes();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update(if sized { data.len() } else { 0 }.to_le_bytes());
    hash.update([before]);
    hash.update(time.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::super::PublishedSet;
    use super::*;
    use crate::kind::{CorruptionKind, CorruptionSeverity};

    /// Sets the modification time of a file or a folder, in seconds since 1970.
    fn touch(path: &Path, seconds: i64) {
        let away = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 { UNIX_EPOCH - away } else { UNIX_EPOCH + away };
        File::open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn arrays_are_told_apart_by_path_size_time_kind_and_severity() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str| root.path().join(name);
        let of = |set: PublishedSet, kind, severity: usize| {
            set.fingerprint(root.path(), kind, CorruptionSeverity::ALL[severity])
                .map_err(|error| error.to_string())
        };
        let fog = || of(PublishedSet::Cifar10C, CorruptionKind::Fog, 0).unwrap();
        for name in ["fog.npy", "snow.npy", "labels.npy"] {
            fs::write(file(name), "as long").unwrap();
            touch(&file(name), 100);
        }
        let first = fog();
        assert_eq!((first.len(), fog()), (64, first.clone()));
        let mut others = vec![
            of(PublishedSet::Cifar100C, CorruptionKind::Fog, 0).unwrap(),
            of(PublishedSet::Cifar10C, CorruptionKind::Snow, 0).unwrap(),
            of(PublishedSet::Cifar10C, CorruptionKind::Fog, 1).unwrap(),
        ];
        for name in ["fog.npy", "labels.npy"] {
            for time in [101, -100] {
                touch(&file(name), time);
                others.push(fog());
            }
            fs::write(file(name), "longer than it was").unwrap();
            touch(&file(name), 100);
            others.push(fog());
            fs::write(file(name), "as long").unwrap();
            touch(&file(name), 100);
            assert_eq!(fog(), first);
        }
        others.push(first);
        let n = others.len();
        others.sort();
        others.dedup();
        assert_eq!(others.len(), n);
        fs::remove_file(file("labels.npy")).unwrap();
        let said = of(PublishedSet::Cifar10C, CorruptionKind::Fog, 0).unwrap_err();
        assert!(said.starts_with(&format!("cannot read {}", file("labels.npy").display())), "{said}");
    }

    #[test]
    fn trees_are_told_apart_by_the_times_of_their_folders() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("weather/fog/2");
        for class in ["n1", "n2"] {
            fs::create_dir_all(folder.join(class)).unwrap();
        }
        let of = || {
            PublishedSet::ImageNetC
                .fingerprint(root.path(), CorruptionKind::Fog, CorruptionSeverity::ALL[1])
                .unwrap()
        };
        let still = || ["", "n1", "n2"].map(|class| touch(&folder.join(class), 100));
        still();
        let first = of();
        fs::write(folder.join("n2/a.JPEG"), "").unwrap();
        assert_ne!(of(), first);
        still();
        assert_eq!(of(), first);
        fs::rename(folder.join("n2"), folder.join("n3")).unwrap();
        touch(&folder, 100);
        assert_ne!(of(), first);
        let missing =
            PublishedSet::ImageNetC.fingerprint(root.path(), CorruptionKind::Fog, CorruptionSeverity::ALL[2]);
        assert!(missing.unwrap_err().to_string().starts_with("no fog/3 of ImageNet-C found"));
    }
}
