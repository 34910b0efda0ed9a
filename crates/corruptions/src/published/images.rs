//! ImageNet-C: a folder of JPEG files for each kind, severity and class, already cropped to the network's
//! input.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use temper_data::{
    Classes, Error, Image, Photo, Result, Source, class_difference, class_names, class_photos, decode_file,
    shape,
};

use super::PublishedSet;
use crate::kind::{CorruptionKind, CorruptionSeverity};

/// The published archives, whose names may precede that of the kind.
const ARCHIVES: [&str; 5] = ["noise", "blur", "weather", "digital", "extra"];
/// Number of classes of ImageNet.
const CLASSES: usize = 1000;

/// The name of a set in this layout with this number of classes; Tiny-ImageNet-C and others use it, too.
pub(super) fn title(classes: usize) -> &'static str {
    match classes {
        CLASSES => "ImageNet-C",
        _ => "a set in ImageNet-C's layout",
    }
}

/// The folder of a kind, if it exists.
pub(super) fn folder(root: &Path, kind: CorruptionKind) -> Option<PathBuf> {
    let within = ARCHIVES.iter().map(|archive| root.join(archive).join(kind.name()));
    std::iter::once(root.join(kind.name())).chain(within).find(|folder| folder.is_dir())
}

/// The folder of a kind and severity. The error names what is missing.
pub(super) fn level(root: &Path, kind: CorruptionKind, severity: CorruptionSeverity) -> Result<PathBuf> {
    let lacks = |part: String| PublishedSet::ImageNetC.lacks(root, &part);
    let (name, level) = (kind.name(), severity.get());
    let folder = folder(root, kind).ok_or_else(|| lacks(name.into()))?.join(level.to_string());
    if folder.is_dir() { Ok(folder) } else { Err(lacks(format!("{name}/{level}"))) }
}

/// The images of one kind and severity below `root`, which contains `KIND/SEVERITY/SYNSET/*.JPEG`, with or
/// without the archive's name (`noise`, `blur`, `weather`, `digital`, `extra`) before that, for the images of
/// a clean source, which are all or some images of a test set.
///
/// An image corresponds to a clean image by name (without extension) in the class folder of the clean image.
/// So the clean images must be files, and their class names must be those of the folders in the same order.
/// For numbered classes, which have no names, the folders of the images are compared. Files are looked up
/// when the source is opened, by listing the class folders; the listings are not kept. A missing file, or one
/// in the folder of another class, is an error.
///
/// Images are used as stored, so they must have the shape of the network's input (3 x 224 x 224). An image
/// that cannot be decoded is an error when it is read.
pub fn published_imagenet(
    root: &Path,
    kind: CorruptionKind,
    severity: CorruptionSeverity,
    clean: Arc<dyn Source>,
) -> Result<Arc<dyn Source>> {
    let folder = level(root, kind, severity)?;
    let fault = |what| Error::Malformed { file: folder.clone(), at: None, what };
    let folders = class_names(&folder)?;
    same_classes(&folders, &*clean).map_err(fault)?;
    if clean.is_empty() {
        return Err(fault(format!(
            "no clean images in {}, whose corrupted ones are asked for",
            clean.origin()
        )));
    }
    let files = Tree { folder: &folder, folders: &folders }.files(&*clean)?;
    let origin = format!("{} ({}), the images of {}", folder.display(), title(folders.len()), clean.origin());
    let stored = Paired { folder, folders, files, clean, origin };
    let ([c, h, w], seen) = (shape(&stored)?, shape(&*stored.clean)?);
    if [c, h, w] != seen {
        let what = format!(
            "{c} x {h} x {w} values (channels x height x width), but the network sees {} x {} x {} of the clean images; \
             corrupted ones are not resized",
            seen[0], seen[1], seen[2]
        );
        return Err(Error::Malformed { file: stored.file(0)?.0, at: None, what });
    }
    Ok(Arc::new(stored))
}

/// Checks that the folders are the clean source's classes in the same order, on which labels depend.
fn same_classes(folders: &[String], clean: &dyn Source) -> Result<(), String> {
    let classes = clean.classes();
    let origin = clean.origin();
    // Numbered classes have no other name.
    let numbered = classes.iter().enumerate().all(|(label, class)| *class == label.to_string());
    if numbered && folders.len() == classes.len() {
        return Ok(());
    }
    // `n01440764` or `n01440764 tench`; a folder name may also contain several words.
    let folder = |(label, class): (usize, &String)| match folders.get(label) {
        Some(folder) if folder == class => class.clone(),
        _ => class.split_whitespace().next().unwrap_or_default().to_string(),
    };
    let synsets: Vec<String> = classes.iter().enumerate().map(folder).collect();
    let (by, of) =
        (Classes { by: "its class folders", names: folders }, Classes { by: &origin, names: &synsets });
    class_difference(by, of).map_or(Ok(()), Err)
}

/// A folder of class folders, while it is listed.
struct Tree<'a> {
    folder: &'a Path,
    folders: &'a [String],
}

/// File extensions of images whose names are known: one byte per image, because a test has 95 folders of
/// 50,000 images.
struct Files {
    endings: Vec<String>,
    ending: Vec<u8>,
}

