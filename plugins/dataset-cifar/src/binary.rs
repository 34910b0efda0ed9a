//! The binary version: records of one or two label bytes and 3,072 pixel bytes; class names in a text file.

use std::path::{Path, PathBuf};

use temper_core::DataError;

use crate::images::{BatchFile, PIXELS, load, load_names, wrong_count, wrong_label};

/// Reads a file of records with `labels` label bytes each, of which the last is used.
pub(crate) fn read(file: PathBuf, labels: usize, classes: usize) -> Result<BatchFile, DataError> {
    let bytes = load(&file, |size, _| whole(size, labels + PIXELS))?;
    part(bytes, labels, classes).map_err(|(at, what)| malformed(file, at, what))
}

/// The class names, one per line.
pub(crate) fn class_names(file: &Path, classes: usize) -> Result<Vec<String>, DataError> {
    names(&load_names(file)?, classes).map_err(|(at, what)| malformed(file.into(), at, what))
}

fn malformed(file: PathBuf, at: usize, what: String) -> DataError {
    DataError::Malformed { file, at: Some(at as u64), what }
}

/// An error unless a file of this size consists of complete records.
fn whole(size: u64, record: usize) -> Result<(), (usize, String)> {
    match (size, size % record as u64) {
        (0, _) => Err((0, format!("an empty file, expected records of {record} bytes"))),
        (_, 0) => Ok(()),
        (_, over) => {
            Err(((size - over) as usize, format!("the last record has {over} bytes, expected {record}")))
        }
    }
}

fn part(bytes: Vec<u8>, labels: usize, classes: usize) -> Result<BatchFile, (usize, String)> {
    let record = labels + PIXELS;
    whole(bytes.len() as u64, record)?;
    let found: Vec<u8> = bytes.chunks_exact(record).map(|record| record[labels - 1]).collect();
    match found.iter().position(|label| usize::from(*label) >= classes) {
        Some(image) => Err((image * record + labels - 1, wrong_label(found[image], image, classes))),
        None => Ok(BatchFile { bytes, offset: labels, stride: record, labels: found }),
    }
}

fn names(bytes: &[u8], classes: usize) -> Result<Vec<String>, (usize, String)> {
    let text = str::from_utf8(bytes)
        .map_err(|fault| (fault.valid_up_to(), "class names that are not UTF-8".to_string()))?;
    let names: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_string()).collect();
    if let Some(line) = names.iter().position(String::is_empty) {
        let at = text.split_inclusive('\n').take(line).map(str::len).sum();
        return Err((at, format!("no class name in line {}", line + 1)));
    }
    match names.len() == classes {
        true => Ok(names),
        false => Err((bytes.len(), wrong_count(names.len(), classes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(labels: &[&[u8]]) -> Vec<u8> {
        let record = |(i, labels): (usize, &&[u8])| [labels, &[i as u8; PIXELS][..]].concat();
        labels.iter().enumerate().flat_map(record).collect()
    }

    #[test]
    fn records_of_both_kinds_give_their_last_label() {
        assert_eq!(part(records(&[&[3], &[9]]), 1, 10).unwrap().labels, [3, 9]);
        let part = part(records(&[&[19, 99], &[0, 7]]), 2, 100).unwrap();
        assert_eq!(part.labels, [99, 7]);
        assert_eq!(part.bytes[part.offset + part.stride..], [1; PIXELS]);
    }

    #[test]
    fn faults_name_the_byte() {
        let mut cut = records(&[&[3], &[9]]);
        cut.truncate(4000);
        for (bytes, labels, classes, at, what) in [
            (cut, 1, 10, 3073, "the last record has 927 bytes, expected 3073"),
            (vec![5], 2, 100, 0, "the last record has 1 bytes, expected 3074"),
            (vec![], 1, 10, 0, "an empty file, expected records of 3073 bytes"),
            (records(&[&[3], &[10]]), 1, 10, 3073, "label 10 of image 1, expected 0 to 9"),
            (records(&[&[255, 3], &[0, 100]]), 2, 100, 3075, "label 100 of image 1, expected 0 to 99"),
        ] {
            assert_eq!(part(bytes, labels, classes).unwrap_err(), (at, what.to_string()));
        }
    }

    #[test]
    fn class_names_are_lines() {
        for good in ["a\nb\n", "a\nb", "a\r\nb\r\n", "a\nb\n\n \n"] {
            assert_eq!(names(good.as_bytes(), 2).unwrap(), ["a", "b"], "{good:?}");
        }
        for (bytes, at, what) in [
            (&b"a\n"[..], 2, "1 class names, expected 2"),
            (b"", 0, "0 class names, expected 2"),
            (b"a\n\nb\n", 2, "no class name in line 2"),
            (b"\na\n", 0, "no class name in line 1"),
            (b"a\n\xff\n", 2, "class names that are not UTF-8"),
        ] {
            assert_eq!(names(bytes, 2).unwrap_err(), (at, what.to_string()));
        }
    }
}
