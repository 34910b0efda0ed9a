//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images",
//! <https://www.cs.toronto.edu/~kriz/cifar.html>): 50,000 + 10,000 colour images, 32 x 32, in their
//! publisher's binary or Python version.
//!
//! Both are searched in `root`, or else in the published folders below `$TEMPER_DATA` (or `data`) and
//! `/usr/share/datasets`.

mod binary;
mod folder;
#[cfg(test)]
mod fuzzed;
mod images;
mod pickle;
mod python;

use std::sync::Arc;

use folder::{CIFAR10, CIFAR100, Cifar};
use temper_core::prelude::*;

plugin! { Dataset "cifar10";
    /// CIFAR-10: 50,000 + 10,000 colour images of animals and vehicles, 32 x 32, 10 classes.
    pub struct Cifar10 {
        /// Folder of the files, or a folder that holds the published one; left out, `$TEMPER_DATA` (or
        /// `data`) is tried.
        pub root: Option<PathBuf> = None,
    }
}

plugin! { Dataset "cifar100";
    /// CIFAR-100: 50,000 + 10,000 colour images, 32 x 32, 100 classes (the fine labels).
    pub struct Cifar100 {
        /// Folder of the files, or a folder that holds the published one; left out, `$TEMPER_DATA` (or
        /// `data`) is tried.
        pub root: Option<PathBuf> = None,
    }
}

impl Dataset for Cifar10 {
    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(CIFAR10.open(self.root.as_deref(), split)?))
    }

    fn facts(&self) -> Facts {
        Facts {
            size: Some(Size { train: 50_000, test: 10_000, shape: [3, 32, 32], classes: 10 }),
            normalisation: Some(Normalisation {
                name: "CIFAR-10's",
                mean: &[0.4914, 0.4822, 0.4465],
                std: &[0.2470, 0.2435, 0.2616],
            }),
            corrupted: Some("CIFAR-10-C"),
        }
    }

    fn publication(&self) -> Option<Publication> {
        Some(published("cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530", &CIFAR10))
    }
}

impl Dataset for Cifar100 {
    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(CIFAR100.open(self.root.as_deref(), split)?))
    }

    fn facts(&self) -> Facts {
        Facts {
            size: Some(Size { train: 50_000, test: 10_000, shape: [3, 32, 32], classes: 100 }),
            normalisation: Some(Normalisation {
                name: "CIFAR-100's",
                mean: &[0.5071, 0.4865, 0.4409],
                std: &[0.2673, 0.2564, 0.2762],
            }),
            corrupted: Some("CIFAR-100-C"),
        }
    }

    fn publication(&self) -> Option<Publication> {
        Some(published("cifar-100-binary.tar.gz", 168_513_733, "03b5dce01913d631647c71ecec9e9cb8", &CIFAR100))
    }
}

