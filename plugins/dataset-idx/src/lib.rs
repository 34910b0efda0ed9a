//! Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, <https://arxiv.org/abs/1708.07747>) and MNIST
//! (`LeCun` et al. 1998) in their publishers' IDX files, compressed or not.
//!
//! Both are searched in `root`, or else below `$TEMPER_DATA` or `data` and in the folder of Debian's
//! packages. Fashion-MNIST falls back to an embedded part of itself, drawn evenly over the classes
//! (`embedded/draw.py`; licence in `embedded/NOTICE.md`).

mod embedded;
#[cfg(test)]
mod fuzzed;
mod idx;

use std::path::Path;
use std::sync::Arc;

use idx::{Begun, Labelled};
use temper_core::prelude::*;

options! {
    /// Which images of Fashion-MNIST.
    pub enum ImageChoice {
        /// The official files where they are found, else the embedded part.
        Auto = "auto",
        /// The official files; without them the run fails.
        Official = "official",
        /// The embedded 10,000 training and 2,000 test images, wherever the official ones may be.
        Embedded = "embedded",
    }
}

plugin! { Dataset "fashion-mnist";
    /// Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28 x 28, 10 classes; embedded: 10,000 + 2,000 of them.
    pub struct FashionMnist {
        /// Folder of the IDX files; left out, `$TEMPER_DATA` (or `data`) and Debian's folder are tried.
        pub root: Option<PathBuf> = None,
        /// `auto` (official files where found, else embedded), `official`, or `embedded`.
        pub images: ImageChoice = ImageChoice::Auto,
    }
}

plugin! { Dataset "mnist";
    /// MNIST: 60,000 + 10,000 grey images of digits, 28 x 28, 10 classes.
    pub struct Mnist {
        /// Folder of the IDX files; left out, `$TEMPER_DATA` (or `data`) and Debian's folder are tried.
        pub root: Option<PathBuf> = None,
    }
}

const CLOTHES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];
const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The four compressed files below `base`, each with its size and checksum.
fn published(
    base: &str,
    folder: &'static str,
    files: [(u64, Digest); 4],
    terms: &'static str,
) -> Publication {
    let names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
    let remote = |(name, (size, digest))| Remote {
        url: format!("{base}/{name}-ubyte.gz"),
        size,
        digest,
        archive: false,
    };
    Publication { files: names.into_iter().zip(files).map(remote).collect(), folder, terms }
}

impl Dataset for FashionMnist {
    fn facts(&self) -> Facts {
        let (train, test) =
            if self.images == ImageChoice::Embedded { (10_000, 2_000) } else { (60_000, 10_000) };
        Facts {
            size: Some(Size { train, test, shape: [1, 28, 28], classes: 10 }),
            normalisation: Some(Normalisation { name: "Fashion-MNIST's", mean: &[0.2860], std: &[0.3530] }),
            corrupted: None,
        }
    }

