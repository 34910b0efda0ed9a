//! The file of records: a line a batch, appended once the batch is judged. What it holds need not be judged again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use temper_data::rename_synced;

use crate::Error;
use crate::digest::DataDigest;
use crate::record::Line;

/// A power cut costs no more than what was judged in so long.
const SYNC: Duration = Duration::from_secs(10);

/// What can be wrong with a file of records.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// It cannot be read or written.
    #[error("cannot {what} {}: {source}", file.display())]
    Io {
        /// Read or write.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Lines that cannot be of an evaluation's images and attacks.
    #[error("{}: the records of the evaluation `{evaluation}` {what}\n  remove the file to judge anew", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// The evaluation.
        evaluation: String,
        /// The fault.
        what: String,
    },
    /// A line that is none.
    #[error("{}:{line}: {what}\n  remove the file to judge anew", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// The fault.
        what: String,
    },
}

/// Judged batches, in a file or in memory alone.
#[derive(Debug, Default)]
pub struct Records {
    lines: Vec<Line>,
    file: Option<(PathBuf, File)>,
    synced: Option<Instant>,
}

impl Records {
    /// Nothing judged, and nothing to be kept.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Reads a file's lines. A last one that is torn, as a kill may leave it, was never there.
    pub fn read(file: &Path) -> Result<Vec<Line>, RecordsError> {
        Ok(Self::parse(file)?.0)
    }

    /// The lines, and whether there was anything else.
    fn parse(file: &Path) -> Result<(Vec<Line>, bool), RecordsError> {
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((vec![], false)),
            Err(source) => return Err(RecordsError::Io { what: "read", file: file.into(), source }),
        };
        let mut lines = vec![];
        let mut parts = text.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
        while let Some((i, part)) = parts.next() {
            let line = serde_json::from_slice::<Line>(part).map_err(|error| error.to_string());
            let line = line.and_then(|line| match line.samples.fit() {
                true if DataDigest::parse(&line.data).is_some() => Ok(line),
                true => Err(format!("`{}` is no hash of data", line.data)),
                false => Err("columns of different lengths".into()),
            });
            match line {
                Ok(line) if part.ends_with(b"\n") => lines.push(line),
                Ok(_) => return Ok((lines, true)),
                // What a kill or a power cut tore stands at the end.
                Err(_) if parts.peek().is_none() => return Ok((lines, true)),
                Err(what) => return Err(RecordsError::Malformed { file: file.into(), line: i + 1, what }),
            }
        }
        Ok((lines, false))
    }

    /// Takes up a file, without the lines that are not to be kept; it is made if it is not there.
    pub fn open(file: &Path, keep: impl Fn(&Line) -> bool) -> Result<Self, RecordsError> {
        let fault = |source| RecordsError::Io { what: "write", file: file.into(), source };
        let (mut lines, torn) = Self::parse(file)?;
        let all = lines.len();
        lines.retain(keep);
        if torn || lines.len() < all {
            let part = file.with_extension("jsonl.part");
            let mut out = io::BufWriter::new(File::create(&part).map_err(fault)?);
            for line in &lines {
                out.write_all(&text(line)).map_err(fault)?;
            }
            out.into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|out| out.sync_all())
                .map_err(fault)?;
            rename_synced(&part, file).map_err(fault)?;
        }
        let out = File::options().append(true).create(true).open(file).map_err(fault)?;
        Ok(Self { lines, file: Some((file.into(), out)), synced: None })
    }

    /// Keeps a batch. In a file its line is whole or not there at all.
    pub fn append(&mut self, line: Line) -> Result<(), RecordsError> {
        if let Some((file, out)) = &mut self.file {
            let fault = |source| RecordsError::Io { what: "write", file: file.clone(), source };
            out.write_all(&text(&line)).map_err(fault)?;
            if self.synced.is_none_or(|synced| synced.elapsed() > SYNC) {
                out.sync_data().map_err(fault)?;
                self.synced = Some(Instant::now());
            }
        }
        self.lines.push(line);
        Ok(())
    }

    /// All of them.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    pub(crate) fn foreign(&self, evaluation: &str, what: &str) -> Error {
        let file = self.file.as_ref().map_or_else(PathBuf::new, |(file, _)| file.clone());
        RecordsError::Foreign { file, evaluation: evaluation.into(), what: what.into() }.into()
    }
}

fn text(line: &Line) -> Vec<u8> {
    // A line is made of numbers, texts and maps by text: there is nothing that JSON could refuse.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Columns, Record};

    fn line(key: &str, sample: u64) -> Line {
        Line {
            evaluation: "pgd".into(),
            weights: "last".into(),
            corruption: None,
            key: key.into(),
            fingerprint: None,
            data: DataDigest::default().to_string(),
            samples: Columns::of(vec![Record { sample, ..Record::default() }]),
            unreadable: [].into(),
            costs: vec![],
        }
    }

    #[test]
    fn a_torn_end_was_never_there_and_stale_lines_go() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.jsonl");
        let mut records = Records::open(&file, |_| true).unwrap();
        for i in 0..3 {
            records.append(line(if i == 1 { "old" } else { "new" }, i)).unwrap();
        }
        let whole = fs::read(&file).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in [whole.len() - 1, whole.len() - 9, whole.len()] {
            fs::write(&file, &whole[..cut]).unwrap();
            let records = Records::open(&file, |line| line.key == "new").unwrap();
            let samples: Vec<u64> = records.lines().flat_map(|l| l.samples.samples().to_vec()).collect();
            assert_eq!(samples, if cut == whole.len() { vec![0, 2] } else { vec![0] });
            let expected = if cut == whole.len() { 2 } else { 1 };
            assert_eq!(Records::read(&file).unwrap().len(), expected);
            assert_eq!(fs::read(&file).unwrap()[..first], whole[..first]);
        }
    }

    #[test]
    fn a_fault_in_the_middle_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.jsonl");
        let good = String::from_utf8(text(&line("k", 1))).unwrap();
        fs::write(&file, format!("{good}nonsense\n{good}")).unwrap();
        let error = Records::read(&file).unwrap_err().to_string();
        assert!(error.contains("records.jsonl:2: expected"), "{error}");
        fs::write(&file, format!("{}{good}", good.replace("[1]", "[1,2]"))).unwrap();
        let error = Records::read(&file).unwrap_err().to_string();
        assert!(error.contains("records.jsonl:1: columns of different lengths"), "{error}");
        assert_eq!(Records::read(&folder.path().join("none")).unwrap(), []);
    }
}