impl Tree<'_> {
    /// The files of the clean images.
    fn files(&self, clean: &dyn Source) -> Result<Files> {
        let mut images = Vec::with_capacity(clean.len());
        for index in 0..clean.len() {
            images.push(self.image(clean, index)?);
        }
        let mut used: Vec<u32> = images.iter().map(|(label, _)| *label).collect();
        used.sort_unstable();
        used.dedup();
        let names: Vec<String> = used.iter().map(|label| self.folders[*label as usize].clone()).collect();
        let mut endings: Vec<String> = vec![];
        let mut stored = HashMap::new();
        for Photo { file, label } in class_photos(self.folder, &names)?.0 {
            // Directly in a class folder, not in a subfolder.
            let within = file.components().count() == 2;
            let parts =
                file.file_stem().and_then(OsStr::to_str).zip(file.extension().and_then(OsStr::to_str));
            let Some((stem, ending)) = parts.filter(|_| within) else { continue };
            let place = endings.iter().position(|known| known == ending).unwrap_or_else(|| {
                endings.push(ending.into());
                endings.len() - 1
            });
            let label = used[label as usize];
            // There are a few dozen ways to write an image extension.
            if stored.insert((label, stem.to_string()), place as u8).is_some() {
                let what = format!("a second image named `{stem}` in this folder, expected one of a name");
                return Err(Error::Malformed { file: self.folder.join(&file), at: None, what });
            }
        }
        let mut ending = Vec::with_capacity(images.len());
        for (index, image) in images.iter().enumerate() {
            match stored.remove(image) {
                Some(place) => ending.push(place),
                None => return Err(self.lack(clean, image, images[..index].contains(image))),
            }
        }
        Ok(Files { endings, ending })
    }

    /// Label and name of a clean image.
    fn image(&self, clean: &dyn Source, index: usize) -> Result<(u32, String)> {
        let Some((label, name)) = clean.label(index).zip(clean.name(index)) else {
            let what = format!(
                "corrupted images are paired with clean ones by the names of files, and image {index} of {} has none: read \
                 the clean images from image files named in UTF-8",
                clean.origin()
            );
            return Err(Error::Malformed { file: self.folder.into(), at: None, what });
        };
        match (label as usize) < self.folders.len() {
            true => Ok((label, name)),
            false => Err(Error::Label { index, label, classes: self.folders.len() }),
        }
    }

    /// The error for a clean image without a file. `twice`: another image already uses the file.
    fn lack(&self, clean: &dyn Source, (label, name): &(u32, String), twice: bool) -> Error {
        let (class, origin) = (&self.folders[*label as usize], clean.origin());
        let fault = |file: PathBuf, what| Error::Malformed { file, at: None, what };
        if twice {
            let what = format!(
                "two images named `{name}` of class {label} (`{class}`) in {origin}: names must differ"
            );
            return fault(self.folder.join(class), what);
        }
        let elsewhere = match class_photos(self.folder, self.folders) {
            Ok((photos, _)) => {
                photos.into_iter().find(|photo| photo.file.file_stem() == Some(OsStr::new(name)))
            }
            Err(error) => return error,
        };
        match elsewhere.filter(|photo| photo.label != *label) {
            Some(photo) => fault(
                self.folder.join(&photo.file),
                format!(
                    "an image of class `{}`, but in {origin} `{name}` has label {label}, which is `{class}` here: these data \
                     sets do not belong together",
                    self.folders[photo.label as usize]
                ),
            ),
            None => fault(
                self.folder.join(class),
                format!("no image `{name}` (.JPEG), which {origin} has: unpack the whole archive"),
            ),
        }
    }
}

/// The corrupted images of a clean source's images, in its order. All have the same size.
struct Paired {
    folder: PathBuf,
    folders: Vec<String>,
    files: Files,
    clean: Arc<dyn Source>,
    origin: String,
}

impl Paired {
    /// The file of an image, and its label.
    fn file(&self, index: usize) -> Result<(PathBuf, u32)> {
        let name = self.clean.name(index).zip(self.clean.label(index)).zip(self.files.ending.get(index));
        let Some(((name, label), ending)) = name else {
            let what = format!("image {index} was asked for, there are {}", self.len());
            return Err(Error::Malformed { file: self.folder.clone(), at: None, what });
        };
        let (class, ending) = (&self.folders[label as usize], &self.files.endings[usize::from(*ending)]);
        Ok((self.folder.join(class).join(format!("{name}.{ending}")), label))
    }
}

impl Source for Paired {
    fn len(&self) -> usize {
        self.clean.len()
    }

    fn classes(&self) -> &[String] {
        self.clean.classes()
    }

    fn read(&self, index: usize) -> Result<(Image, u32)> {
        let (file, label) = self.file(index)?;
        // There is no parameter to skip it: a part of a published set is another set.
        let image = decode_file(&file)?.map_err(|what| {
            let what = format!("{what}: unpack it from its archive again");
            Error::Malformed { file, at: None, what }
        })?;
        Ok((image, label))
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
mod tests;