/// The binary version; the publisher's page lists MD5 sums.
fn published(archive: &str, size: u64, md5: &'static str, cifar: &Cifar) -> Publication {
    let url = format!("https://www.cs.toronto.edu/~kriz/{archive}");
    Publication {
        files: vec![Remote { url, size, digest: Digest::Md5(md5), archive: true }],
        folder: cifar.binary_folder(),
        terms: "Alex Krizhevsky, Vinod Nair and Geoffrey Hinton; they state no licence and ask that the technical \
                report (Krizhevsky 2009) be cited",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    const BATCH: usize = 2 * 3073;

    /// A folder of small files: batch `i` has two images of the label `i`, the test batch two of label 9.
    fn cifar10(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for i in 1..=5u8 {
            fs::write(folder.join(format!("data_batch_{i}.bin")), [i; BATCH]).unwrap();
        }
        fs::write(folder.join("test_batch.bin"), [9; BATCH]).unwrap();
        fs::write(folder.join("batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n").unwrap();
    }

    /// The same in the Python version, but all batches are the fixture's three images.
    fn cifar10_python(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        for name in
            ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
        {
            fs::copy(fixtures.join("py2-batch.pickle"), folder.join(name)).unwrap();
        }
        fs::copy(fixtures.join("py2-meta.pickle"), folder.join("batches.meta")).unwrap();
    }

    fn open(root: &Path, split: Split) -> Result<Arc<dyn Source>, String> {
        let said = |e: Error| e.to_string().replace(root.to_str().unwrap(), "ROOT");
        Cifar10 { root: Some(root.into()) }.open(split).map_err(said)
    }

    #[test]
    fn batches_follow_each_other() {
        let root = tempfile::tempdir().unwrap();
        cifar10(root.path());
        let train = open(root.path(), Split::Train).unwrap();
        assert_eq!((train.len(), train.classes().join("")), (10, "abcdefghij".into()));
        for i in 0..10 {
            let value = i as u8 / 2 + 1;
            let image = Image::of_bytes([3, 32, 32], vec![value; 3072]);
            assert_eq!(train.read(i).unwrap(), (image, u32::from(value)));
        }
        let past = train.read(10).unwrap_err().to_string();
        assert!(past.ends_with("(binary version): image 10 was asked for, there are 10"), "{past}");
        let test = open(root.path(), Split::Test).unwrap();
        assert_eq!((test.len(), test.read(1).unwrap().1), (2, 9));
    }

    #[test]
    fn both_versions_are_found_in_a_folder_or_below_it() {
        let root = tempfile::tempdir().unwrap();
        let origin = || {
            let origin = open(root.path(), Split::Test).unwrap().origin();
            origin.replace(root.path().to_str().unwrap(), "ROOT")
        };
        cifar10_python(&root.path().join("cifar-10-batches-py"));
        assert_eq!(origin(), "ROOT/cifar-10-batches-py (Python version)");
        cifar10(&root.path().join("cifar-10-batches-bin"));
        assert_eq!(origin(), "ROOT/cifar-10-batches-bin (binary version)");
        cifar10_python(root.path());
        fs::remove_dir_all(root.path().join("cifar-10-batches-bin")).unwrap();
        assert_eq!(origin(), "ROOT (Python version)");
        cifar10(root.path());
        assert_eq!(origin(), "ROOT (binary version)");
    }

    #[test]
    fn what_lacks_is_named() {
        let root = tempfile::tempdir().unwrap();
        let said = || open(root.path(), Split::Test).map(|source| source.origin()).unwrap_err();
        assert_eq!(
            said(),
            "no cifar10 (training and test images with their class names) found\n  \
             looked in: ROOT\n             ROOT/cifar-10-batches-bin\n             ROOT/cifar-10-batches-py\n  \
             get it with `temper data fetch cifar10`, or put the folder cifar-10-batches-bin or \
             cifar-10-batches-py there"
        );
        let folder = root.path().join("cifar-10-batches-bin");
        // A complete version elsewhere does not replace an incomplete one.
        cifar10_python(root.path());
        cifar10(&folder);
        for missing in ["data_batch_3.bin", "batches.meta.txt"] {
            let kept = fs::read(folder.join(missing)).unwrap();
            fs::remove_file(folder.join(missing)).unwrap();
            let said = said();
            let place = format!("looked in: ROOT/cifar-10-batches-bin lacks {missing}\n");
            assert!(said.contains(&place) && said.ends_with("with `temper data fetch cifar10`"), "{said}");
            fs::write(folder.join(missing), kept).unwrap();
        }
    }

    #[test]
    fn files_that_no_data_set_has_are_not_read() {
        // A sparse file of zeros.
        let hole = |file: &Path, len: u64| fs::File::create(file).unwrap().set_len(len).unwrap();
        let root = tempfile::tempdir().unwrap();
        let said = || open(root.path(), Split::Test).map(|source| source.origin()).unwrap_err();
        cifar10(root.path());
        hole(&root.path().join("test_batch.bin"), 20 << 30);
        assert_eq!(
            said(),
            "ROOT/test_batch.bin: 21474836480 bytes, but a file of CIFAR's images may have 1073741824 (1 GiB) at \
             most; name the file that was meant, or a shorter one"
        );
        hole(&root.path().join("batches.meta.txt"), 2 << 20);
        let names = "ROOT/batches.meta.txt: 2097152 bytes, but a file of the names of CIFAR's classes may have 1048576";
        assert!(said().starts_with(names), "{}", said());

        let root = tempfile::tempdir().unwrap();
        let said = || open(root.path(), Split::Test).map(|source| source.origin()).unwrap_err();
        cifar10_python(root.path());
        hole(&root.path().join("test_batch"), 1 << 30);
        let start = Instant::now();
        assert!(said().starts_with("ROOT/test_batch: no pickle of protocol 2 or later"), "{}", said());
        // Its first bytes show the error, so it is not read up to the limit.
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }

    #[test]
    fn fine_labels_count() {
        let root = tempfile::tempdir().unwrap();
        let record = |fine: u8| [&[19, fine][..], &[fine; 3072]].concat();
        fs::write(root.path().join("train.bin"), [record(99), record(3)].concat()).unwrap();
        fs::write(root.path().join("test.bin"), record(5)).unwrap();
        let names: Vec<String> = (0..100).map(|i| format!("name {i}")).collect();
        fs::write(root.path().join("fine_label_names.txt"), names.join("\n") + "\n\n").unwrap();
        let train = Cifar100 { root: Some(root.path().into()) }.open(Split::Train).unwrap();
        assert_eq!((train.read(0).unwrap().1, train.read(1).unwrap().1), (99, 3));
        assert_eq!(train.classes()[99], "name 99");

        let python = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        for (from, to) in [("py2-batch100", "train"), ("py2-batch100", "test"), ("py2-meta100", "meta")] {
            fs::copy(fixtures.join(from).with_extension("pickle"), python.path().join(to)).unwrap();
        }
        let train = Cifar100 { root: Some(python.path().into()) }.open(Split::Train).unwrap();
        assert_eq!([0, 1, 2].map(|i| train.read(i).unwrap().1), [19, 99, 0]);
        assert_eq!((train.classes().len(), &*train.classes()[42]), (100, "fine 42"));
    }

    #[test]
    fn publications_name_the_folders_that_are_looked_for() {
        for (plugin, folder) in [
            (Cifar10::default().publication(), "cifar-10-batches-bin"),
            (Cifar100::default().publication(), "cifar-100-binary"),
        ] {
            let publication = plugin.unwrap();
            assert!(publication.folder == folder && publication.files.iter().all(|file| file.archive));
        }
    }
}
