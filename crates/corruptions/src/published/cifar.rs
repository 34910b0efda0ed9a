//! CIFAR-10-C and CIFAR-100-C: one array of 50,000 images per kind, with 10,000 per severity in the order of
//! the test set.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use temper_data::{Error, Image, Result, Source, shape};

use super::PublishedSet;
use crate::kind::{CorruptionKind, CorruptionSeverity};
use crate::npy::{Array, Values};

/// Images per severity: those of the test set.
const TEST: usize = 10_000;
/// Side of an image.
const SIDE: usize = 32;
/// Images of all severities.
const ROWS: usize = TEST * CorruptionSeverity::ALL.len();

/// The file of the images of a kind.
pub(super) fn file(folder: &Path, kind: CorruptionKind) -> PathBuf {
    folder.join(format!("{}.npy", kind.name()))
}

/// The file of labels, for all severities and kinds.
pub(super) fn labels(folder: &Path) -> PathBuf {
    folder.join("labels.npy")
}

/// One kind at one severity of CIFAR-10-C or CIFAR-100-C, for the images of a clean source, which are all or
/// some test images.
///
/// The image with an index is the corrupted version of the clean source's image with that index. The file is
/// read one row at a time. Each label in `labels.npy` is compared with that of the clean source when its
/// image is read.
pub struct PublishedCifar {
    images: Array,
    labels: LabelFile,
    severity: CorruptionSeverity,
    clean: Arc<dyn Source>,
    origin: String,
}

/// The labels of the severity's images, in memory so that no file stays open.
struct LabelFile {
    file: PathBuf,
    values: Vec<i64>,
    /// Offset of the first label in the file, and size of a label.
    start: u64,
    width: u64,
}

impl LabelFile {
    fn read(file: PathBuf, severity: CorruptionSeverity) -> Result<Self> {
        let array = Array::open(&file, &[ROWS], &[Values::U8, Values::I32, Values::I64])?;
        let first = severity.place() * TEST;
        let (start, next) = (array.place(first), array.place(first + 1));
        Ok(Self { values: array.integers(first, TEST)?, file, start, width: next - start })
    }
}

impl PublishedCifar {
    /// Opens `folder/KIND.npy` and reads `folder/labels.npy`. Errors: a file is missing; the images are not
    /// an array of `[50000, 32, 32, 3]` bytes; the labels are not an array of 50,000 integers; the clean
    /// images are not 3 x 32 x 32, or not among the 10,000 of a test set.
    pub fn open(
        folder: &Path,
        kind: CorruptionKind,
        severity: CorruptionSeverity,
        clean: Arc<dyn Source>,
    ) -> Result<Self> {
        let set = if clean.classes().len() == 100 { PublishedSet::Cifar100C } else { PublishedSet::Cifar10C };
        let (path, labels) = (file(folder, kind), labels(folder));
        // A broken link counts as missing, too.
        for file in [&path, &labels] {
            if !file.is_file() {
                return Err(set.lacks(folder, &file.file_name().unwrap_or_default().to_string_lossy()));
            }
        }
        let images = Array::open(&path, &[ROWS, SIDE, SIDE, 3], &[Values::U8])?;
        let labels = LabelFile::read(labels, severity)?;
        let part = if clean.len() < TEST { format!(", {} of {TEST}", clean.len()) } else { String::new() };
        let origin = format!("{}, severity {}{part}", path.display(), severity.get());
        let fault = |what| Error::Malformed { file: path, at: None, what };
        matches(&*clean).map_err(fault)?;
        Ok(Self { images, labels, severity, clean, origin })
    }

    /// The row of a clean image.
    fn row(&self, index: usize) -> usize {
        self.severity.place() * TEST + self.clean.index(index)
    }

    /// Checks that the published label of an image equals that of the clean source.
    fn agrees(&self, index: usize, label: u32) -> Result<()> {
        let (labels, place) = (&self.labels, self.clean.index(index));
        match labels.values.get(place) {
            Some(published) if *published == i64::from(label) => Ok(()),
            published => Err(Error::Malformed {
                file: labels.file.clone(),
                at: Some(labels.start + place as u64 * labels.width),
                what: format!(
                    "label {} of test image {place}, which has label {label} in {}: these data sets do not belong together",
                    published.map_or_else(|| "none".into(), ToString::to_string),
                    self.clean.origin(),
                ),
            }),
        }
    }
}

/// Checks that the clean images can be those of these sets. The error states why not.
fn matches(clean: &dyn Source) -> Result<(), String> {
    let origin = clean.origin();
    if clean.is_empty() {
        return Err(format!("no clean images in {origin}, whose corrupted ones are asked for"));
    }
    let beyond = (0..clean.len()).map(|index| clean.index(index)).find(|index| *index >= TEST);
    if let Some(index) = beyond {
        return Err(format!(
            "image {index} of {origin} has no corrupted one: these are of a test set's {TEST} images, 0 to {}",
            TEST - 1
        ));
    }
    match shape(clean) {
        Ok([3, SIDE, SIDE]) => Ok(()),
        Ok([c, h, w]) => Err(format!(
            "3 x {SIDE} x {SIDE} values of an image (channels x height x width), {c} x {h} x {w} of the clean one in {origin}"
        )),
        Err(error) => Err(format!("the first clean image cannot be read: {error}")),
    }
}

