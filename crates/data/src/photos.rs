//! Image files, which are decoded on demand.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::decode::decode;
use crate::error::{Error, Result};
use crate::fit::Fit;
use crate::image::Image;
use crate::source::Source;
use temper_files::Bounded;

/// Bytes from the middle of a file by which copies are recognised.
const WINDOW: u64 = 1 << 14;
/// Larger files are refused. Photos have a byte or two for each of a few million pixels.
const LONGEST: u64 = 256 << 20;
/// Number of bytes at the start of a file that identify its format.
const START: u64 = 64;

/// The RGB image in a JPEG or PNG file. The inner error states why it cannot be decoded, the outer one why the
/// file cannot be read. Files of other formats and files that are too long are read only at their start.
pub fn decode_file(file: &Path) -> Result<std::result::Result<Image, String>> {
    decode_within(file, LONGEST)
}

fn decode_within(file: &Path, longest: u64) -> Result<std::result::Result<Image, String>> {
    let (mut input, len) = Bounded { file, most: u64::MAX, what: "an image" }.open()?;
    let io = |source| Error::Io { file: file.into(), source };
    let mut bytes = vec![];
    input.by_ref().take(START).read_to_end(&mut bytes).map_err(io)?;
    if !matches!(bytes[..], [0xff, 0xd8, ..] | [0x89, b'P', b'N', b'G', ..]) {
        // The format of the file.
        return Ok(decode(&bytes));
    }
    if len <= longest {
        bytes.reserve_exact(usize::try_from(len).unwrap_or(0));
        input.take(longest.saturating_sub(START) + 1).read_to_end(&mut bytes).map_err(io)?;
    }
    match len.max(bytes.len() as u64) {
        len if len > longest => Ok(Err(format!("{len} bytes, expected at most {longest} of an image"))),
        _ => Ok(decode(&bytes)),
    }
}

/// One file and its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Its path relative to the root of its [`Photos`].
    pub file: Box<Path>,
    /// Its class.
    pub label: u32,
}

/// A source of JPEG and PNG files of any size, in colour or grey.
#[derive(Debug)]
pub struct Photos {
    /// The root of the files' paths.
    pub root: PathBuf,
    /// The files.
    pub photos: Vec<Photo>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// How images are brought to one size.
    pub fit: Fit,
    /// Whether images that cannot be decoded are skipped; otherwise they are an error.
    pub skip_unreadable: bool,
    /// Where the images come from, for the run's output.
    pub origin: String,
}

impl Source for Photos {
    fn len(&self) -> usize {
        self.photos.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, index: usize) -> Result<(Image, u32)> {
        let Some(Photo { file, label }) = self.photos.get(index) else {
            let what = format!("image {index} was asked for, there are {}", self.photos.len());
            return Err(Error::Malformed { file: self.root.clone(), at: None, what });
        };
        let file = self.root.join(file);
        // A missing file or a failing disk is not a damaged image, and is never skipped.
        match decode_file(&file)? {
            Ok(image) => Ok((image, *label)),
            Err(what) if self.skip_unreadable => Err(Error::Skipped { file, what }),
            Err(what) => Err(Error::Unreadable { file, what }),
        }
    }

    fn name(&self, index: usize) -> Option<String> {
        self.photos.get(index)?.file.file_stem()?.to_str().map(String::from)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.photos.get(index).map(|photo| photo.label)
    }

    fn file_size(&self, index: usize) -> Option<u64> {
        let file = self.root.join(&self.photos.get(index)?.file);
        fs::metadata(file).ok().map(|told| told.len())
    }

    /// A hash of the file's size and of a window in its middle. Images of one camera share their headers, and
    /// large data sets must not be read completely.
    fn digest(&self, index: usize) -> Option<u64> {
        let file = self.root.join(&self.photos.get(index)?.file);
        // Opening a pipe would block.
        let size = fs::metadata(&file).ok().filter(fs::Metadata::is_file)?.len();
        let mut file = fs::File::open(file).ok()?;
        file.seek(SeekFrom::Start(size.saturating_sub(WINDOW) / 2)).ok()?;
        let mut window = vec![];
        file.take(WINDOW).read_to_end(&mut window).ok()?;
        let mut hasher = DefaultHasher::new();
        (size, window).hash(&mut hasher);
        Some(hasher.finish())
    }

    fn fit(&self) -> Option<Fit> {
        Some(self.fit)
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn names_are_those_of_files_and_labels_are_known_undecoded() {
        let photo = |file: &str, label| Photo { file: Path::new(file).into(), label };
        let photos = Photos {
            root: "nowhere".into(),
            photos: vec![photo("b/ILSVRC2012_val_00000002.JPEG", 1), photo("a/x.y/one.two.png", 0)],
            classes: vec!["a".into(), "b".into()],
            fit: Fit::new(4, 2).unwrap(),
            skip_unreadable: false,
            origin: "photos".into(),
        };
        assert_eq!(photos.name(0).as_deref(), Some("ILSVRC2012_val_00000002"));
        assert_eq!(photos.name(1).as_deref(), Some("one.two"));
        assert_eq!([0, 1, 2].map(|index| photos.label(index)), [Some(1), Some(0), None]);
        assert_eq!(photos.name(2), None);
    }

    #[test]
    fn files_without_bound_are_no_images() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.jpg");
        let said = || decode_file(&file).unwrap().unwrap_err();
        // A sparse file of 20 GiB.
        let hole = |start: &[u8]| {
            fs::write(&file, start).unwrap();
            File::options().write(true).open(&file).unwrap().set_len(20 << 30).unwrap();
        };
        hole(b"");
        assert_eq!(said(), "neither JPEG nor PNG");
        for start in [&b"\xff\xd8\xff\xe0"[..], b"\x89PNG\r\n\x1a\n"] {
            hole(start);
            assert_eq!(said(), "21474836480 bytes, expected at most 268435456 of an image");
        }
        fs::write(&file, "").unwrap();
        assert_eq!(said(), "an empty file");
        fs::write(&file, "version https://git-lfs.github.com/spec/v1").unwrap();
        assert_eq!(said(), "neither JPEG nor PNG: it looks like a pointer of Git LFS");

        let png = crate::encode(&Image::of_bytes([3, 9, 11], vec![7; 297])).unwrap();
        assert!(png.len() > START as usize);
        fs::write(&file, &png).unwrap();
        assert_eq!(decode_within(&file, png.len() as u64).unwrap().unwrap().shape, [3, 9, 11]);
        let short = decode_within(&file, png.len() as u64 - 1).unwrap().unwrap_err();
        assert_eq!(short, format!("{} bytes, expected at most {} of an image", png.len(), png.len() - 1));
        fs::write(&file, &png[..7]).unwrap();
        assert!(said().starts_with("damaged PNG: "), "{}", said());
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_refused_even_where_images_may_be_skipped() {
        let photos = Photos {
            root: "/dev".into(),
            photos: vec![Photo { file: Path::new("zero").into(), label: 0 }],
            classes: vec!["a".into()],
            fit: Fit::new(4, 2).unwrap(),
            skip_unreadable: true,
            origin: "photos".into(),
        };
        let said = photos.read(0).unwrap_err();
        assert!(matches!(said, Error::Malformed { .. }), "{said}");
        assert_eq!(said.to_string(), "/dev/zero: a pipe or a device, expected an image in a file");
    }
}
