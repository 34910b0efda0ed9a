//! The file of records: a line a batch, appended once the batch is judged. What it holds need not be judged again.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use temper_files::rename_synced;

use crate::error::RecordsError;
use crate::line::Line;

/// A power cut costs no more than what was judged in so long.
const SYNC: Duration = Duration::from_secs(10);

/// Bytes of a line; that of a batch of ten thousand samples has about a million. A file may have any number of them.
const LONGEST: u64 = 32 << 20;

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
        let fault = |source| RecordsError::Io { what: "read", file: file.into(), source };
        match fs::metadata(file) {
            Ok(about) if about.is_file() || about.is_dir() => {}
            Ok(_) => return Err(fault(io::Error::other("a pipe or a device, expected a file of records"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((vec![], false)),
            Err(error) => return Err(fault(error)),
        }
        let reader = BufReader::new(File::open(file).map_err(fault)?);
        Self::parse_from(file, reader, LONGEST)
    }

    /// Those of a reader, of at most so many bytes each.
    fn parse_from(
        file: &Path,
        mut reader: impl BufRead,
        longest: u64,
    ) -> Result<(Vec<Line>, bool), RecordsError> {
        let fault = |source| RecordsError::Io { what: "read", file: file.into(), source };
        let (mut lines, mut part) = (vec![], vec![]);
        for number in 1.. {
            part.clear();
            reader.by_ref().take(longest + 1).read_until(b'\n', &mut part).map_err(fault)?;
            if part.is_empty() {
                break;
            }
            let malformed = |what: String| RecordsError::Malformed {
                file: file.into(),
                line: number,
                // It may repeat what stands there.
                what: what.chars().take(500).collect(),
            };
            if part.len() as u64 > longest {
                return Err(malformed(format!("a line of more than {longest} bytes, which no batch has")));
            }
            let line = serde_json::from_slice::<Line>(&part);
            let torn = !part.ends_with(b"\n") || line.as_ref().is_err_and(serde_json::Error::is_eof);
            let line = line.map_err(|error| error.to_string()).and_then(|line| match line.samples.fit() {
                true => Ok(line),
                false => Err("columns of different lengths".into()),
            });
            match line {
                Ok(line) if part.ends_with(b"\n") => lines.push(line),
                Ok(_) => return Ok((lines, true)),
                // A kill or a power cut leaves a last line without its end, or one that ends within a value.
                Err(_) if torn && reader.fill_buf().map_err(fault)?.is_empty() => return Ok((lines, true)),
                Err(what) => return Err(malformed(what)),
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

    /// The error that lines of this evaluation cannot be of its images and attacks.
    pub fn foreign(&self, evaluation: &str, what: &str) -> RecordsError {
        let file = self.file.as_ref().map_or_else(PathBuf::new, |(file, _)| file.clone());
        RecordsError::Foreign { file, evaluation: evaluation.into(), what: what.into() }
    }
}

fn text(line: &Line) -> Vec<u8> {
    // A line is made of numbers, texts and maps by text: there is nothing that JSON could refuse.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

/// How inputs of fuzzing are kept.
#[cfg(test)]
#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::DataDigest;
    use crate::record::{Columns, Record};

    fn line(key: &str, sample: u64) -> Line {
        Line {
            evaluation: "pgd".into(),
            weights: "last".into(),
            corruption: None,
            key: key.into(),
            fingerprint: None,
            data: DataDigest::default(),
            probabilities: false,
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
        // A whole last line that is not understood was not torn: another version may have written it.
        fs::write(&file, good.replace("\"loss\"", "\"lost\"")).unwrap();
        let error = Records::read(&file).unwrap_err().to_string();
        assert!(error.contains("records.jsonl:1: unknown field `lost`"), "{error}");
        assert!(error.contains("another version of temper"), "{error}");
        assert_eq!(Records::read(&folder.path().join("none")).unwrap(), []);
    }

    #[test]
    fn a_line_without_an_end_is_not_waited_for() {
        let good = String::from_utf8(text(&line("k", 1))).unwrap();
        let parse = |text: &str, longest: usize| {
            let parsed = Records::parse_from(Path::new("r"), text.as_bytes(), longest as u64);
            parsed.map(|(lines, torn)| (lines.len(), torn)).map_err(|error| error.to_string())
        };
        let two = good.clone() + &good;
        assert_eq!(parse(&two, good.len()).unwrap(), (2, false));
        let told = parse(&two, good.len() - 1).unwrap_err();
        let most = good.len() - 1;
        assert!(
            told.starts_with(&format!("r:1: a line of more than {most} bytes, which no batch has\n")),
            "{told}"
        );
        assert_eq!(parse(&good[..9], 9).unwrap(), (0, true));

        // 20 GiB of zeros that take no disk.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.jsonl");
        fs::write(&file, &good).unwrap();
        File::options().write(true).open(&file).unwrap().set_len(20 << 30).unwrap();
        let told = Records::read(&file).unwrap_err().to_string();
        assert!(told.contains("records.jsonl:2: a line of more than 33554432 bytes"), "{told}");
        #[cfg(unix)]
        {
            let told = Records::read(Path::new("/dev/zero")).unwrap_err().to_string();
            assert_eq!(told, "cannot read /dev/zero: a pipe or a device, expected a file of records");
        }
    }

    /// Each takes another way through the reader. `fuzz/README.md` says where they come from.
    #[test]
    fn inputs_that_fuzzing_kept_are_an_error_or_lines_that_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.jsonl");
        kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/records"), |input| {
            fs::write(&file, input).unwrap();
            for line in Records::read(&file).unwrap_or_default() {
                fs::write(&file, text(&line)).unwrap();
                assert_eq!(Records::read(&file).unwrap().len(), 1);
            }
        });
    }
}
