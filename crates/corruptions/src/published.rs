//! The published corrupted test sets, <https://github.com/hendrycks/robustness>: their folders, and how they
//! are opened.
//!
//! Results in papers were measured on them. Their random numbers were not recorded, so they cannot be
//! generated again.

mod cifar;
mod fingerprint;
mod images;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use temper_data::{Error, Result, Source, folders};

pub use cifar::PublishedCifar;
pub use images::published_imagenet;

use crate::kind::{CorruptionKind, CorruptionSeverity};

/// A published set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishedSet {
    /// CIFAR-10-C: 19 arrays of 50,000 images, 3 x 32 x 32, and their labels.
    Cifar10C,
    /// CIFAR-100-C: the same for CIFAR-100.
    Cifar100C,
    /// ImageNet-C: folders of JPEG files, 3 x 224 x 224.
    ImageNetC,
}

impl PublishedSet {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cifar10C, Self::Cifar100C, Self::ImageNetC];

    /// The set of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.name() == name)
    }

    /// Its name, which is also that of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar10C => "CIFAR-10-C",
            Self::Cifar100C => "CIFAR-100-C",
            Self::ImageNetC => "ImageNet-C",
        }
    }

    /// The name of its images for clean images with this number of classes: the set's name, or "a set in
    /// ImageNet-C's layout" if there are not 1000 classes.
    pub fn title(self, classes: usize) -> &'static str {
        match self {
            Self::ImageNetC => images::title(classes),
            Self::Cifar10C | Self::Cifar100C => self.name(),
        }
    }

    /// How to obtain it.
    fn how(self) -> &'static str {
        match self {
            Self::Cifar10C => {
                "get CIFAR-10-C.tar (2.9 GB) from https://zenodo.org/records/2535967 and unpack it: its folder CIFAR-10-C \
                 holds a file KIND.npy for each kind, and labels.npy"
            }
            Self::Cifar100C => {
                "get CIFAR-100-C.tar (2.9 GB) from https://zenodo.org/records/3555552 and unpack it: its folder \
                 CIFAR-100-C holds a file KIND.npy for each kind, and labels.npy"
            }
            Self::ImageNetC => {
                "get noise.tar, blur.tar, weather.tar, digital.tar and extra.tar from https://zenodo.org/records/2235448 \
                 and unpack them in a folder ImageNet-C, which then holds KIND/SEVERITY/SYNSET/*.JPEG, with or without \
                 the archive's name before that"
            }
        }
    }

    /// The folder that contains it or a part of it: `root` or the set's folder in it if `root` is given,
    /// otherwise the set's folder below the folders of all data sets (see [`folders`]).
    pub fn find(self, root: Option<&Path>) -> Result<PathBuf> {
        let places = match root {
            Some(root) => vec![root.to_path_buf(), root.join(self.name())],
            None => folders(self.name(), None),
        };
        let holds =
            |folder: &&PathBuf| CorruptionKind::ALL.iter().any(|kind| self.place(folder, *kind).is_some());
        if let Some(folder) = places.iter().find(holds) {
            return Ok(folder.clone());
        }
        let mut looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        if root.is_none() && env::var_os("TEMPER_DATA").is_none_or(|home| home.is_empty()) {
            looked.insert(0, "$TEMPER_DATA (not set: `data` stands for it)".into());
        }
        Err(Error::Missing { what: self.name().into(), looked, how: self.how().into() })
    }

    /// The images of one kind and severity in a folder from [`PublishedSet::find`], for the clean test
    /// images.
    pub fn open(
        self,
        folder: &Path,
        kind: CorruptionKind,
        severity: CorruptionSeverity,
        clean: Arc<dyn Source>,
    ) -> Result<Arc<dyn Source>> {
        Ok(match self {
            Self::Cifar10C | Self::Cifar100C => Arc::new(self.cifar(folder, kind, severity, clean)?),
            Self::ImageNetC => published_imagenet(folder, kind, severity, clean)?,
        })
    }

    /// A hash (SHA-256) that identifies the files of a kind and severity without reading them: for an array
    /// and its labels paths, sizes and modification times; for folders the paths and modification times of
    /// the folder and its class folders. The latter change when files are added, removed or renamed, but not
    /// when a file is overwritten.
    pub fn fingerprint(
        self,
        folder: &Path,
        kind: CorruptionKind,
        severity: CorruptionSeverity,
    ) -> Result<String> {
        let title = format!("{}, {}, severity {}", self.name(), kind.name(), severity.get());
        match self {
            Self::Cifar10C | Self::Cifar100C => {
                fingerprint::of_files(&title, &[cifar::file(folder, kind), cifar::labels(folder)])
            }
            Self::ImageNetC => fingerprint::of_tree(&title, &images::level(folder, kind, severity)?),
        }
    }

    /// The same for an array, for clean images with this number of classes.
    fn cifar(
        self,
        folder: &Path,
        kind: CorruptionKind,
        severity: CorruptionSeverity,
        clean: Arc<dyn Source>,
    ) -> Result<PublishedCifar> {
        let (expected, found) = (if self == Self::Cifar10C { 10 } else { 100 }, clean.classes().len());
        if found != expected {
            let what = format!("{} has {expected} classes, {} has {found}", self.name(), clean.origin());
            return Err(Error::Malformed { file: folder.into(), at: None, what });
        }
        PublishedCifar::open(folder, kind, severity, clean)
    }

    /// The file or folder of a kind, if it exists.
    fn place(self, folder: &Path, kind: CorruptionKind) -> Option<PathBuf> {
        match self {
            Self::Cifar10C | Self::Cifar100C => Some(cifar::file(folder, kind)).filter(|file| file.is_file()),
            Self::ImageNetC => images::folder(folder, kind),
        }
    }

    /// The error about a missing part.
    fn lacks(self, folder: &Path, part: &str) -> Error {
        let looked = vec![format!("{} lacks {part}", folder.display())];
        Error::Missing { what: format!("{part} of {}", self.name()), looked, how: self.how().into() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_set_is_found_in_a_folder_or_below_it_and_its_lack_says_how_to_get_it() {
        let root = tempfile::tempdir().unwrap();
        let shown = |set: PublishedSet| {
            let found = set.find(Some(root.path()));
            let shown = found.map_or_else(|error| error.to_string(), |folder| folder.display().to_string());
            shown.replace(root.path().to_str().unwrap(), "ROOT")
        };
        for (set, file, record) in [
            (PublishedSet::Cifar10C, "fog.npy", "2535967"),
            (PublishedSet::Cifar100C, "saturate.npy", "3555552"),
            (PublishedSet::ImageNetC, "weather/fog/1/n00000001/1.JPEG", "2235448"),
        ] {
            let name = set.name();
            let lack = shown(set);
            assert!(
                lack.starts_with(&format!("no {name} found\n  looked in: ROOT\n             ROOT/{name}\n")),
                "{lack}"
            );
            assert!(lack.contains(&format!("https://zenodo.org/records/{record} and unpack")), "{lack}");
            for (below, wanted) in [(Path::new(name), format!("ROOT/{name}")), (Path::new(""), "ROOT".into())]
            {
                let file = root.path().join(below).join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, "").unwrap();
                assert_eq!(shown(set), wanted);
            }
            fs::remove_dir_all(root.path()).unwrap();
        }
    }

    /// Images with this number of classes.
    struct PublishedImages(Vec<String>);

    impl Source for PublishedImages {
        fn len(&self) -> usize {
            1
        }
        fn classes(&self) -> &[String] {
            &self.0
        }
        fn read(&self, _: usize) -> Result<(temper_data::Image, u32)> {
            Ok((temper_data::Image::of_bytes([3, 32, 32], vec![0; 3072]), 0))
        }
        fn origin(&self) -> String {
            "images".into()
        }
    }

    #[test]
    fn a_set_goes_with_as_many_classes() {
        let root = tempfile::tempdir().unwrap();
        let said = |set: PublishedSet, classes| {
            let images = Arc::new(PublishedImages(vec![String::new(); classes]));
            let error = set
                .open(root.path(), CorruptionKind::Fog, CorruptionSeverity::ALL[0], images)
                .map(|_| ())
                .unwrap_err();
            error.to_string().replace(root.path().to_str().unwrap(), "ROOT")
        };
        assert_eq!(said(PublishedSet::Cifar10C, 100), "ROOT: CIFAR-10-C has 10 classes, images has 100");
        assert_eq!(said(PublishedSet::Cifar100C, 10), "ROOT: CIFAR-100-C has 100 classes, images has 10");
        for (set, classes, lack) in [
            (PublishedSet::Cifar10C, 10, "no fog.npy of CIFAR-10-C found\n  looked in: ROOT lacks fog.npy\n"),
            (
                PublishedSet::Cifar100C,
                100,
                "no fog.npy of CIFAR-100-C found\n  looked in: ROOT lacks fog.npy\n",
            ),
            (PublishedSet::ImageNetC, 1000, "no fog of ImageNet-C found\n  looked in: ROOT lacks fog\n"),
        ] {
            assert!(said(set, classes).starts_with(lack), "{}", said(set, classes));
        }
    }

    #[test]
    fn without_a_root_the_folders_of_all_data_sets_are_looked_in() {
        let said = PublishedSet::ImageNetC.find(None).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("/usr/share/datasets/ImageNet-C\n  get noise.tar"), "{said}");
    }
}
