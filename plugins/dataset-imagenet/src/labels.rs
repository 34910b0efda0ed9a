//! Lists of the validation images' labels, in the forms in which they go round.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use temper_core::DataError;

use crate::is_synset;

/// Where a list is looked for, below the root.
const USUAL: [&str; 6] = [
    "LOC_val_solution.csv",
    "val.txt",
    "imagenet_2012_validation_synset_labels.txt",
    "ILSVRC2012_validation_ground_truth.txt",
    "data/ILSVRC2012_validation_ground_truth.txt",
    "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
];
/// Where the meaning of the challenge's numbers is.
const MAPS: [&str; 2] = ["map_clsloc.txt", "ILSVRC2012_devkit_t12/data/map_clsloc.txt"];
/// The forms, for messages.
const FORMS: &str = "expected `FILE SYNSET ...` (LOC_val_solution.csv), `FILE INDEX` (val.txt, from 0), `SYNSET`, or a \
                     number from 1 (ILSVRC2012_validation_ground_truth.txt), with commas or spaces, the same in every line";

/// What a line says of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    FileSynset,
    FileIndex,
    Synset,
    Number,
}

/// A line and its parts.
type Line<'t> = (usize, Vec<&'t str>);

/// What the words of a list mean.
enum Meaning<'c> {
    /// The label of each synset.
    Synsets(HashMap<&'c str, u32>),
    /// Places among so many synsets in order.
    Indices(usize),
    /// The label of each of the challenge's numbers.
    Numbers(HashMap<u32, u32>),
}

impl Meaning<'_> {
    fn label(&self, word: &str) -> Result<u32, String> {
        let number = word.parse::<u32>().ok();
        match self {
            Self::Synsets(labels) => labels
                .get(word)
                .copied()
                .ok_or_else(|| format!("synset `{word}`, which the training images do not have")),
            Self::Indices(n) => number.filter(|index| (*index as usize) < *n).ok_or_else(|| {
                format!("index {word}, expected 0 to {}: places among the sorted synsets", n - 1)
            }),
            Self::Numbers(labels) => number
                .and_then(|number| labels.get(&number).copied())
                .ok_or_else(|| format!("number {word}, which names no class of the training images")),
        }
    }
}

/// The label of each of `images`, files of the folder `val` in order, and the list that has them.
pub(crate) fn read(
    (root, val): (&Path, &Path),
    images: &[PathBuf],
    classes: &[String],
    (list, numbers): (Option<&Path>, Option<&Path>),
) -> Result<(Vec<u32>, PathBuf), DataError> {
    let path = match list {
        Some(list) => root.join(list),
        None => find(root, &USUAL).ok_or_else(|| no_list(root, val))?,
    };
    let text = load(&path)?;
    let mut lines = lines(&text);
    let fault = |line, what| DataError::Line { file: path.clone(), line, what };
    let form = form(&mut lines).map_err(|(line, what)| fault(line, what))?;
    let meaning = match form {
        Form::FileSynset | Form::Synset => Meaning::Synsets(by_name(classes)),
        Form::FileIndex => Meaning::Indices(classes.len()),
        Form::Number => Meaning::Numbers(challenge(root, numbers, classes, &path)?),
    };
    let by_file = matches!(form, Form::FileSynset | Form::FileIndex);
    let mut named = Vec::with_capacity(lines.len());
    for (line, parts) in lines {
        let label = meaning.label(parts[usize::from(by_file)]).map_err(|what| fault(line, what))?;
        named.push((line, parts[0], label));
    }
    let labels = match by_file {
        true => assigned(val, images, &named, &path)?,
        false if named.len() == images.len() => named.iter().map(|(_, _, label)| *label).collect(),
        false => {
            let what = format!("{} labels for {} images in {}", named.len(), images.len(), val.display());
            return Err(DataError::Malformed { file: path, at: None, what });
        }
    };
    Ok((labels, path))
}

fn no_list(root: &Path, val: &Path) -> DataError {
    let what = format!(
        "images in one folder and no list of their labels\n  looked for {} in {}\n  move the images into folders by \
         synset, or name a list with `val_list`: {FORMS}",
        USUAL.join(", "),
        root.display()
    );
    DataError::Malformed { file: val.into(), at: None, what }
}

