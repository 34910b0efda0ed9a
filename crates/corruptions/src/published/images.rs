//! ImageNet-C: a folder of JPEG files for each kind, severity and class, already cut to what a network sees.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use temper_data::{Error, Fit, Image, Photos, Result, Source, class_names, class_photos, shape};

use super::PublishedSet;
use crate::kind::{Kind, Severity};

/// The published archives, whose names may stand before the kind's.
const ARCHIVES: [&str; 5] = ["noise", "blur", "weather", "digital", "extra"];

/// The folder of a kind, if it is there.
pub(super) fn folder(root: &Path, kind: Kind) -> Option<PathBuf> {
    let within = ARCHIVES.iter().map(|archive| root.join(archive).join(kind.name()));
    std::iter::once(root.join(kind.name())).chain(within).find(|folder| folder.is_dir())
}

/// The images of one kind and severity below `root`, which holds `KIND/SEVERITY/SYNSET/*.JPEG`, with or without the
/// archive's name (`noise`, `blur`, `weather`, `digital`, `extra`) before that; sorted by class, then by file.
///
/// They are taken as they are stored, so they must have the shape in which the network sees the clean images (3 x 224 x 224).
/// The class folders must be those of the clean source, in its order, and hold no fewer images than it. An image that cannot
/// be decoded is an error when it is read. Other sets of this layout (Tiny-ImageNet-C) are read too.
pub fn published_imagenet(
    root: &Path,
    kind: Kind,
    severity: Severity,
    clean: &dyn Source,
) -> Result<Arc<dyn Source>> {
    let lacks = |part: String| PublishedSet::ImageNetC.lacks(root, &part);
    let (name, level) = (kind.name(), severity.get());
    let folder = folder(root, kind).ok_or_else(|| lacks(name.into()))?.join(level.to_string());
    if !folder.is_dir() {
        return Err(lacks(format!("{name}/{level}")));
    }
    let fault = |what| Error::Malformed { file: folder.clone(), at: None, what };
    let folders = class_names(&folder)?;
    same_classes(&folders, clean).map_err(fault)?;
    let (photos, others) = class_photos(&folder, &folders)?;
    if photos.len() < clean.len() {
        let (stored, n, origin) = (photos.len(), clean.len(), clean.origin());
        return Err(fault(format!(
            "{stored} images, but {n} clean ones in {origin}: unpack the whole archive"
        )));
    }
    let note = match others {
        0 => String::new(),
        1 => " (and a file there that is no image)".into(),
        n => format!(" (and {n} files there that are no images)"),
    };
    let origin = format!("{}{note}", folder.display());
    let first = photos.first().map_or_else(|| folder.clone(), |photo| folder.join(&photo.file));
    // Of the clean source, in place of its names.
    let classes = clean.classes().to_vec();
    let fit = Fit::new(1, 1).map_err(fault)?;
    let stored =
        Stored(Photos { root: folder.clone(), photos, classes, fit, skip_unreadable: false, origin });
    let ([c, h, w], seen) = (shape(&stored)?, shape(clean)?);
    if [c, h, w] != seen {
        let what = format!(
            "{c} x {h} x {w} values (channels x height x width), but the network sees {} x {} x {} of the clean images; \
             corrupted ones are not resized",
            seen[0], seen[1], seen[2]
        );
        return Err(Error::Malformed { file: first, at: None, what });
    }
    Ok(Arc::new(stored))
}

/// Are the folders the clean source's classes, in the same order? Labels follow from nothing else.
fn same_classes(folders: &[String], clean: &dyn Source) -> Result<(), String> {
    let classes = clean.classes();
    let origin = clean.origin();
    if folders.len() != classes.len() {
        let n = folders.len();
        return Err(format!("{n} class folders, but {} classes in {origin}", classes.len()));
    }
    // Numbered classes tell their place and no more.
    if classes.iter().enumerate().all(|(label, class)| *class == label.to_string()) {
        return Ok(());
    }
    // `n01440764` or `n01440764 tench`.
    let differs =
        |(folder, class): &(&String, &String)| class.split_whitespace().next() != Some(folder.as_str());
    match folders.iter().zip(classes).enumerate().find(|(_, pair)| differs(pair)) {
        Some((label, (folder, class))) => Err(format!(
            "class folder `{folder}` in place {label}, where {origin} has `{class}`: the classes must be the same"
        )),
        None => Ok(()),
    }
}

/// Photos that are of one size already.
struct Stored(Photos);

impl Source for Stored {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn classes(&self) -> &[String] {
        self.0.classes()
    }

    fn read(&self, index: usize) -> Result<(Image, u32)> {
        // There is no parameter to leave it out: a part of a published set is another set.
        self.0.read(index).map_err(|error| match error {
            Error::Unreadable { file, what } => {
                Error::Malformed { file, at: None, what: format!("{what}: unpack it from its archive again") }
            }
            other => other,
        })
    }

