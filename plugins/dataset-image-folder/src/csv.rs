//! CSV files (RFC 4180) of files and labels.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use temper_core::{Bounded, DataError, Photo};

use crate::Labelled;

/// Names of the columns.
const FILES: [&str; 6] = ["file", "filename", "file_name", "image", "path", "filepath"];
const LABELS: [&str; 4] = ["label", "class", "category", "target"];

/// Maximum size of a file of images and labels.
const LONGEST: u64 = 1 << 30;
/// The description of such a file in messages.
const WHAT: &str = "a CSV file of images and labels";
/// Maximum size of a record in bytes. A record with a quoted field can span several lines.
const RECORD: usize = 1 << 20;
/// Maximum number of classes; a column with more does not contain labels.
const CLASSES: usize = 1 << 20;

/// A record, and the line on which it starts.
type Record = (usize, Vec<String>);

/// A row of the table.
struct Row {
    line: usize,
    file: String,
    label: String,
}

/// The images that the file `path` lists. The classes are the labels in the file `train`. Rows are processed
/// one by one: no more of them are kept than there are images.
pub(crate) fn read(train: &Path, path: &Path) -> Result<Labelled, DataError> {
    let classes = classes(train, CLASSES)?;
    let labels: HashMap<&str, u32> =
        classes.iter().enumerate().map(|(label, class)| (class.as_str(), label as u32)).collect();
    let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let (mut seen, mut listed) = (HashMap::new(), Listed::default());
    let mut photos = vec![];
    each_row(path, |Row { line, file, label }| {
        let fault = |what| DataError::Line { file: path.into(), line, what };
        let Some(&label) = labels.get(label.as_str()) else {
            return Err(fault(format!("label `{label}`, which {} does not have", train.display())));
        };
        if !listed.has(&root, Path::new(&file)) {
            return Err(fault(format!("no file `{}`", root.join(file).display())));
        }
        match seen.entry(file) {
            Entry::Vacant(new) => {
                photos.push(Photo { file: Path::new(new.key()).into(), label });
                new.insert(line);
                Ok(())
            }
            Entry::Occupied(earlier) => {
                Err(fault(format!("a second line for `{}`, after line {}", earlier.key(), earlier.get())))
            }
        }
    })?;
    Ok(Labelled { root, photos, classes, note: String::new() })
}

/// The labels of a file, sorted: at least two, at most `most`.
fn classes(path: &Path, most: usize) -> Result<Vec<String>, DataError> {
    let mut names = BTreeSet::new();
    each_row(path, |Row { line, label, .. }| {
        names.insert(label);
        match names.len() > most {
            true => Err(DataError::Line {
                file: path.into(),
                line,
                what: format!("more than {most} different labels, expected those of a few classes"),
            }),
            false => Ok(()),
        }
    })?;
    let mut names: Vec<String> = names.into_iter().collect();
    // Numbers are sorted numerically, so that they equal their labels if they start at 0.
    if names.iter().all(|class| class.parse::<u64>().is_ok()) {
        names.sort_by_key(|class| class.parse::<u64>().unwrap_or(0));
    }
    if names.len() < 2 {
        let what = "fewer than two labels: there is nothing to classify".into();
        return Err(DataError::Malformed { file: path.into(), at: None, what });
    }
    Ok(names)
}

/// File names by folder. Each folder is listed once, which is faster than checking each file.
#[derive(Default)]
struct Listed {
    names: HashMap<PathBuf, HashSet<OsString>>,
    /// The folder of a row's path. A folder can have many names (`a`, `a/../a`) but is listed once.
    folders: HashMap<PathBuf, Option<PathBuf>>,
}

impl Listed {
    /// Whether the file exists.
    fn has(&mut self, root: &Path, file: &Path) -> bool {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return false };
        if !self.folders.contains_key(folder) {
            self.folders.insert(folder.into(), fs::canonicalize(root.join(folder)).ok());
        }
        let Some(folder) = self.folders.get(folder).and_then(Option::as_ref) else { return false };
        if !self.names.contains_key(folder) {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            self.names.insert(folder.clone(), entries.map(|entry| entry.file_name()).collect());
        }
        self.names.get(folder).is_some_and(|names| names.contains(name))
    }
}