fn by_name(classes: &[String]) -> HashMap<&str, u32> {
    classes.iter().enumerate().map(|(label, class)| (class.as_str(), label as u32)).collect()
}

/// The labels of `images` that lines give by name, with or without the file's ending.
fn assigned(
    val: &Path,
    images: &[PathBuf],
    named: &[(usize, &str, u32)],
    path: &Path,
) -> Result<Vec<u32>, DataError> {
    let stem = |file: &Path| file.file_stem().unwrap_or_default().to_os_string();
    let places: HashMap<_, usize> = images.iter().enumerate().map(|(at, file)| (stem(file), at)).collect();
    let mut labels = vec![None; images.len()];
    for (line, file, label) in named {
        let fault = |what| DataError::Line { file: path.into(), line: *line, what };
        let image = places.get(&stem(Path::new(file)));
        let &at = image.ok_or_else(|| fault(format!("no image `{file}` in {}", val.display())))?;
        if labels[at].replace(*label).is_some() {
            return Err(fault(format!("a second line for `{file}`")));
        }
    }
    let lacking = |(at, label): (usize, Option<u32>)| {
        label.ok_or_else(|| DataError::Malformed {
            file: path.into(),
            at: None,
            what: format!("no line for {}", val.join(&images[at]).display()),
        })
    };
    labels.into_iter().enumerate().map(lacking).collect()
}

/// What the challenge's numbers mean: they follow no order that the synsets have.
fn challenge(
    root: &Path,
    numbers: Option<&Path>,
    classes: &[String],
    list: &Path,
) -> Result<HashMap<u32, u32>, DataError> {
    let path = match numbers {
        Some(numbers) => root.join(numbers),
        None => find(root, &MAPS).ok_or_else(|| DataError::Malformed {
            file: list.into(),
            at: None,
            what: "it holds the challenge's numbers, and what they mean is not here; name a file of lines \
                   `SYNSET NUMBER` with `numbers`, for example map_clsloc.txt (docs/data.md says how to make it \
                   from meta.mat)"
                .into(),
        })?,
    };
    let text = load(&path)?;
    let known = by_name(classes);
    let mut map = HashMap::new();
    for (line, parts) in lines(&text) {
        let fault = |what: String| DataError::Line { file: path.clone(), line, what };
        let (Some(synset), Some(number)) = (
            parts.first().filter(|part| is_synset(part)),
            parts.get(1).and_then(|part| part.parse::<u32>().ok()),
        ) else {
            return Err(fault("expected `SYNSET NUMBER`, for example `n02119789 1`".into()));
        };
        // Of a part of ImageNet the other synsets are of no use.
        let Some(label) = known.get(synset) else { continue };
        if map.insert(number, *label).is_some() {
            return Err(fault(format!("number {number} a second time")));
        }
    }
    Ok(map)
}

fn find(root: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| root.join(name)).find(|path| path.is_file())
}

fn load(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(|source| DataError::Io { file: path.into(), source })?;
    String::from_utf8(bytes).map_err(|error| DataError::Malformed {
        file: path.into(),
        at: Some(error.utf8_error().valid_up_to() as u64),
        what: "not a text in UTF-8".into(),
    })
}

/// The lines that hold something, split at commas and spaces.
fn lines(text: &str) -> Vec<Line<'_>> {
    let split = |(at, line)| (at + 1, parts(line));
    text.trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(split)
        .filter(|(_, parts)| !parts.is_empty())
        .collect()
}

fn parts(line: &str) -> Vec<&str> {
    line.split([',', ' ', '\t', '\r']).filter(|part| !part.is_empty()).collect()
}

