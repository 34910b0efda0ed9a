//! Folders whose names are classes. Listing them opens no files.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::photos::Photo;

/// Extensions of image files, in lower case. The content determines the format.
const READ: [&str; 5] = ["jpg", "jpeg", "jpe", "jfif", "png"];
/// Extensions of unsupported image formats. Ignoring these files silently would change the data set.
const FOREIGN: [&str; 12] =
    ["avif", "bmp", "gif", "heic", "heif", "jp2", "jxl", "pgm", "ppm", "tif", "tiff", "webp"];
/// Maximum depth of folders; deeper ones are links to a parent folder.
const DEEPEST: usize = 16;

/// The files of a folder and its subfolders.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Paths of image files relative to the folder, in the order of torchvision's `ImageFolder`: by folder,
    /// then by name.
    pub images: Vec<PathBuf>,
    /// Number of other files, without hidden ones.
    pub others: usize,
}

/// The names of the class folders, sorted as in torchvision's `ImageFolder`: the index of a class is its
/// label. Hidden folders (`.ipynb_checkpoints`) are ignored.
pub fn class_names(folder: &Path) -> Result<Vec<String>> {
    let mut names = vec![];
    for (path, kind) in entries(folder)? {
        if kind.is_dir() {
            let name = path.file_name().unwrap_or_default().to_str().map(String::from);
            let what = || "the name of a class folder must be UTF-8".into();
            names.push(name.ok_or_else(|| Error::Malformed { file: path, at: None, what: what() })?);
        }
    }
    Ok(names)
}

/// The images of these class folders, and the number of other files. An empty class is an error.
pub fn class_photos(folder: &Path, classes: &[String]) -> Result<(Vec<Photo>, usize)> {
    let listings: Vec<Result<Listing>> = classes.par_iter().map(|class| list(&folder.join(class))).collect();
    let (mut photos, mut others) = (vec![], 0);
    for ((label, class), listing) in classes.iter().enumerate().zip(listings) {
        let listing = listing?;
        if listing.images.is_empty() {
            let what = format!("a class folder without images (files named .{})", READ.join(", ."));
            return Err(Error::Malformed { file: folder.join(class), at: None, what });
        }
        others += listing.others;
        let photo = |file: PathBuf| Photo { file: Path::new(class).join(file).into(), label: label as u32 };
        photos.extend(listing.images.into_iter().map(photo));
    }
    Ok((photos, others))
}

/// The files of a folder.
pub fn list(folder: &Path) -> Result<Listing> {
    let mut listing = Listing::default();
    walk(folder, Path::new(""), 0, &mut listing)?;
    // Compared as text, not by components: "a-b" comes before "a/b".
    let key = |file: &PathBuf| {
        let folder = file.parent().unwrap_or(Path::new("")).as_os_str().to_os_string();
        (folder, file.file_name().map(OsStr::to_os_string))
    };
    listing.images.sort_by_cached_key(key);
    Ok(listing)
}

fn walk(root: &Path, within: &Path, depth: usize, listing: &mut Listing) -> Result<()> {
    let folder = root.join(within);
    if depth > DEEPEST {
        let what = format!("more than {DEEPEST} folders within each other: a link to a folder above?");
        return Err(Error::Malformed { file: folder, at: None, what });
    }
    for (path, kind) in entries(&folder)? {
        let within = within.join(path.file_name().unwrap_or_default());
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let ends = |with: &[&str]| ending.as_deref().is_some_and(|ending| with.contains(&ending));
        if kind.is_dir() {
            walk(root, &within, depth + 1, listing)?;
        } else if ends(&READ) && !kind.is_file() {
            return Err(Error::Malformed {
                file: path,
                at: None,
                what: "neither a file nor a folder".into(),
            });
        } else if ends(&READ) {
            listing.images.push(within);
        } else if ends(&FOREIGN) {
            let what = "images are read from JPEG and PNG files alone: convert it, or remove it".into();
            return Err(Error::Malformed { file: path, at: None, what });
        } else {
            listing.others += 1;
        }
    }
    Ok(())
}

/// The entries of a folder without hidden ones. Links are resolved.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, FileType)>> {
    let fault = |file: &Path| {
        let file = file.to_path_buf();
        move |source| Error::Io { file, source }
    };
    let mut all = vec![];
    for entry in fs::read_dir(folder).map_err(fault(folder))? {
        let entry = entry.map_err(fault(folder))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        // The listing contains the type; only links need a system call.
        let mut kind = entry.file_type().map_err(fault(&path))?;
        if kind.is_symlink() {
            kind = fs::metadata(&path).map_err(fault(&path))?.file_type();
        }
        all.push((path, kind));
    }
    // Listings have no fixed order. Sorting makes the reported error deterministic.
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        root
    }

    #[test]
    fn classes_and_files_stand_in_the_order_of_torchvision() {
        // torchvision.datasets.ImageFolder(root, loader=...).samples of the same files.
        let files = [
            "b/2.png",
            "b/10.JPEG",
            "b/z.jpg",
            "a/x/1.png",
            "a/x-y/1.png",
            "a/x/w/1.png",
            "a/9.jpeg",
            "B/1.png",
            ".hidden/1.png",
            "a/.DS_Store",
            "a/notes.txt",
            "readme.md",
        ];
        let root = folder(&files);
        let classes = class_names(root.path()).unwrap();
        assert_eq!(classes, ["B", "a", "b"]);
        let (photos, others) = class_photos(root.path(), &classes).unwrap();
        let got: Vec<_> = photos.iter().map(|p| (p.file.to_str().unwrap(), p.label)).collect();
        let wanted = [
            ("B/1.png", 0),
            ("a/9.jpeg", 1),
            ("a/x/1.png", 1),
            ("a/x-y/1.png", 1),
            ("a/x/w/1.png", 1),
            ("b/10.JPEG", 2),
            ("b/2.png", 2),
            ("b/z.jpg", 2),
        ];
        assert_eq!(got, wanted);
        assert_eq!(others, 1);
    }

    #[test]
    fn empty_classes_and_foreign_images_are_named() {
        let said = |files: &[&str]| {
            let root = folder(files);
            let error = class_photos(root.path(), &class_names(root.path()).unwrap()).unwrap_err();
            error.to_string().replace(root.path().to_str().unwrap(), "ROOT")
        };
        assert_eq!(
            said(&["a/1.png", "b/notes.txt"]),
            "ROOT/b: a class folder without images (files named .jpg, .jpeg, .jpe, .jfif, .png)"
        );
        assert_eq!(
            said(&["a/1.png", "a/2.WebP"]),
            "ROOT/a/2.WebP: images are read from JPEG and PNG files alone: convert it, or remove it"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        let root = folder(&["store/1.png", "set/a/2.png"]);
        std::os::unix::fs::symlink(root.path().join("store"), root.path().join("set/b")).unwrap();
        std::os::unix::fs::symlink(root.path().join("store/1.png"), root.path().join("set/a/1.png")).unwrap();
        let set = root.path().join("set");
        assert_eq!(class_photos(&set, &class_names(&set).unwrap()).unwrap().0.len(), 3);
        std::os::unix::fs::symlink(&set, root.path().join("set/a/up")).unwrap();
        let error = class_photos(&set, &class_names(&set).unwrap()).unwrap_err().to_string();
        assert!(error.contains("a link to a folder above?"), "{error}");
    }
}