/// Passes the rows of a file, without its header, to a callback.
fn each_row(path: &Path, mut take: impl FnMut(Row) -> Result<(), DataError>) -> Result<(), DataError> {
    let fault = |line, what| DataError::Line { file: path.into(), line, what };
    let expected =
        "expected a header that names the columns `file` and `label`, or rows such as `cat/1.png,cat`";
    let lines = Bounded { file: path, most: LONGEST, what: WHAT }.lines()?.map(|line| Ok(line?));
    let mut records = CsvRecords { lines, line: 0, longest: RECORD, path };
    let Some((line, first)) = records.next()? else {
        return Err(fault(1, format!("an empty file, {expected}")));
    };
    let column = |names: &[&str]| first.iter().position(|name| names.contains(&&*name.trim().to_lowercase()));
    let (columns, header) = match (column(&FILES), column(&LABELS)) {
        (Some(file), Some(label)) => ((file, label), true),
        // Without a header the first row is an image.
        (None, None) if first.len() == 2 && Path::new(&first[0]).extension().is_some() => ((0, 1), false),
        _ => return Err(fault(line, format!("`{}`: {expected}", first.join(",")))),
    };
    let width = first.len();
    let row = |(line, mut fields): Record| {
        if fields.len() != width {
            return Err(fault(
                line,
                format!("{} columns, expected {width} as in the first line", fields.len()),
            ));
        }
        let [file, label] =
            [columns.0, columns.1].map(|column| std::mem::take(&mut fields[column]).trim().to_string());
        match file.is_empty() || label.is_empty() {
            true => Err(fault(line, "an empty field, expected a file and its label".into())),
            false => Ok(Row { line, file, label }),
        }
    };
    let mut next = if header { records.next()? } else { Some((line, first)) };
    if next.is_none() {
        return Err(fault(1, "a header and no images".into()));
    }
    while let Some(record) = next {
        take(row(record)?)?;
        next = records.next()?;
    }
    Ok(())
}

/// Records of a file, read one by one; empty lines are skipped.
struct CsvRecords<'p, L> {
    /// The lines of the file, from 1.
    lines: L,
    /// Number of the last line read.
    line: usize,
    /// Maximum size of a record in bytes.
    longest: usize,
    path: &'p Path,
}

