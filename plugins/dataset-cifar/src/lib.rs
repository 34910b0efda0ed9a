//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images",
//! <https://www.cs.toronto.edu/~kriz/cifar.html>): 50,000 + 10,000 colour images, 32 x 32, in their publisher's binary or
//! Python version.

mod binary;
mod pickle;
mod python;

use std::path::Path;
use std::sync::Arc;

use temper_core::prelude::*;

plugin! { Dataset "cifar10";
    /// CIFAR-10: 50,000 + 10,000 colour images of animals and vehicles, 32 x 32, 10 classes.
    pub struct Cifar10 {
        /// Folder of the files, or a folder that holds the published one; left out, `$TEMPER_DATA` (or `data`) is tried.
        pub root: Option<PathBuf> = None,
    }
}

plugin! { Dataset "cifar100";
    /// CIFAR-100: 50,000 + 10,000 colour images, 32 x 32, 100 classes (the fine labels).
    pub struct Cifar100 {
        /// Folder of the files, or a folder that holds the published one; left out, `$TEMPER_DATA` (or `data`) is tried.
        pub root: Option<PathBuf> = None,
    }
}

/// Pixel bytes of an image: three planes, then rows.
const PIXELS: usize = 3 * 32 * 32;

/// How a version's files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Binary,
    Python,
}

/// One of the two data sets.
#[derive(Debug)]
struct Cifar {
    /// Name in TOML.
    name: &'static str,
    classes: usize,
    /// Bytes of a binary record before its pixels; the last of them is the label.
    labels: usize,
    /// Keys of the labels and of the class names in the Python version.
    keys: [&'static str; 2],
    versions: [Version; 2],
}

/// The files of one version.
#[derive(Debug)]
struct Version {
    format: Format,
    /// The published folder.
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// The file of class names.
    meta: &'static str,
}

const CIFAR10: Cifar = Cifar {
    name: "cifar10",
    classes: 10,
    labels: 1,
    keys: ["labels", "label_names"],
    versions: [
        Version {
            format: Format::Binary,
            folder: "cifar-10-batches-bin",
            train: &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
            test: &["test_batch.bin"],
            meta: "batches.meta.txt",
        },
        Version {
            format: Format::Python,
            folder: "cifar-10-batches-py",
            train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
            test: &["test_batch"],
            meta: "batches.meta",
        },
    ],
};

const CIFAR100: Cifar = Cifar {
    name: "cifar100",
    classes: 100,
    labels: 2,
    keys: ["fine_labels", "fine_label_names"],
    versions: [
        Version {
            format: Format::Binary,
            folder: "cifar-100-binary",
            train: &["train.bin"],
            test: &["test.bin"],
            meta: "fine_label_names.txt",
        },
        Version {
            format: Format::Python,
            folder: "cifar-100-python",
            train: &["train"],
            test: &["test"],
            meta: "meta",
        },
    ],
};

impl Dataset for Cifar10 {
    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(CIFAR10.open(self.root.as_deref(), split)?))
    }

    fn publication(&self) -> Option<Publication> {
        Some(published("cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530", &CIFAR10))
    }
}

impl Dataset for Cifar100 {
    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(CIFAR100.open(self.root.as_deref(), split)?))
    }

    fn publication(&self) -> Option<Publication> {
        Some(published("cifar-100-binary.tar.gz", 168_513_733, "03b5dce01913d631647c71ecec9e9cb8", &CIFAR100))
    }
}

/// The binary version, as its page publishes it, with MD5 sums.
fn published(archive: &str, size: u64, md5: &'static str, cifar: &Cifar) -> Publication {
    Publication {
        files: vec![Remote {
            url: format!("https://www.cs.toronto.edu/~kriz/{archive}"),
            size,
            digest: Digest::Md5(md5),
            archive: true,
        }],
        folder: cifar.versions[0].folder,
        terms: "Alex Krizhevsky, Vinod Nair and Geoffrey Hinton; no licence is stated, the page asks to cite the \
                technical report (Krizhevsky 2009)",
    }
}

/// Images of one file.
#[derive(Debug)]
struct Part {
    file: PathBuf,
    /// Contents of the file, or the pixels alone.
    bytes: Vec<u8>,
    /// Bytes from one image's pixels to the next one's, and before the first.
    stride: usize,
    offset: usize,
    labels: Vec<u8>,
}

