//! Lists of the validation images' labels, in the formats in use.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use temper_core::{Bounded, DataError};

use crate::is_synset;

/// Paths below the root at which a list is searched.
const USUAL: [&str; 6] = [
    "LOC_val_solution.csv",
    "val.txt",
    "imagenet_2012_validation_synset_labels.txt",
    "ILSVRC2012_validation_ground_truth.txt",
    "data/ILSVRC2012_validation_ground_truth.txt",
    "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
];
/// Paths at which the mapping of the challenge's numbers is searched.
const MAPS: [&str; 2] = ["map_clsloc.txt", "ILSVRC2012_devkit_t12/data/map_clsloc.txt"];
/// Maximum size of a list of labels.
const LONGEST: u64 = 256 << 20;
/// Maximum size of the mapping of the challenge's 1000 numbers; all existing synsets would need 2.5 MB.
const NUMBERS: u64 = 16 << 20;
/// The formats, for messages.
const FORMS: &str = "expected `FILE SYNSET ...` (LOC_val_solution.csv), `FILE INDEX` (val.txt, from 0), `SYNSET`, or a \
                     number from 1 (ILSVRC2012_validation_ground_truth.txt), with commas or spaces, the same in every line";

/// The content of a line about its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    FileSynset,
    FileIndex,
    Synset,
    Number,
}

/// A line's number and text.
type Line = (usize, String);