impl<L: Iterator<Item = Result<(usize, String), DataError>>> CsvRecords<'_, L> {
    fn next(&mut self) -> Result<Option<Record>, DataError> {
        loop {
            let record = self.any()?;
            match &record {
                Some((_, fields)) if fields.len() == 1 && fields[0].trim().is_empty() => {}
                _ => return Ok(record),
            }
        }
    }

    /// The next record, which may be empty.
    fn any(&mut self) -> Result<Option<Record>, DataError> {
        let fault = |line, what| DataError::Line { file: self.path.into(), line, what };
        let (begun, mut bytes) = (self.line + 1, 0);
        let (mut fields, mut field) = (vec![], String::new());
        // The line on which an open quoted field started.
        let mut quoted = None;
        for next in self.lines.by_ref() {
            let (line, text) = next?;
            self.line = line;
            bytes += text.len();
            if bytes > self.longest {
                let quote = quoted.map_or(String::new(), |line| format!("; a quote opens on line {line}"));
                let what = format!(
                    "a row of more than {} bytes, expected a file and its label{quote}",
                    self.longest
                );
                return Err(fault(begun, what));
            }
            let mut characters = text.chars().peekable();
            while let Some(character) = characters.next() {
                match (character, quoted) {
                    ('"', Some(_)) if characters.peek() == Some(&'"') => field.extend(characters.next()),
                    ('"', Some(_)) => quoted = None,
                    ('"', None) if field.is_empty() => quoted = Some(line),
                    (',', None) => fields.push(std::mem::take(&mut field)),
                    ('\r', None) if characters.peek() == Some(&'\n') => {}
                    ('\n', None) => {
                        fields.push(field);
                        return Ok(Some((begun, fields)));
                    }
                    (character, _) => field.push(character),
                }
            }
        }
        if let Some(line) = quoted {
            return Err(fault(line, "a quote that nothing closes".into()));
        }
        if self.line < begun {
            return Ok(None);
        }
        fields.push(field);
        Ok(Some((begun, fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of a text, with a maximum size of each.
    fn records(text: &str, longest: usize) -> Result<Vec<Record>, String> {
        let lines = text.split_inclusive('\n').enumerate().map(|(at, line)| Ok((at + 1, line.to_string())));
        let mut records = CsvRecords { lines, line: 0, longest, path: Path::new("f") };
        let mut all = vec![];
        while let Some(record) = records.next().map_err(|error| error.to_string())? {
            all.push(record);
        }
        Ok(all)
    }

    #[test]
    fn records_are_those_of_the_standard() {
        let text = "a,b\r\n\n\"x, \"\"y\"\"\n2\",\" z\"\nlast,";
        let wanted = [(1, vec!["a", "b"]), (3, vec!["x, \"y\"\n2", " z"]), (5, vec!["last", ""])];
        let got = records(text, 99).unwrap();
        assert_eq!(got.len(), wanted.len());
        for ((line, fields), wanted) in got.iter().zip(wanted) {
            assert_eq!((*line, fields.iter().map(String::as_str).collect::<Vec<_>>()), wanted);
        }
        assert_eq!(records("a,b\n\"c,d\n", 99).unwrap_err(), "f:2: a quote that nothing closes");
        assert_eq!(records("a,b\n\n \n", 99).unwrap().len(), 1);
    }

    #[test]
    fn a_row_without_an_end_is_not_waited_for() {
        assert_eq!(records("a,b\nc,d", 4).unwrap().len(), 2);
        let row = "a row of more than 4 bytes, expected a file and its label";
        assert_eq!(records("a,b\n,,,,", 3).unwrap_err(), format!("f:1: {}", row.replace('4', "3")));
        assert_eq!(records("a,b\n,,,,,", 4).unwrap_err(), format!("f:2: {row}"));
        assert_eq!(
            records("a,b\nc,\"\nd\ne\n", 4).unwrap_err(),
            format!("f:2: {row}; a quote opens on line 2")
        );

        let folder = folder("");
        let file = folder.path().join("train.csv");
        let said = || {
            read(&file, &file).map(|_| ()).unwrap_err().to_string().replace(file.to_str().unwrap(), "FILE")
        };
        // Files without an end of line, and a file of line ends only.
        fs::File::create(&file).unwrap().set_len(20 << 30).unwrap();
        let told = "FILE: 21474836480 bytes, but a CSV file of images and labels may have 1073741824 (1 GiB) at most";
        assert!(said().starts_with(told), "{}", said());
        fs::File::create(&file).unwrap().set_len(1 << 30).unwrap();
        let zero = "FILE: a byte 0, which no text has: expected a CSV file of images and labels (at byte 0)";
        assert_eq!(said(), zero);
        fs::write(&file, "\n".repeat(1 << 20)).unwrap();
        assert!(said().starts_with("FILE:1: an empty file, expected a header"), "{}", said());
        fs::write(&file, "1.png,".repeat(1 << 20)).unwrap();
        assert_eq!(
            said(),
            "FILE:1: a line of more than 1048576 bytes, expected a CSV file of images and labels"
        );
        fs::write(&file, "1.png,".repeat(1 << 17)).unwrap();
        assert!(said().len() < 3000 && said().starts_with("FILE:1: `1.png,1.png,"), "{}", said().len());
        fs::write(&file, b"1.png,dog\n\xff").unwrap();
        assert_eq!(said(), "FILE: not UTF-8: expected a CSV file of images and labels (at byte 10)");
    }

    #[test]
    fn a_column_that_differs_in_every_row_is_none_of_labels() {
        let folder = folder("1.png,a\n2.png,b\nsub/3.png,c\n");
        let file = folder.path().join("train.csv");
        assert_eq!(classes(&file, 3).unwrap(), ["a", "b", "c"]);
        let said = classes(&file, 2).unwrap_err().to_string();
        assert!(
            said.ends_with("train.csv:3: more than 2 different labels, expected those of a few classes"),
            "{said}"
        );
    }

    #[test]
    fn a_folder_of_many_names_is_listed_once() {
        let folder = folder("");
        fs::create_dir(folder.path().join("a")).unwrap();
        let mut listed = Listed::default();
        for file in ["1.png", "./2.png", "a/../1.png", "sub/../a/../2.png", "sub/3.png", "a/../sub/3.png"] {
            assert!(listed.has(folder.path(), Path::new(file)), "{file}");
        }
        for file in ["3.png", "nowhere/../1.png", "a/1.png", "..", ""] {
            assert!(!listed.has(folder.path(), Path::new(file)), "{file}");
        }
        assert_eq!(listed.names.len(), 3, "{:?}", listed.names.keys());
    }

    fn folder(csv: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in ["1.png", "2.png", "sub/3.png"] {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        fs::write(folder.path().join("train.csv"), csv).unwrap();
        folder
    }

    fn labels(csv: &str) -> Result<(Vec<u32>, Vec<String>), String> {
        let folder = folder(csv);
        let file = folder.path().join("train.csv");
        let said = |e: DataError| e.to_string().replace(folder.path().to_str().unwrap(), "ROOT");
        let read = read(&file, &file).map_err(said)?;
        Ok((read.photos.iter().map(|photo| photo.label).collect(), read.classes))
    }

    #[test]
    fn a_header_may_be_there_in_any_order_or_not() {
        let wanted = (vec![1, 0, 1], vec!["cat".to_string(), "dog".to_string()]);
        for csv in [
            "file,label\n1.png,dog\n2.png,cat\nsub/3.png,dog\n",
            "\u{feff}Label,id,Path\r\ndog,0,1.png\r\ncat,1,2.png\r\ndog,2,sub/3.png",
            "1.png,dog\n2.png,cat\n\nsub/3.png, dog",
        ] {
            assert_eq!(labels(csv).unwrap(), wanted, "{csv}");
        }
        // Numbers are sorted as numbers.
        let (labels, classes) = labels("1.png,10\n2.png,9\nsub/3.png,0").unwrap();
        assert_eq!((labels, classes.join(" ")), (vec![2, 1, 0], "0 9 10".into()));
    }

    #[test]
    fn faults_name_file_and_line() {
        let expected =
            "expected a header that names the columns `file` and `label`, or rows such as `cat/1.png,cat`";
        for (csv, message) in [
            ("", format!("ROOT/train.csv:1: an empty file, {expected}")),
            ("name;what\n1.png;dog\n", format!("ROOT/train.csv:1: `name;what`: {expected}")),
            ("file,label\n", "ROOT/train.csv:1: a header and no images".into()),
            ("1.png,dog\n2.png\n", "ROOT/train.csv:2: 1 columns, expected 2 as in the first line".into()),
            ("1.png,dog\n2.png,\n", "ROOT/train.csv:2: an empty field, expected a file and its label".into()),
            ("1.png,dog\n2.png,cat\n\n4.png,cat\n", "ROOT/train.csv:4: no file `ROOT/4.png`".into()),
            (
                "1.png,dog\n2.png,cat\n1.png,cat\n",
                "ROOT/train.csv:3: a second line for `1.png`, after line 1".into(),
            ),
            (
                "1.png,dog\n2.png,dog\n",
                "ROOT/train.csv: fewer than two labels: there is nothing to classify".into(),
            ),
        ] {
            assert_eq!(labels(csv).unwrap_err(), message, "{csv}");
        }
    }
}