impl fmt::Debug for PublishedCifar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishedCifar").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Source for PublishedCifar {
    fn len(&self) -> usize {
        self.clean.len()
    }

    fn classes(&self) -> &[String] {
        self.clean.classes()
    }

    fn read(&self, index: usize) -> Result<(Image, u32)> {
        if index >= self.len() {
            let what = format!("image {index} was asked for, there are {}", self.len());
            return Err(Error::Malformed { file: self.images.path().into(), at: None, what });
        }
        let (_, label) = self.clean.read(index)?;
        self.agrees(index, label)?;
        let pixels = self.images.bytes(self.row(index), 1)?;
        let plane = |channel| pixels.chunks_exact(3).map(move |pixel| pixel[channel]);
        let bytes = (0..3).flat_map(plane).collect();
        Ok((Image::of_bytes([3, SIDE, SIDE], bytes), label))
    }

    fn index(&self, index: usize) -> usize {
        self.clean.index(index)
    }

    fn name(&self, index: usize) -> Option<String> {
        self.clean.name(index)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.clean.label(index)
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{Seek, SeekFrom, Write};

    use temper_data::Subset;

    use super::*;

    /// A test set of white images whose label is the last digit of their index.
    struct White {
        n: usize,
        shape: [usize; 3],
        classes: Vec<String>,
    }

    impl Source for White {
        fn len(&self) -> usize {
            self.n
        }
        fn classes(&self) -> &[String] {
            &self.classes
        }
        fn read(&self, index: usize) -> Result<(Image, u32)> {
            Ok((Image::of_bytes(self.shape, vec![255; self.shape.iter().product()]), index as u32 % 10))
        }
        fn origin(&self) -> String {
            "white".into()
        }
    }

    fn white(n: usize, shape: [usize; 3]) -> Arc<dyn Source> {
        Arc::new(White { n, shape, classes: (0..10).map(|class| class.to_string()).collect() })
    }

    fn tests() -> Arc<dyn Source> {
        white(TEST, [3, SIDE, SIDE])
    }

    /// A file with this header and these bytes at some positions among its values; the rest is zero and
    /// sparse.
    fn npy(file: &Path, descr: &str, shape: &str, len: u64, parts: &[(u64, Vec<u8>)]) {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        let mut out = File::create(file).unwrap();
        out.write_all(b"\x93NUMPY\x01\x00").unwrap();
        out.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        out.write_all(header.as_bytes()).unwrap();
        let data = out.stream_position().unwrap();
        out.set_len(data + len).unwrap();
        for (at, bytes) in parts {
            out.seek(SeekFrom::Start(data + at)).unwrap();
            out.write_all(bytes).unwrap();
        }
    }

    const PIXELS: u64 = 3 * 32 * 32;

    /// A folder of one kind and the labels, zero except for images 4,999 of severity 1 and 0 of severity 5,
    /// whose reds are columns and greens rows.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let pixel = |i: usize, base: usize| [(base + i) as u8, (i / 32) as u8, 200];
        let image = |base: usize| (0..SIDE * SIDE).flat_map(|i| pixel(i, base)).collect::<Vec<u8>>();
        let parts = [(4_999 * PIXELS, image(1)), (40_000 * PIXELS, image(2))];
        let file = folder.path().join("fog.npy");
        npy(&file, "|u1", "(50000, 32, 32, 3)", 50_000 * PIXELS, &parts);
        label(folder.path(), |row| (row % 10) as u8);
        folder
    }

    fn open(folder: &Path, severity: u8, clean: Arc<dyn Source>) -> Result<PublishedCifar, String> {
        let severity = CorruptionSeverity::try_from(severity)?;
        let said = |e: Error| e.to_string().replace(folder.to_str().unwrap(), "ROOT");
        PublishedCifar::open(folder, CorruptionKind::Fog, severity, clean).map_err(said)
    }

    fn label(folder: &Path, label: impl Fn(usize) -> u8) {
        let bytes: Vec<u8> = (0..ROWS).map(label).collect();
        npy(&labels(folder), "|u1", "(50000,)", ROWS as u64, &[(0, bytes)]);
    }

    #[test]
    fn rows_become_planes_of_the_image_with_the_clean_index() {
        let folder = folder();
        let check = |source: &dyn Source, index: usize, base: usize| {
            let (image, label) = source.read(index).unwrap();
            assert_eq!((image.shape, label), ([3, 32, 32], source.index(index) as u32 % 10));
            for i in 0..1024 {
                let got = [0, 1, 2].map(|channel| image.bytes()[1024 * channel + i]);
                assert_eq!(got, [(base + i) as u8, (i / 32) as u8, 200], "pixel {i}");
            }
        };
        let first = open(folder.path(), 1, tests()).unwrap();
        check(&first, 4_999, 1);
        assert_eq!(first.read(5_000).unwrap().0.bytes()[..], [0; 3072]);
        check(&open(folder.path(), 5, tests()).unwrap(), 0, 2);
        assert_eq!((first.len(), first.classes().len()), (10_000, 10));
        let past = first.read(10_000).unwrap_err().to_string();
        assert!(past.ends_with("fog.npy: image 10000 was asked for, there are 10000"), "{past}");

        // 3 of 10,000: 0, 3333 and 6666.
        let some = open(folder.path(), 5, Arc::new(Subset::new(tests(), 3))).unwrap();
        assert_eq!((some.len(), some.index(1), some.read(1).unwrap().1), (3, 3333, 3));
        check(&some, 0, 2);
        let origin = some.origin().replace(folder.path().to_str().unwrap(), "ROOT");
        assert_eq!(origin, "ROOT/fog.npy, severity 5, 3 of 10000");
        assert!(first.origin().ends_with("fog.npy, severity 1"));
    }

    #[test]
    fn labels_of_any_width_are_compared_and_may_not_be_missing() {
        let folder = folder();
        let file = labels(folder.path());
        fs::remove_file(&file).unwrap();
        let lack =
            "no labels.npy of CIFAR-10-C found\n  looked in: ROOT lacks labels.npy\n  get CIFAR-10-C.tar";
        let said = || open(folder.path(), 2, tests()).unwrap_err();
        assert!(said().starts_with(lack) && said().ends_with("for each kind, and labels.npy"), "{}", said());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path().join("nowhere"), &file).unwrap();
            assert!(said().starts_with(lack), "{}", said());
            fs::remove_file(&file).unwrap();
        }
        label(folder.path(), |row| (row % 10) as u8);
        assert_eq!(open(folder.path(), 2, tests()).unwrap().read(7).unwrap().1, 7);
        for (descr, width) in [("<i8", 8), ("<i4", 4)] {
            let value = |row: usize| [&[(row % 10) as u8][..], &vec![0; width - 1]].concat();
            let bytes: Vec<u8> = (0..ROWS).flat_map(value).collect();
            npy(&file, descr, "(50000,)", (ROWS * width) as u64, &[(0, bytes)]);
            assert_eq!(open(folder.path(), 2, tests()).unwrap().read(9_999).unwrap().1, 9, "{descr}");
        }
        label(folder.path(), |row| if row == 10_007 { 3 } else { (row % 10) as u8 });
        assert_eq!(open(folder.path(), 1, tests()).unwrap().read(7).unwrap().1, 7);
        let error = open(folder.path(), 2, tests()).unwrap().read(7).unwrap_err().to_string();
        assert_eq!(
            error.replace(file.to_str().unwrap(), "FILE"),
            "FILE: label 3 of test image 7, which has label 7 in white: these data sets do not belong together \
             (at byte 10078)"
        );
        npy(&file, "|u1", "(10000,)", 10_000, &[]);
        let said = open(folder.path(), 2, tests()).unwrap_err();
        assert_eq!(said, "ROOT/labels.npy: an array of shape [10000], expected [50000] (at byte 60)");
    }

    #[test]
    fn clean_images_that_these_cannot_be_are_refused() {
        let folder = folder();
        let said = |clean| open(folder.path(), 1, clean).unwrap_err();
        assert_eq!(
            said(white(10_001, [3, 32, 32])),
            "ROOT/fog.npy: image 10000 of white has no corrupted one: these are of a test set's 10000 images, 0 to 9999"
        );
        assert_eq!(
            said(white(10_000, [1, 28, 28])),
            "ROOT/fog.npy: 3 x 32 x 32 values of an image (channels x height x width), 1 x 28 x 28 of the clean one in white"
        );
        assert!(said(white(0, [3, 32, 32])).starts_with("ROOT/fog.npy: no clean images in white"));
    }

    #[test]
    fn wrong_and_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fog.npy");
        label(folder.path(), |row| (row % 10) as u8);
        let said = || open(folder.path(), 1, tests()).unwrap_err();
        let missing = "no fog.npy of CIFAR-10-C found\n  looked in: ROOT lacks fog.npy\n  get CIFAR-10-C.tar";
        assert!(said().starts_with(missing), "{}", said());
        npy(&file, "|u1", "(10000, 32, 32, 3)", 10_000 * PIXELS, &[]);
        assert_eq!(
            said(),
            "ROOT/fog.npy: an array of shape [10000, 32, 32, 3], expected [50000, 32, 32, 3] (at byte 60)"
        );
        npy(&file, "<f4", "(50000, 32, 32, 3)", 0, &[]);
        assert_eq!(said(), "ROOT/fog.npy: values of type `<f4`, expected |u1 (at byte 20)");
        npy(&file, "|u1", "(50000, 32, 32, 3)", 9, &[]);
        assert!(said().starts_with("ROOT/fog.npy: 9 bytes of values, expected 153600000:"), "{}", said());
        fs::write(&file, "<html>").unwrap();
        assert!(said().ends_with("it looks like a page of HTML or XML (at byte 0)"), "{}", said());
    }
}
