//! The folder of `temper radii --save`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use temper_files::{Bounded, save_atomically};

use crate::png;
use crate::run_dir::{LOCK, Lock, entries, lock, remove};

/// The table as JSON. It lists all files that this command wrote into the folder; no others are replaced or removed.
pub(super) const TABLE: &str = "radii.json";
/// The sheet of images.
pub(super) const SHEETS: [&str; 2] = ["radii.svg", "radii.png"];
/// The option that names the folder, for errors.
const OPTION: &str = "--save DIR";
/// The value of `made_by`.
const MADE_BY: &str = "temper radii";
/// Maximum bytes of a table: a million samples.
const LARGEST: u64 = 1 << 30;

/// The folder of pictures.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Names of the files in it that this command wrote.
    own: BTreeSet<String>,
    /// Names of all other files in it.
    foreign: BTreeSet<String>,
    _lock: Option<Lock>,
}

/// The part of the table that says what the folder holds.
#[derive(Deserialize)]
struct Marker {
    made_by: String,
    files: BTreeSet<String>,
}

/// The table as it is written.
#[derive(Serialize)]
struct Marked<'a, T> {
    made_by: &'static str,
    files: &'a BTreeSet<String>,
    #[serde(flatten)]
    table: &'a T,
}

impl Folder {
    /// Checks whether the folder may be used, without changing anything: it must be empty or of this command.
    pub(super) fn choose(path: PathBuf) -> anyhow::Result<Self> {
        let names = entries(&path, OPTION)?.into_iter().map(|entry| entry.file_name());
        let traces = [LOCK.to_string(), format!("{TABLE}.part")];
        // Names that are not UTF-8 are no files of this command.
        let mut foreign: BTreeSet<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        foreign.retain(|name| !traces.contains(name));
        let mut own = BTreeSet::new();
        if !foreign.is_empty() {
            let file = path.join(TABLE);
            let bytes = Bounded { file: &file, most: LARGEST, what: "a table of radii" }.bytes().ok();
            let marker = bytes.and_then(|bytes| serde_json::from_slice::<Marker>(&bytes).ok());
            let Some(marker) = marker.filter(|marker| marker.made_by == MADE_BY) else {
                bail!(
                    "{} is not empty and holds no pictures of `temper radii`; choose another place with {OPTION}",
                    path.display()
                );
            };
            // Whatever the table says, only such names are ever removed.
            own = marker.files.into_iter().filter(|name| is_own(name)).collect();
            own.insert(TABLE.into());
            foreign.retain(|name| !own.contains(name));
        }
        Ok(Self { path, own, foreign, _lock: None })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Writes these files and the table, and removes the files of before. Until all of them are written, the table
    /// lists the ones of before, too, so that a killed command loses none of them and its folder is recognised.
    pub(super) fn write(self, files: &[(String, Vec<u8>)], table: &impl Serialize) -> anyhow::Result<()> {
        let lock = lock(&self.path, OPTION)?;
        // Another command may have used the folder in between.
        let Self { path, own, foreign, .. } = Self { _lock: Some(lock), ..Self::choose(self.path)? };
        let new: BTreeSet<String> = files.iter().map(|(name, _)| name.clone()).collect();
        if let Some(name) = new.iter().find(|name| foreign.contains(*name)) {
            bail!(
                "{} is there and was not written by `temper radii`; choose another place with {OPTION}",
                path.join(name).display()
            );
        }
        let write = |listed: &BTreeSet<String>| {
            let mut text = serde_json::to_vec_pretty(&Marked { made_by: MADE_BY, files: listed, table })?;
            text.push(b'\n');
            anyhow::Ok(save_atomically(&path.join(TABLE), &text)?)
        };
        write(&new.union(&own).cloned().collect())?;
        for (name, bytes) in files {
            save_atomically(&path.join(name), bytes)?;
        }
        for name in own.iter().filter(|name| *name != TABLE && !new.contains(*name)) {
            remove(&path.join(name))?;
        }
        write(&new)
    }
}

/// Whether this is the name of a picture or a sheet.
fn is_own(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    SHEETS.contains(&name) || png::what(name).is_some_and(|what| what.bytes().all(letter))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(folder: &std::path::Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_listed_files_are_replaced_and_nothing_outside_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        let path = outside.path().join("out");
        let write = |files: &[&str]| {
            let files: Vec<(String, Vec<u8>)> =
                files.iter().map(|name| (name.to_string(), name.as_bytes().to_vec())).collect();
            Folder::choose(path.clone())
                .and_then(|folder| folder.write(&files, &serde_json::json!({ "n": 1 })))
        };
        write(&["00001-dress.png", "00002-coat.png", "radii.svg"]).unwrap();
        fs::write(path.join("00009-mine.png"), "mine").unwrap();
        write(&["00002-coat.png", "00003-bag.png"]).unwrap();
        let expected = ["00002-coat.png", "00003-bag.png", "00009-mine.png", "lock", "radii.json"];
        assert_eq!(names(&path), expected);
        let refused = write(&["00009-mine.png"]).unwrap_err().to_string();
        assert!(refused.contains("00009-mine.png is there and was not written by"), "{refused}");
        assert_eq!(fs::read_to_string(path.join("00009-mine.png")).unwrap(), "mine");
        // A table that lists files of others.
        fs::write(outside.path().join("00001-x.png"), "").unwrap();
        let table = r#"{ "made_by": "temper radii", "files": ["../00001-x.png", "lock", "holiday.png"] }"#;
        fs::write(path.join(TABLE), table).unwrap();
        fs::write(path.join("holiday.png"), "").unwrap();
        write(&["00004-bag.png"]).unwrap();
        assert!(outside.path().join("00001-x.png").exists() && path.join("holiday.png").exists());
        // A file of that name that is another's.
        fs::write(path.join(TABLE), r#"{ "radii": [] }"#).unwrap();
        let refused = write(&["00004-bag.png"]).unwrap_err().to_string();
        assert!(refused.contains("is not empty and holds no pictures of `temper radii`"), "{refused}");
    }
}