/// The meaning of the words of a list.
enum Meaning<'c> {
    /// The label of each synset.
    Synsets(HashMap<&'c str, u32>),
    /// Indices among this number of sorted synsets.
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

/// The label of each of `images` (the files of the folder `val`, in order), and the list that contains them.
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
    let fault = |line, what| DataError::Line { file: path.clone(), line, what };
    let mut lines = lines(&path, LONGEST, "a list of labels")?;
    let (first, second) = (lines.next().transpose()?, lines.next().transpose()?);
    let (form, header) = form(first.as_ref(), second.as_ref()).map_err(|(line, what)| fault(line, what))?;
    let meaning = match form {
        Form::FileSynset | Form::Synset => Meaning::Synsets(by_name(classes)),
        Form::FileIndex => Meaning::Indices(classes.len()),
        Form::Number => Meaning::Numbers(challenge(root, numbers, classes, &path)?),
    };
    let mut assigned = match form {
        Form::FileSynset | Form::FileIndex => Some(Assigned::to(images)),
        Form::Synset | Form::Number => None,
    };
    // No more lines are read than there are images.
    let mut labels = vec![];
    for next in first.filter(|_| !header).into_iter().chain(second).map(Ok).chain(lines) {
        let (line, text) = next?;
        let parts = parts(&text);
        if Form::of(&parts) != Some(form) {
            return Err(fault(line, format!("`{}`, unlike the first line: {FORMS}", parts.join(" "))));
        }
        let word = parts[usize::from(assigned.is_some())];
        let label = meaning.label(word).map_err(|what| fault(line, what))?;
        match &mut assigned {
            Some(assigned) => assigned.take(parts[0], label, val).map_err(|what| fault(line, what))?,
            None if labels.len() == images.len() => {
                let what = format!("more labels than images: {} in {}", images.len(), val.display());
                return Err(fault(line, what));
            }
            None => labels.push(label),
        }
    }
    let malformed = |what| DataError::Malformed { file: path.clone(), at: None, what };
    let labels = match assigned {
        Some(assigned) => assigned
            .all()
            .map_err(|at| malformed(format!("no line for {}", val.join(&images[at]).display())))?,
        None if labels.len() == images.len() => labels,
        None => {
            let what = format!("{} labels for {} images in {}", labels.len(), images.len(), val.display());
            return Err(malformed(what));
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

/// Labels of images that lines give by file name, with or without extension.
struct Assigned {
    /// The index of the image with a name.
    places: HashMap<OsString, usize>,
    labels: Vec<Option<u32>>,
}

impl Assigned {
    fn to(images: &[PathBuf]) -> Self {
        let places = images.iter().enumerate().map(|(at, file)| (stem(file), at)).collect();
        Self { places, labels: vec![None; images.len()] }
    }

    /// Sets the label of one file in the folder `val`.
    fn take(&mut self, file: &str, label: u32, val: &Path) -> Result<(), String> {
        let place = self.places.get(&stem(Path::new(file)));
        let place = place.ok_or_else(|| format!("no image `{file}` in {}", val.display()))?;
        match self.labels[*place].replace(label) {
            Some(_) => Err(format!("a second line for `{file}`")),
            None => Ok(()),
        }
    }

    /// The labels of all images. The error is the index of an image without a label.
    fn all(self) -> Result<Vec<u32>, usize> {
        self.labels.into_iter().enumerate().map(|(at, label)| label.ok_or(at)).collect()
    }
}

fn stem(file: &Path) -> OsString {
    file.file_stem().unwrap_or_default().to_os_string()
}

/// The mapping of the challenge's numbers, which do not follow the order of the synsets.
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
    let known = by_name(classes);
    let mut map = HashMap::new();
    for next in lines(&path, NUMBERS, "a list of lines `SYNSET NUMBER`")? {
        let (line, text) = next?;
        let parts = parts(&text);
        let fault = |what: String| DataError::Line { file: path.clone(), line, what };
        let (Some(synset), Some(number)) = (
            parts.first().filter(|part| is_synset(part)),
            parts.get(1).and_then(|part| part.parse::<u32>().ok()),
        ) else {
            return Err(fault("expected `SYNSET NUMBER`, for example `n02119789 1`".into()));
        };
        // For a subset of ImageNet the other synsets are not needed.
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

/// The non-empty lines.
fn lines<'p>(
    path: &'p Path,
    most: u64,
    what: &'p str,
) -> Result<impl Iterator<Item = Result<Line, DataError>> + 'p, DataError> {
    let lines = Bounded { file: path, most, what }.lines()?.map(|line| Ok(line?));
    Ok(lines.filter(|line| line.as_ref().map_or(true, |(_, text)| !parts(text).is_empty())))
}

/// The words of a line, separated by commas and spaces.
fn parts(line: &str) -> Vec<&str> {
    line.split([',', ' ', '\t', '\r', '\n']).filter(|part| !part.is_empty()).collect()
}

impl Form {
    fn of(parts: &[&str]) -> Option<Self> {
        match parts {
            [synset] if is_synset(synset) => Some(Self::Synset),
            [number] => number.parse::<u32>().ok().map(|_| Self::Number),
            [_, synset, ..] if is_synset(synset) => Some(Self::FileSynset),
            [_, index] => index.parse::<u32>().ok().map(|_| Self::FileIndex),
            _ => None,
        }
    }
}

/// The format that a list's first two lines show, and whether the first is a header.
fn form(first: Option<&Line>, second: Option<&Line>) -> Result<(Form, bool), (usize, String)> {
    let Some((line, first)) = first else { return Err((1, format!("an empty list, {FORMS}"))) };
    let first = parts(first);
    match (Form::of(&first), second.and_then(|(_, second)| Form::of(&parts(second)))) {
        (Some(form), _) => Ok((form, false)),
        (None, Some(form)) => Ok((form, true)),
        (None, None) => Err((*line, format!("`{}`: {FORMS}", first.join(" ")))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Labels of three images of four classes from a list, and from the challenge's numbers if a mapping is
    /// given.
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

    #[test]
    fn lists_without_bound_are_errors() {
        let root = tempfile::tempdir().unwrap();
        let list = root.path().join("list");
        let classes = ["n00000001", "n00000003"].map(String::from);
        let said = |images: usize| {
            let images: Vec<PathBuf> = (0..images).map(|i| format!("{i}.JPEG").into()).collect();
            let places = (root.path(), &*root.path().join("val"));
            let read = read(places, &images, &classes, (Some(Path::new("list")), None));
            read.unwrap_err().to_string().replace(root.path().to_str().unwrap(), "ROOT")
        };
        // A sparse file of zeros.
        fs::File::create(&list).unwrap().set_len(20 << 30).unwrap();
        let told = "ROOT/list: 21474836480 bytes, but a list of labels may have 268435456 (256 MiB) at most";
        assert!(said(1).starts_with(told), "{}", said(1));
        fs::File::create(&list).unwrap().set_len(200 << 20).unwrap();
        assert_eq!(said(1), "ROOT/list: a byte 0, which no text has: expected a list of labels (at byte 0)");
        fs::write(&list, "n00000001 ".repeat(1 << 17)).unwrap();
        assert_eq!(said(1), "ROOT/list:1: a line of more than 1048576 bytes, expected a list of labels");
        fs::write(&list, "a ".repeat(1 << 17)).unwrap();
        assert!(said(1).len() < 3000 && said(1).starts_with("ROOT/list:1: `a a a a"), "{}", said(1).len());
        fs::write(&list, "n00000001\n".repeat(1 << 16)).unwrap();
        assert_eq!(said(3), "ROOT/list:4: more labels than images: 3 in ROOT/val");
        fs::remove_file(&list).unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/dev/zero", &list).unwrap();
            assert_eq!(said(1), "ROOT/list: a pipe or a device, expected a list of labels in a file");
        }
    }
}