/// Images in memory, in the order of their files.
#[derive(Debug)]
struct Images {
    parts: Vec<Part>,
    classes: Vec<String>,
    origin: String,
}

impl Cifar {
    fn open(&self, root: Option<&Path>, split: Split) -> Result<Images, DataError> {
        let (folder, version) = self.find(root)?;
        let meta = folder.join(version.meta);
        let classes = match version.format {
            Format::Binary => binary::class_names(&meta)?,
            Format::Python => python::class_names(&meta, self.keys[1])?,
        };
        if classes.len() != self.classes {
            let what = format!("{} class names, expected {}", classes.len(), self.classes);
            return Err(DataError::Malformed { file: meta, at: None, what });
        }
        let files = if split == Split::Train { version.train } else { version.test };
        let read = |name: &&str| match version.format {
            Format::Binary => binary::read(folder.join(name), self.labels, self.classes),
            Format::Python => python::read(folder.join(name), self.keys[0], self.classes),
        };
        let parts = files.iter().map(read).collect::<Result<_, _>>()?;
        let format = if version.format == Format::Binary { "binary" } else { "Python" };
        Ok(Images { parts, classes, origin: format!("{} ({format} version)", folder.display()) })
    }

    /// The first folder that holds a version whole; one that holds only a part of one is an error that names what lacks.
    fn find(&self, root: Option<&Path>) -> Result<(PathBuf, &Version), DataError> {
        let mut looked = vec![];
        let candidates = self.versions.iter().flat_map(|version| {
            let places = match root {
                // The published folder itself, or one that holds it.
                Some(root) => vec![root.to_path_buf(), root.join(version.folder)],
                None => folders(version.folder, None),
            };
            places.into_iter().map(move |place| (place, version))
        });
        for (folder, version) in candidates {
            let images = || version.train.iter().chain(version.test);
            let lacking: Vec<&str> =
                images().chain([&version.meta]).copied().filter(|f| !folder.join(f).is_file()).collect();
            if lacking.is_empty() {
                return Ok((folder, version));
            }
            if images().any(|file| folder.join(file).is_file()) {
                let what = format!("{} lacks {}", folder.display(), lacking.join(", "));
                let how = format!("get it whole with `temper data fetch {}`", self.name);
                return Err(DataError::Missing { what: self.what(), looked: vec![what], how });
            }
            looked.push(folder.display().to_string());
        }
        if root.is_none() && std::env::var_os("TEMPER_DATA").is_none() {
            looked.insert(0, "$TEMPER_DATA (not set: `data` stands for it)".into());
        }
        let how = format!(
            "get it with `temper data fetch {}`, or put the folder {} or {} there",
            self.name, self.versions[0].folder, self.versions[1].folder
        );
        Err(DataError::Missing { what: self.what(), looked, how })
    }

    fn what(&self) -> String {
        format!("{} (training and test images with their class names)", self.name)
    }
}

impl Source for Images {
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.labels.len()).sum()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, index: usize) -> Result<(Image, u32), DataError> {
        let mut at = index;
        for part in &self.parts {
            if let Some(label) = part.labels.get(at) {
                let bytes = part.bytes[part.offset + at * part.stride..][..PIXELS].to_vec();
                return Ok((Image { shape: [3, 32, 32], bytes }, u32::from(*label)));
            }
            at -= part.labels.len();
        }
        let what = format!("image {index} was asked for, there are {}", self.len());
        let file = self.parts.first().map(|part| part.file.clone()).unwrap_or_default();
        Err(DataError::Malformed { file, at: None, what })
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}

/// Refuses a label that no class has; `place` gives its byte in the file, where that is known.
fn check_labels(
    file: &Path,
    labels: &[u8],
    classes: usize,
    place: impl Fn(usize) -> Option<u64>,
) -> Result<(), DataError> {
    match labels.iter().position(|label| usize::from(*label) >= classes) {
        None => Ok(()),
        Some(i) => {
            let what = format!("label {} of image {i}, expected 0 to {}", labels[i], classes - 1);
            Err(DataError::Malformed { file: file.into(), at: place(i), what })
        }
    }
}
