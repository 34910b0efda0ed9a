//! The files of each version, and their folders.

use std::env;
use std::path::{Path, PathBuf};

use temper_core::{DataError, Split, folders};

use crate::images::CifarImages;
use crate::{binary, python};

/// How a version's files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Binary,
    Python,
}

/// CIFAR-10 or CIFAR-100.
#[derive(Debug)]
pub(crate) struct Cifar {
    /// Name in TOML.
    name: &'static str,
    classes: usize,
    /// Number of label bytes before the pixels of a binary record; the last of them is the label.
    labels: usize,
    /// Keys of the labels and of the class names in the Python version.
    keys: [&'static str; 2],
    /// Its versions, in the order of search.
    versions: [Version; 2],
}

/// The files of one version.
#[derive(Debug)]
struct Version {
    format: Format,
    /// The published folder.
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    /// The file of class names.
    meta: &'static str,
}

pub(crate) const CIFAR10: Cifar = Cifar {
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
            test: "test_batch.bin",
            meta: "batches.meta.txt",
        },
        Version {
            format: Format::Python,
            folder: "cifar-10-batches-py",
            train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
            test: "test_batch",
            meta: "batches.meta",
        },
    ],
};

pub(crate) const CIFAR100: Cifar = Cifar {
    name: "cifar100",
    classes: 100,
    labels: 2,
    keys: ["fine_labels", "fine_label_names"],
    versions: [
        Version {
            format: Format::Binary,
            folder: "cifar-100-binary",
            train: &["train.bin"],
            test: "test.bin",
            meta: "fine_label_names.txt",
        },
        Version {
            format: Format::Python,
            folder: "cifar-100-python",
            train: &["train"],
            test: "test",
            meta: "meta",
        },
    ],
};

impl Cifar {
    /// Reads one split from the first folder that contains a version.
    pub(crate) fn open(&self, root: Option<&Path>, split: Split) -> Result<CifarImages, DataError> {
        let (folder, version) = self.find(root)?;
        let (meta, [labels, names]) = (folder.join(version.meta), self.keys);
        let classes = match version.format {
            Format::Binary => binary::class_names(&meta, self.classes)?,
            Format::Python => python::class_names(&meta, names, self.classes)?,
        };
        let files = if split == Split::Train { version.train } else { &[version.test] };
        let read = |file: &&str| match version.format {
            Format::Binary => binary::read(folder.join(file), self.labels, self.classes),
            Format::Python => python::read(folder.join(file), labels, self.classes),
        };
        let parts = files.iter().map(read).collect::<Result<_, _>>()?;
        let format = if version.format == Format::Binary { "binary" } else { "Python" };
        Ok(CifarImages { parts, classes, origin: format!("{} ({format} version)", folder.display()) })
    }

    /// The published folder of the binary version.
    pub(crate) fn binary_folder(&self) -> &'static str {
        self.versions[0].folder
    }

    /// The first folder that contains a version completely. A folder that contains only a part of a version
    /// is an error, so that it is not silently replaced by data from elsewhere.
    fn find(&self, root: Option<&Path>) -> Result<(PathBuf, &Version), DataError> {
        let candidates = self.versions.iter().flat_map(|version| {
            let places = match root {
                // The published folder itself, or its parent.
                Some(root) => vec![root.to_path_buf(), root.join(version.folder)],
                None => folders(version.folder, None),
            };
            places.into_iter().map(move |place| (place, version))
        });
        let what = format!("{} (training and test images with their class names)", self.name);
        let mut looked = vec![];
        for (folder, version) in candidates {
            let images = || version.train.iter().chain([&version.test]);
            let lacks = |file: &str| !folder.join(file).is_file();
            let all = images().chain([&version.meta]).copied();
            let lacking: Vec<&str> = all.filter(|file| lacks(file)).collect();
            if lacking.is_empty() {
                return Ok((folder, version));
            }
            if !images().all(|file| lacks(file)) {
                let looked = vec![format!("{} lacks {}", folder.display(), lacking.join(", "))];
                let how = format!("get it whole with `temper data fetch {}`", self.name);
                return Err(DataError::Missing { what, looked, how });
            }
            let place = folder.display().to_string();
            if !looked.contains(&place) {
                looked.push(place);
            }
        }
        if root.is_none() && env::var_os("TEMPER_DATA").is_none_or(|home| home.is_empty()) {
            looked.insert(0, "$TEMPER_DATA (not set: `data` stands for it)".into());
        }
        let how = format!(
            "get it with `temper data fetch {}`, or put the folder {} or {} there",
            self.name, self.versions[0].folder, self.versions[1].folder
        );
        Err(DataError::Missing { what, looked, how })
    }
}
