//! The binary version: records of one or two label bytes and 3,072 pixel bytes; class names in a text file.

use std::fs;
use std::path::{Path, PathBuf};

use temper_core::DataError;

use crate::{PIXELS, Part, check_labels};

/// Reads a file of records with `labels` label bytes each, of which the last counts.
pub(crate) fn read(file: PathBuf, labels: usize, classes: usize) -> Result<Part, DataError> {
    let bytes = fs::read(&file).map_err(|source| DataError::Io { file: file.clone(), source })?;
    parse(file, bytes, labels, classes)
}

fn parse(file: PathBuf, bytes: Vec<u8>, labels: usize, classes: usize) -> Result<Part, DataError> {
    let record = labels + PIXELS;
    let over = bytes.len() % record;
    if bytes.is_empty() || over != 0 {
        let at = Some((bytes.len() - over) as u64);
        let what = match bytes.is_empty() {
            true => format!("an empty file, expected records of {record} bytes"),
            false => format!("the last record has {over} bytes, expected {record}"),
        };
        return Err(DataError::Malformed { file, at, what });
    }
    let found: Vec<u8> = bytes.chunks_exact(record).map(|record| record[labels - 1]).collect();
    check_labels(&file, &found, classes, |i| Some((i * record + labels - 1) as u64))?;
    Ok(Part { file, bytes, stride: record, offset: labels, labels: found })
}

/// The names of the classes, a line each.
pub(crate) fn class_names(file: &Path) -> Result<Vec<String>, DataError> {
    let text = fs::read_to_string(file).map_err(|source| DataError::Io { file: file.into(), source })?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(labels: &[&[u8]]) -> Vec<u8> {
        let record = |(i, labels): (usize, &&[u8])| [labels, &[i as u8; PIXELS][..]].concat();
        labels.iter().enumerate().flat_map(record).collect()
    }

    fn read(bytes: Vec<u8>, labels: usize, classes: usize) -> Result<Part, String> {
        parse("f".into(), bytes, labels, classes).map_err(|e| e.to_string())
    }

    #[test]
    fn records_of_both_kinds_give_their_last_label() {
        assert_eq!(read(records(&[&[3], &[9]]), 1, 10).unwrap().labels, [3, 9]);
        assert_eq!(read(records(&[&[19, 99], &[0, 7]]), 2, 100).unwrap().labels, [99, 7]);
    }

    #[test]
    fn faults_name_the_byte() {
        let mut cut = records(&[&[3], &[9]]);
        cut.truncate(4000);
        let faults = [
            (read(cut, 1, 10), "f: the last record has 927 bytes, expected 3073 (at byte 3073)"),
            (read(vec![], 1, 10), "f: an empty file, expected records of 3073 bytes (at byte 0)"),
            (read(records(&[&[3], &[10]]), 1, 10), "f: label 10 of image 1, expected 0 to 9 (at byte 3073)"),
            (
                read(records(&[&[0, 3], &[0, 100]]), 2, 100),
                "f: label 100 of image 1, expected 0 to 99 (at byte 3075)",
            ),
        ];
        for (got, want) in faults {
            assert_eq!(got.unwrap_err(), want);
        }
    }
}
