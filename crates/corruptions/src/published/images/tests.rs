//! Folders of images are paired with clean images by name.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use temper_data::{Fit, Part, Subset, decode};

use super::*;

/// Clean images by class and name, of shape 29 x 37; their values are not used.
#[derive(Clone)]
struct Clean {
    /// Number of decoded images.
    decoded: Arc<AtomicUsize>,
    images: Vec<(u32, Option<&'static str>)>,
    shape: [usize; 3],
    classes: Vec<String>,
}

impl Source for Clean {
    fn len(&self) -> usize {
        self.images.len()
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn read(&self, index: usize) -> Result<(Image, u32)> {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        let bytes = vec![0; self.shape.iter().product()];
        Ok((Image::of_bytes(self.shape, bytes), self.images[index].0))
    }
    fn name(&self, index: usize) -> Option<String> {
        self.images.get(index)?.1.map(String::from)
    }
    fn label(&self, index: usize) -> Option<u32> {
        self.images.get(index).map(|image| image.0)
    }
    fn origin(&self) -> String {
        "clean".into()
    }
}

const FISH: [&str; 2] = ["n00000001", "n00000007"];

/// Clean images sorted by name, whatever their class, as from a list of labels.
fn clean(classes: &[&str]) -> Clean {
    let images = vec![(1, Some("a")), (1, Some("b")), (0, Some("c"))];
    Clean {
        decoded: Arc::default(),
        images,
        shape: [3, 29, 37],
        classes: classes.iter().map(ToString::to_string).collect(),
    }
}

/// An image of 29 x 37 pixels of one colour.
fn picture(level: u8) -> Vec<u8> {
    temper_data::encode(&Image::of_bytes([3, 29, 37], vec![level; 3 * 29 * 37])).unwrap()
}

fn put(root: &Path, file: &str, bytes: &[u8]) {
    let file = root.join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
}

/// Fog at severity 3: two images of one class and one of the other, of levels 10, 20 and 30. The content
/// determines the format.
fn tree(below: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, level) in [("n00000007/a.JPEG", 10), ("n00000007/b.jpeg", 20), ("n00000001/c.JPEG", 30)] {
        put(&root.path().join(below), &format!("fog/3/{file}"), &picture(level));
    }
    root
}

fn open(root: &Path, clean: Arc<dyn Source>) -> Result<Arc<dyn Source>, String> {
    let said = |e: Error| e.to_string().replace(root.to_str().unwrap(), "ROOT");
    published_imagenet(root, CorruptionKind::Fog, CorruptionSeverity::ALL[2], clean).map_err(said)
}

fn refused(root: &Path, clean: &Clean) -> String {
    open(root, Arc::new(clean.clone())).map(|_| ()).unwrap_err()
}

/// Levels and labels of all images.
fn read(source: &dyn Source) -> Vec<(u8, u32)> {
    let one = |(image, label): (Image, u32)| {
        assert!(image.shape == [3, 29, 37] && image.bytes().iter().all(|byte| *byte == image.bytes()[0]));
        (image.bytes()[0], label)
    };
    (0..source.len()).map(|index| one(source.read(index).unwrap())).collect()
}

#[test]
fn images_are_those_of_the_clean_names_with_and_without_the_archives_name() {
    for below in ["", "weather", "extra"] {
        let root = tree(below);
        let whole = clean(&FISH);
        let source = open(root.path(), Arc::new(whole.clone())).unwrap();
        assert_eq!(read(&*source), [(10, 1), (20, 1), (30, 0)]);
        // One image is decoded for its shape; the others are not decoded for their labels.
        assert_eq!(whole.decoded.load(Ordering::Relaxed), 1);
        let mut turned = clean(&FISH);
        turned.images.reverse();
        assert_eq!(read(&*open(root.path(), Arc::new(turned)).unwrap()), [(30, 0), (20, 1), (10, 1)]);
        let origin =
            source.origin().replace(root.path().join(below).to_str().unwrap().trim_end_matches('/'), "AT");
        assert_eq!(origin, "AT/fog/3 (a set in ImageNet-C's layout), the images of clean");
        assert_eq!((source.fit(), source.name(2), source.label(2)), (None::<Fit>, Some("c".into()), Some(0)));
        let past = source.read(3).unwrap_err().to_string();
        assert!(past.ends_with("fog/3: image 3 was asked for, there are 3"), "{past}");
    }
    assert_eq!([title(1000), title(200)], ["ImageNet-C", "a set in ImageNet-C's layout"]);
}

#[test]
fn parts_of_the_clean_images_are_judged_on_the_same_photos() {
    let root = tree("");
    let whole: Arc<dyn Source> = Arc::new(clean(&FISH));
    let by_index = Part::of(&whole, &[2, 1]).unwrap();
    let source = open(root.path(), Arc::new(by_index)).unwrap_or_else(|said| panic!("{said}"));
    assert_eq!(read(&*source), [(20, 1), (30, 0)]);
    assert_eq!([0, 1].map(|index| source.index(index)), [1, 2]);
    let source = open(root.path(), Arc::new(Subset::new(whole.clone(), 2))).unwrap();
    assert_eq!((read(&*source), source.index(1)), (vec![(10, 1), (20, 1)], 1));
    // Files of missing classes are not required.
    fs::remove_file(root.path().join("fog/3/n00000001/c.JPEG")).unwrap();
    assert!(open(root.path(), Arc::new(Subset::new(whole.clone(), 2))).is_ok());
    assert!(open(root.path(), whole).is_err());
}

#[test]
fn an_archive_without_a_clean_image_is_incomplete() {
    let root = tree("weather");
    fs::remove_file(root.path().join("weather/fog/3/n00000007/b.jpeg")).unwrap();
    let at = "ROOT/weather/fog/3/n00000007";
    assert_eq!(
        refused(root.path(), &clean(&FISH)),
        format!("{at}: no image `b` (.JPEG), which clean has: unpack the whole archive")
    );
    // A deeper folder is not part of the layout.
    put(root.path(), "weather/fog/3/n00000007/more/b.JPEG", &picture(20));
    assert!(refused(root.path(), &clean(&FISH)).starts_with(&format!("{at}: no image `b`")));
    put(root.path(), "weather/fog/3/n00000007/a.png", &picture(20));
    let said = refused(root.path(), &clean(&FISH));
    assert_eq!(said, format!("{at}/a.png: a second image named `a` in this folder, expected one of a name"));
}

#[test]
fn a_label_that_differs_from_the_class_folder_is_an_error_that_names_both() {
    let root = tree("");
    for classes in [FISH, ["0", "1"]] {
        let mut other = clean(&classes);
        other.images[1].0 = 0;
        assert_eq!(
            refused(root.path(), &other),
            "ROOT/fog/3/n00000007/b.jpeg: an image of class `n00000007`, but in clean `b` has label 0, which is `n00000001` \
             here: these data sets do not belong together"
        );
        other.images[1].0 = 2;
        assert_eq!(refused(root.path(), &other), "image 1 has label 2, but there are 2 classes");
    }
}

#[test]
fn clean_images_without_names_of_their_own_are_refused() {
    let root = tree("");
    let mut other = clean(&FISH);
    other.images[2].1 = None;
    let said = refused(root.path(), &other);
    assert!(
        said.starts_with("ROOT/fog/3: corrupted images are paired with clean ones by the names of files"),
        "{said}"
    );
    assert!(said.contains("image 2 of clean has none: read the clean images from image files"), "{said}");
    other.images[2] = (1, Some("a"));
    assert_eq!(
        refused(root.path(), &other),
        "ROOT/fog/3/n00000007: two images named `a` of class 1 (`n00000007`) in clean: names must differ"
    );
    other.images.clear();
    assert_eq!(
        refused(root.path(), &other),
        "ROOT/fog/3: no clean images in clean, whose corrupted ones are asked for"
    );
}

#[test]
fn classes_that_differ_are_refused_and_named() {
    let root = tree("");
    let said = |classes: &[&str]| refused(root.path(), &clean(classes));
    assert!(said(&["n00000001"]).contains("other classes: label 1 is `n00000007` and no class\n"));
    assert_eq!(
        said(&["n00000001", "n00000005"]),
        "ROOT/fog/3: its class folders and clean have other classes: label 1 is `n00000007` and `n00000005`\n  its class \
         folders: `n00000001`, `n00000007`\n  clean: `n00000001`, `n00000005`"
    );
    assert!(
        said(&["n00000007", "n00000001"])
            .contains("the same classes in another order: label 0 is `n00000001` and")
    );
    for known in [["n00000001 tench", "n00000007 goldfish"], ["0", "1"]] {
        let source = open(root.path(), Arc::new(clean(&known))).unwrap();
        assert_eq!(source.classes(), known.map(String::from));
    }
}

#[test]
fn what_lacks_or_does_not_fit_is_named() {
    let root = tree("weather");
    assert_eq!(
        refused(root.path(), &Clean { shape: [3, 224, 224], ..clean(&FISH) }),
        "ROOT/weather/fog/3/n00000007/a.JPEG: 3 x 29 x 37 values (channels x height x width), but the network sees \
         3 x 224 x 224 of the clean images; corrupted ones are not resized"
    );
    for (kind, severity, part) in [(CorruptionKind::Snow, 3, "snow"), (CorruptionKind::Fog, 4, "fog/4")] {
        let severity = CorruptionSeverity::try_from(severity).unwrap();
        let missing = published_imagenet(root.path(), kind, severity, Arc::new(clean(&FISH)));
        let said = missing.map(|_| ()).unwrap_err().to_string();
        assert!(said.starts_with(&format!("no {part} of ImageNet-C found\n")), "{said}");
        assert!(said.contains(&format!(" lacks {part}\n  get noise.tar")), "{said}");
    }
}

#[test]
fn a_jpeg_file_is_read_and_one_that_cannot_be_decoded_is_an_error_when_it_is_read() {
    let root = tree("");
    let jpeg = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/fixtures/full.jpg")).unwrap();
    put(root.path(), "fog/3/n00000007/b.jpeg", &jpeg);
    let source = open(root.path(), Arc::new(clean(&FISH))).unwrap();
    assert_eq!(source.read(1).unwrap().0, decode(&jpeg).unwrap());
    put(root.path(), "fog/3/n00000007/b.jpeg", &jpeg[..300]);
    assert!(source.read(0).is_ok() && source.read(2).is_ok());
    let said = source.read(1).unwrap_err().to_string();
    assert!(
        said.contains("n00000007/b.jpeg: ") && said.ends_with(": unpack it from its archive again"),
        "{said}"
    );
    // A sparse file of 20 GiB.
    let file = fs::File::options().write(true).open(root.path().join("fog/3/n00000007/b.jpeg")).unwrap();
    file.set_len(20 << 30).unwrap();
    let said = source.read(1).unwrap_err().to_string();
    assert!(said.contains("b.jpeg: 21474836480 bytes, expected at most 268435456 of an image: "), "{said}");
}