    fn origin(&self) -> String {
        self.0.origin()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Clean images of classes; the network sees 29 x 37 of them.
    struct Clean {
        n: usize,
        shape: [usize; 3],
        classes: Vec<String>,
    }

    impl Source for Clean {
        fn len(&self) -> usize {
            self.n
        }
        fn classes(&self) -> &[String] {
            &self.classes
        }
        fn read(&self, _: usize) -> Result<(Image, u32)> {
            Ok((Image { shape: self.shape, bytes: vec![0; self.shape.iter().product()] }, 0))
        }
        fn origin(&self) -> String {
            "clean".into()
        }
    }

    fn clean(classes: &[&str]) -> Clean {
        Clean { n: 3, shape: [3, 29, 37], classes: classes.iter().map(ToString::to_string).collect() }
    }

    const CLASSES: [&str; 2] = ["n00000001", "n00000007"];

    /// Bytes of an image of 29 x 37 pixels.
    fn photo(name: &str) -> Vec<u8> {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/fixtures").join(name)).unwrap()
    }

    /// Fog at severity 3: two images of a class, one of the other, which is a PNG file by content alone.
    fn tree(below: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(below).join("fog/3");
        for (file, bytes) in [
            ("n00000007/b.JPEG", photo("full.rgb.png")),
            ("n00000007/a.JPEG", photo("full.jpg")),
            ("n00000001/c.JPEG", photo("halved.jpg")),
        ] {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
        root
    }

    fn open(root: &Path, clean: &Clean) -> Result<Arc<dyn Source>, String> {
        let said = |e: Error| e.to_string().replace(root.to_str().unwrap(), "ROOT");
        published_imagenet(root, Kind::Fog, Severity::ALL[2], clean).map_err(said)
    }

    #[test]
    fn a_tree_is_read_with_and_without_the_archives_name_by_class_and_file() {
        for below in ["", "weather", "extra"] {
            let root = tree(below);
            let source = open(root.path(), &clean(&CLASSES)).unwrap();
            let read: Vec<_> = (0..3).map(|i| source.read(i).unwrap()).collect();
            assert_eq!(read.iter().map(|(_, label)| *label).collect::<Vec<_>>(), [0, 1, 1]);
            assert!(read.iter().all(|(image, _)| image.shape == [3, 29, 37]) && source.fit().is_none());
            // The last one holds what the JPEG file before it is decoded to, but for rounding.
            let (jpeg, png) = (&read[1].0.bytes, &read[2].0.bytes);
            assert!(jpeg.iter().zip(png).all(|(a, b)| a.abs_diff(*b) <= 3) && jpeg != &read[0].0.bytes);
            let origin = source.origin().replace(root.path().to_str().unwrap(), "ROOT");
            assert_eq!(Path::new(&origin), Path::new("ROOT").join(below).join("fog/3"));
            assert_eq!((source.len(), source.classes()), (3, &CLASSES.map(String::from)[..]));
        }
    }

    #[test]
    fn classes_that_differ_are_refused_and_named() {
        let root = tree("");
        let said = |classes: &[&str]| open(root.path(), &clean(classes)).map(|_| ()).unwrap_err();
        assert_eq!(said(&["n00000001"]), "ROOT/fog/3: 2 class folders, but 1 classes in clean");
        assert_eq!(
            said(&["n00000001", "n00000005"]),
            "ROOT/fog/3: class folder `n00000007` in place 1, where clean has `n00000005`: the classes must be the same"
        );
        assert!(said(&["dog", "cat"]).contains("`n00000001` in place 0, where clean has `dog`"));
        for known in [["n00000001 tench", "n00000007 goldfish"], ["0", "1"]] {
            let source = open(root.path(), &clean(&known)).unwrap();
            assert_eq!(source.classes(), known.map(String::from));
        }
    }

    #[test]
    fn what_lacks_or_does_not_fit_is_named() {
        let root = tree("weather");
        let said = |clean: &Clean| open(root.path(), clean).map(|_| ()).unwrap_err();
        assert_eq!(
            said(&Clean { shape: [3, 224, 224], ..clean(&CLASSES) }),
            "ROOT/weather/fog/3/n00000001/c.JPEG: 3 x 29 x 37 values (channels x height x width), but the network sees \
             3 x 224 x 224 of the clean images; corrupted ones are not resized"
        );
        assert_eq!(
            said(&Clean { n: 4, ..clean(&CLASSES) }),
            "ROOT/weather/fog/3: 3 images, but 4 clean ones in clean: unpack the whole archive"
        );
        for (kind, severity, part) in [(Kind::Snow, 3, "snow"), (Kind::Fog, 4, "fog/4")] {
            let severity = Severity::try_from(severity).unwrap();
            let missing = published_imagenet(root.path(), kind, severity, &clean(&CLASSES));
            let said = missing.map(|_| ()).unwrap_err().to_string();
            assert!(said.starts_with(&format!("no {part} of ImageNet-C found\n")), "{said}");
            assert!(said.contains(&format!(" lacks {part}\n  get noise.tar")), "{said}");
        }
    }

    #[test]
    fn an_image_that_cannot_be_decoded_is_an_error_when_it_is_read() {
        let root = tree("");
        fs::write(root.path().join("fog/3/n00000007/a.JPEG"), &photo("full.jpg")[..300]).unwrap();
        let source = open(root.path(), &clean(&CLASSES)).unwrap();
        assert!(source.read(0).is_ok() && source.read(2).is_ok());
        let said = source.read(1).unwrap_err().to_string();
        assert!(
            said.contains("n00000007/a.JPEG: ") && said.ends_with(": unpack it from its archive again"),
            "{said}"
        );
    }
}