    fn publication(&self) -> Option<Publication> {
        // The publisher lists MD5 sums and uses plain HTTP; these SHA-256 sums are of files with the published
        // MD5 sums.
        Some(published(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "fashion-mnist",
            [
                (
                    26_421_880,
                    Digest::Sha256("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                ),
                (29_515, Digest::Sha256("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845")),
                (
                    4_422_102,
                    Digest::Sha256("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                ),
                (5_148, Digest::Sha256("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5")),
            ],
            "Fashion-MNIST: Zalando SE, MIT licence",
        ))
    }

    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        let how = "get it with `temper data fetch fashion-mnist`, or put its four IDX files into one of these folders";
        if self.root.is_some() && self.images == ImageChoice::Embedded {
            return Err(Error::refused("`root` and `images = \"embedded\"` contradict each other"));
        }
        if self.images != ImageChoice::Embedded {
            // A given root is not silently replaced, nor is a folder with missing files.
            let required = self.root.is_some() || self.images == ImageChoice::Official;
            match find("fashion-mnist", self.root.as_deref(), split, how) {
                Ok(files) => return Ok(Arc::new(open_files(&files, &CLOTHES)?)),
                Err(absent) if required || absent.in_part => return Err(absent.error.into()),
                Err(_) => {}
            }
        }
        Ok(Arc::new(embedded::open(split, &CLOTHES)?))
    }
}

impl Dataset for Mnist {
    fn facts(&self) -> Facts {
        Facts {
            size: Some(Size { train: 60_000, test: 10_000, shape: [1, 28, 28], classes: 10 }),
            normalisation: Some(Normalisation { name: "MNIST's", mean: &[0.1307], std: &[0.3081] }),
            corrupted: None,
        }
    }

    fn publication(&self) -> Option<Publication> {
        // The original publisher's site is gone; this is the mirror that torchvision uses.
        Some(published(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "mnist",
            [
                (
                    9_912_422,
                    Digest::Sha256("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
                ),
                (28_881, Digest::Sha256("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c")),
                (
                    1_648_877,
                    Digest::Sha256("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
                ),
                (4_542, Digest::Sha256("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")),
            ],
            "MNIST: Yann LeCun, Corinna Cortes and Christopher Burges, CC BY-SA 3.0",
        ))
    }

    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        let how = "get it with `temper data fetch mnist`, or put its four IDX files (train-images-idx3-ubyte, ...), packed or \
             not, into one of these folders";
        let files = find("mnist", self.root.as_deref(), split, how).map_err(|absent| absent.error)?;
        Ok(Arc::new(open_files(&files, &DIGITS)?))
    }
}

/// The failure to find a folder that contains all files.
struct Absent {
    /// Whether a folder contains some of the files.
    in_part: bool,
    error: DataError,
}

/// Paths of the image file and the label file.
struct Files {
    images: PathBuf,
    labels: PathBuf,
}

/// The files of a split in the first folder that contains all four.
fn find(name: &str, root: Option<&Path>, split: Split, how: &str) -> Result<Files, Absent> {
    let file = |folder: &Path, part: &str, what: &str| {
        // Some copies of MNIST have a dot before `idx`.
        let names = ["-", "."]
            .map(|dot| format!("{part}-{what}{dot}idx{}-ubyte", if what == "images" { 3 } else { 1 }));
        let packed = names.clone().map(|name| format!("{name}.gz"));
        names.into_iter().chain(packed).map(|name| folder.join(name)).find(|path| path.is_file())
    };
    let (mut looked, mut in_part) = (vec![], false);
    for folder in &folders(name, root) {
        // Only a folder with all four files counts, so that training and test images come from the same folder.
        let [train, test] = ["train", "t10k"].map(|p| ["images", "labels"].map(|what| file(folder, p, what)));
        let some = train.iter().chain(&test).any(Option::is_some);
        let (asked, other) = if split == Split::Train { (train, test) } else { (test, train) };
        if let ([Some(images), Some(labels)], [Some(_), Some(_)]) = (asked, other) {
            return Ok(Files { images, labels });
        }
        in_part |= some;
        let note = if some { " (only some of the four files are there)" } else { "" };
        looked.push(format!("{}{note}", folder.display()));
    }
    if root.is_none() && std::env::var_os("TEMPER_DATA").is_none_or(|home| home.is_empty()) {
        looked.insert(0, "$TEMPER_DATA (not set: `data` stands for it)".into());
    }
    let what = format!("{name} (training and test images with their labels)");
    Err(Absent { in_part, error: DataError::Missing { what, looked, how: how.into() } })
}

fn open_files(files: &Files, classes: &[&str]) -> Result<Labelled, DataError> {
    let (images, labels) = (Begun::open(&files.images)?, Begun::open(&files.labels)?);
    let folder = files.images.parent().unwrap_or(Path::new("")).display().to_string();
    Labelled::new(vec![images], labels, classes, folder)
}