/// The form of all lines but a header, which is taken out.
fn form(lines: &mut Vec<Line>) -> Result<Form, (usize, String)> {
    let of = |parts: &[&str]| match parts {
        [synset] if is_synset(synset) => Some(Form::Synset),
        [number] => number.parse::<u32>().ok().map(|_| Form::Number),
        [_, synset, ..] if is_synset(synset) => Some(Form::FileSynset),
        [_, index] => index.parse::<u32>().ok().map(|_| Form::FileIndex),
        _ => None,
    };
    let header = |line: &Line| of(&line.1).is_none();
    if lines.len() > 1 && header(&lines[0]) && !header(&lines[1]) {
        lines.remove(0);
    }
    let Some((line, first)) = lines.first() else { return Err((1, format!("an empty list, {FORMS}"))) };
    let form = of(first).ok_or_else(|| (*line, format!("`{}`: {FORMS}", first.join(" "))))?;
    match lines.iter().find(|(_, parts)| of(parts) != Some(form)) {
        Some((line, parts)) => Err((*line, format!("`{}`, unlike the first line: {FORMS}", parts.join(" ")))),
        None => Ok(form),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of three images of four classes by a list, and the challenge's numbers where a map is given.
    fn labels(list: &str, map: Option<&str>) -> Result<Vec<u32>, String> {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("list"), list).unwrap();
        if let Some(map) = map {
            fs::write(root.path().join("map_clsloc.txt"), map).unwrap();
        }
        let images = [1, 2, 3].map(|i| PathBuf::from(format!("ILSVRC2012_val_0000000{i}.JPEG")));
        let classes = ["n00000001", "n00000003", "n00000005", "n00000007"].map(String::from);
        let places = (root.path(), &*root.path().join("val"));
        let read = read(places, &images, &classes, (Some(Path::new("list")), None));
        let said = |e: DataError| e.to_string().replace(root.path().to_str().unwrap(), "ROOT");
        read.map(|(labels, _)| labels).map_err(said)
    }

    #[test]
    fn every_form_gives_the_same_labels() {
        let map = "n00000005 1 cat\nn00000009 2 none\nn00000001 3 dog\nn00000003 4 cow\nn00000007 5 owl\n";
        for list in [
            "ImageId,PredictionString\nILSVRC2012_val_00000002,n00000001 1 2 3 4 \n\
             ILSVRC2012_val_00000003,n00000007 1 1 9 9 n00000007 2 2 3 3 \nILSVRC2012_val_00000001,n00000005 1 2 3 4 \n",
            "ILSVRC2012_val_00000001.JPEG 2\r\nILSVRC2012_val_00000002.JPEG 0\r\nILSVRC2012_val_00000003.JPEG 3\r\n",
            "n00000005\nn00000001\nn00000007\n",
            "1\n3\n5\n",
        ] {
            assert_eq!(labels(list, Some(map)).unwrap(), [2, 0, 3], "{list}");
        }
    }

    #[test]
    fn faults_name_the_line() {
        let said = |list: &str| labels(list, Some("n00000001 1\nn00000003 2\n")).unwrap_err();
        let (one, two) = ("ILSVRC2012_val_00000001", "ILSVRC2012_val_00000002");
        for (list, message) in [
            (String::new(), "ROOT/list:1: an empty list, expected `FILE SYNSET ...`"),
            ("a b c\n".into(), "ROOT/list:1: `a b c`: expected `FILE SYNSET ...`"),
            ("n00000001\n7\n".into(), "ROOT/list:2: `7`, unlike the first line: expected"),
            (
                "n00000001\nn00000002\n".into(),
                "ROOT/list:2: synset `n00000002`, which the training images do not have",
            ),
            ("n00000001\n".into(), "ROOT/list: 1 labels for 3 images in ROOT/val"),
            (format!("{one} 4\n"), "ROOT/list:1: index 4, expected 0 to 3: places among the sorted synsets"),
            ("\n3\n".into(), "ROOT/list:2: number 3, which names no class of the training images"),
            ("x.JPEG 1\n".into(), "ROOT/list:1: no image `x.JPEG` in ROOT/val"),
            (
                format!("{one} 1\n{one}.JPEG 2\n"),
                "ROOT/list:2: a second line for `ILSVRC2012_val_00000001.JPEG`",
            ),
            (format!("{one} 1\n{two} 1\n"), "ROOT/list: no line for ROOT/val/ILSVRC2012_val_00000003.JPEG"),
        ] {
            assert!(said(&list).starts_with(message), "{}", said(&list));
        }
        assert!(
            labels("1\n", None).unwrap_err().starts_with("ROOT/list: it holds the challenge's numbers, and")
        );
        let wrong = labels("1\n", Some("n00000001\nn00000003\n")).unwrap_err();
        assert_eq!(wrong, "ROOT/map_clsloc.txt:1: expected `SYNSET NUMBER`, for example `n02119789 1`");
    }
}
