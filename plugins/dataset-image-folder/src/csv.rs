//! CSV files (RFC 4180) of files and labels.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use temper_core::{DataError, Photo};

use crate::Labelled;

/// Names of the columns, as people write them.
const FILES: [&str; 6] = ["file", "filename", "file_name", "image", "path", "filepath"];
const LABELS: [&str; 4] = ["label", "class", "category", "target"];

/// A record, with the line on which it begins.
type Record = (usize, Vec<String>);

/// A line of the table.
struct Row {
    line: usize,
    file: String,
    label: String,
}

/// The images that the file `path` names; the classes are the labels in the file `train`.
pub(crate) fn read(train: &Path, path: &Path) -> Result<Labelled, DataError> {
    let rows = rows(path)?;
    let mut classes: Vec<String> = match path == train {
        true => names(&rows),
        false => names(&self::rows(train)?),
    };
    // Numbers in the order of numbers, so that they are their own labels where they begin with 0.
    if classes.iter().all(|class| class.parse::<u64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<u64>().unwrap_or(0));
    }
    if classes.len() < 2 {
        let what = "fewer than two labels: there is nothing to classify".into();
        return Err(DataError::Malformed { file: train.into(), at: None, what });
    }
    let labels: HashMap<&str, u32> =
        classes.iter().enumerate().map(|(label, class)| (class.as_str(), label as u32)).collect();
    let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let (mut seen, mut listed) = (HashMap::new(), BTreeMap::new());
    let mut photos = vec![];
    for Row { line, file, label } in &rows {
        let fault = |what| DataError::Line { file: path.into(), line: *line, what };
        let Some(&label) = labels.get(label.as_str()) else {
            return Err(fault(format!("label `{label}`, which {} does not have", train.display())));
        };
        if let Some(earlier) = seen.insert(file.as_str(), line) {
            return Err(fault(format!("a second line for `{file}`, after line {earlier}")));
        }
        if !exists(&root, Path::new(file), &mut listed) {
            return Err(fault(format!("no file `{}`", root.join(file).display())));
        }
        photos.push(Photo { file: Path::new(file).into(), label });
    }
    Ok(Labelled { root, photos, classes, note: String::new() })
}

/// Is there such a file? Each folder is read once, which is faster than a look at each file.
fn exists(root: &Path, file: &Path, listed: &mut BTreeMap<PathBuf, HashSet<OsString>>) -> bool {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return false };
    let names = listed.entry(folder.into()).or_insert_with(|| {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).collect()
    });
    names.contains(name)
}

fn names(rows: &[Row]) -> Vec<String> {
    let names: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    names.into_iter().map(String::from).collect()
}

/// The rows of a file, without its header.
fn rows(path: &Path) -> Result<Vec<Row>, DataError> {
    let fault = |line, what| DataError::Line { file: path.into(), line, what };
    let bytes = fs::read(path).map_err(|source| DataError::Io { file: path.into(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = Some(error.utf8_error().valid_up_to() as u64);
        DataError::Malformed { file: path.into(), at, what: "not UTF-8: expected a CSV file".into() }
    })?;
    let records = records(text.trim_start_matches('\u{feff}')).map_err(|(line, what)| fault(line, what))?;
    let expected =
        "expected a header that names the columns `file` and `label`, or rows such as `cat/1.png,cat`";
    let Some((line, first)) = records.first() else {
        return Err(fault(1, format!("an empty file, {expected}")));
    };
    let column = |names: &[&str]| first.iter().position(|name| names.contains(&&*name.trim().to_lowercase()));
    let (columns, header) = match (column(&FILES), column(&LABELS)) {
        (Some(file), Some(label)) => ((file, label), true),
        // Without a header the first row is an image already.
        (None, None) if first.len() == 2 && Path::new(&first[0]).extension().is_some() => ((0, 1), false),
        _ => return Err(fault(*line, format!("`{}`: {expected}", first.join(",")))),
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
    let rows: Vec<Row> = records.into_iter().skip(usize::from(header)).map(row).collect::<Result<_, _>>()?;
    match rows.is_empty() {
        true => Err(fault(1, "a header and no images".into())),
        false => Ok(rows),
    }
}

/// Records with the lines on which they begin; empty lines are none.
fn records(text: &str) -> Result<Vec<Record>, (usize, String)> {
    let mut records = vec![];
    let (mut fields, mut field) = (vec![], String::new());
    let (mut line, mut begun) = (1, 1);
    // The line on which a quoted field began that is still open.
    let mut quoted = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quoted) {
            ('"', Some(_)) if characters.peek() == Some(&'"') => field.extend(characters.next()),
            ('"', Some(_)) => quoted = None,
            ('"', None) if field.is_empty() => quoted = Some(line),
            (',', None) => fields.push(std::mem::take(&mut field)),
            ('\r', None) if characters.peek() == Some(&'\n') => {}
            ('\n', None) => {
                fields.push(std::mem::take(&mut field));
                records.push((begun, std::mem::take(&mut fields)));
                begun = line + 1;
            }
            (character, _) => field.push(character),
        }
        line += usize::from(character == '\n');
    }
    if let Some(line) = quoted {
        return Err((line, "a quote that nothing closes".into()));
    }
    fields.push(field);
    records.push((begun, fields));
    records.retain(|(_, fields)| fields.len() > 1 || !fields[0].trim().is_empty());
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_those_of_the_standard() {
        let text = "a,b\r\n\n\"x, \"\"y\"\"\n2\",\" z\"\nlast,";
        let wanted = [(1, vec!["a", "b"]), (3, vec!["x, \"y\"\n2", " z"]), (5, vec!["last", ""])];
        let got = records(text).unwrap();
        assert_eq!(got.len(), wanted.len());
        for ((line, fields), wanted) in got.iter().zip(wanted) {
            assert_eq!((*line, fields.iter().map(String::as_str).collect::<Vec<_>>()), wanted);
        }
        assert_eq!(records("a,b\n\"c,d\n").unwrap_err(), (2, "a quote that nothing closes".into()));
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
